//! Who may poll what.
//!
//! With `capability` a mailbox is polled by whom its key shows to be its subscriber, or the address, where a
//! poll names subscriptions at a node. With `digest` it is polled by the user whose principal subscribed.
//! Credentials are looked at before anything else, and what somebody may not poll looks to them like what
//! does not exist: nobody learns here which keys, nodes and ids there are.

use std::net::IpAddr;

use super::poll::Target;
use crate::auth::{self, Proven, Refusal, Settings, Verifier};
use crate::clock;
use crate::config::Auth;
use crate::http1::{Headers, RequestHead, Response};
use crate::store::Found;
use crate::telemetry::{AuthResult, Metrics};
use crate::watched::Unusable;

/// Decides it.
pub struct Access {
    verifier: Option<Box<Verifier>>,
    needs_capability: bool,
}

/// Whoever sends a poll; with credentials where these are asked for.
#[derive(Debug, Default)]
pub struct Visitor(Option<Box<Proven>>);

impl Access {
    /// As the configuration says. Reads the files that it names.
    pub fn open(auth: &Auth) -> Result<Self, Unusable> {
        let needs_capability = auth.mode.needs_capability();
        let Some(users_file) = auth.users_file.clone().filter(|_| auth.mode.asks_for_credentials()) else {
            return Ok(Self { verifier: None, needs_capability });
        };
        let settings = Settings {
            realm: auth.realm.clone(),
            algorithms: auth.algorithms.clone(),
            users_file,
            map_file: auth.map_file.clone(),
            nonce_life_time: auth.nonce_life_time,
        };
        let verifier = Verifier::open(settings, &rand::random())?;
        let (mode, users) = (auth.mode.as_str(), verifier.users(clock::now()));
        if users == 0 {
            tracing::warn!(
                mode,
                realm = auth.realm,
                "polls need credentials, and there is no user of this realm"
            );
        } else {
            tracing::info!(mode, realm = auth.realm, users, "polls need credentials");
        }
        Ok(Self { verifier: Some(verifier.into()), needs_capability })
    }

    /// Who sends this poll; or what they are answered instead.
    pub fn admit(&self, head: &RequestHead, client: IpAddr, metrics: &Metrics) -> Result<Visitor, Response> {
        let Some(verifier) = &self.verifier else { return Ok(Visitor(None)) };
        let request =
            auth::Request { method: head.method(), target: head.target(), authority: head.authority() };
        match verifier.verify(request, head.fields.values("authorization"), clock::now()) {
            Ok(proven) => {
                metrics.authenticated(AuthResult::Accepted);
                Ok(Visitor(Some(proven.into())))
            }
            Err(refusal) => {
                let result = result(refusal);
                metrics.authenticated(result);
                if refusal == Refusal::Missing || refusal.is_stale() {
                    // As ever when a client begins, or goes on after a while.
                    tracing::debug!(%client, result = result.name(), "poll without credentials");
                } else {
                    tracing::info!(%client, result = result.name(), %refusal, "poll refused");
                }
                Err(refuse(verifier, refusal))
            }
        }
    }

    /// Whether this mailbox, which was found by this target, is one that the visitor may poll.
    pub fn allows(&self, visitor: &Visitor, target: &Target, found: &Found) -> bool {
        let subscription = &found.subscription;
        let capable = match target {
            // Whoever knows the key has the capability.
            Target::Key(_) => true,
            // Ids can be guessed: without a key, only who subscribed may poll.
            Target::Subscriptions(wanted) => subscription.subscriber == Some(wanted.client),
        };
        (capable || !self.needs_capability) && self.is_owner(visitor, found)
    }

    /// Whether the visitor proved to be whoever subscribed, if that is asked for.
    pub fn is_owner(&self, visitor: &Visitor, found: &Found) -> bool {
        let principal = found.subscription.principal.as_deref();
        self.verifier.is_none()
            || visitor
                .0
                .as_ref()
                .is_some_and(|proven| principal.is_some_and(|principal| proven.is(principal)))
    }

    /// The answer to the visitor, with the proof that the gateway knows the password too.
    pub fn sign(&self, visitor: &Visitor, response: Response) -> Response {
        match (&self.verifier, &visitor.0) {
            (Some(verifier), Some(proven)) => {
                let info = verifier.authentication_info(proven, clock::now(), rand::random());
                response.with("Authentication-Info", info)
            }
            _ => response,
        }
    }
}

fn result(refusal: Refusal) -> AuthResult {
    match refusal {
        Refusal::Missing => AuthResult::Missing,
        Refusal::Malformed(_) => AuthResult::Malformed,
        Refusal::Denied => AuthResult::Denied,
        Refusal::Stale => AuthResult::Stale,
        Refusal::Replayed => AuthResult::Replayed,
    }
}

/// RFC 7616 §3.4: improper credentials are a bad request; without them, or with wrong ones, they are asked for.
fn refuse(verifier: &Verifier, refusal: Refusal) -> Response {
    if let Refusal::Malformed(_) = refusal {
        return Response::text(400, refusal);
    }
    let response = Response::text(401, refusal).with("Cache-Control", "no-store");
    let challenges = verifier.challenges(refusal.is_stale(), clock::now(), rand::random());
    challenges.iter().fold(response, |response, challenge| response.with("WWW-Authenticate", challenge))
}
