//! What each method is answered.

use std::time::Duration;

use super::deliver::{Notification, user_of};
use super::subscriptions::{Kind, Subscription, Subscriptions};
use super::{Server, USERS};
use crate::clock;
use crate::demo::bodies;
use crate::http1::{Headers, Request, RequestHead, Response, Service};

/// The methods that a node understands.
const METHODS: &str = "SUBSCRIBE, UNSUBSCRIBE, SUBSCRIPTIONS, PROPFIND, PROPPATCH, NOTIFY";

impl Service for Server {
    async fn call(&self, request: Request) -> Response {
        let answer = self.answer(&request).await.unwrap_or_else(|refusal| refusal);
        match request.head.fields.text("rvp-notifications-version") {
            Some(version) => answer.with("RVP-Notifications-Version", version),
            None => answer,
        }
    }
}

impl Server {
    async fn answer(&self, request: &Request) -> Result<Response, Response> {
        let head = &request.head;
        let user = head.path().strip_prefix(USERS).unwrap_or_default();
        if !self.state().users.contains_key(user) {
            return Err(Response::text(404, "no such user"));
        }
        match head.method() {
            "SUBSCRIBE" => self.subscribe(user, head),
            "UNSUBSCRIBE" => self.unsubscribe(user, head),
            "SUBSCRIPTIONS" => Ok(self.subscriptions(user, head)),
            "PROPFIND" => Ok(self.properties(user, head)),
            "PROPPATCH" => self.change_state(user, request).await,
            "NOTIFY" => self.notify(user, request).await,
            _ => Err(Response::text(405, "this method is not understood").with("Allow", METHODS)),
        }
    }

    fn subscribe(&self, user: &str, head: &RequestHead) -> Result<Response, Response> {
        let asked = head.fields.text("subscription-lifetime").and_then(|seconds| seconds.parse().ok());
        let lease = asked.map_or(Subscriptions::LONGEST, Duration::from_secs).min(Subscriptions::LONGEST);
        let ends = clock::now() + lease;
        let callback = head.fields.text("call-back");
        if callback.is_some_and(|callback| !callback.starts_with("http://")) {
            return Err(Response::text(400, "Call-Back is not an http URL"));
        }
        let subscriptions = &mut self.state().subscriptions;
        let id = match subscription_id(head)? {
            Some(id) if subscriptions.renew(id, user, callback, ends) => id,
            Some(_) => return Err(Response::text(412, "no such subscription")),
            None => {
                let kind = head.fields.text("notification-type").and_then(Kind::parse);
                let kind =
                    kind.ok_or_else(|| Response::text(400, "this Notification-Type is not understood"))?;
                let callback =
                    callback.ok_or_else(|| Response::text(400, "a subscription needs a Call-Back"))?;
                if kind == Kind::Presence && user_of(callback).is_none() {
                    return Err(Response::text(400, "presence is told to users of this server only"));
                }
                subscriptions.add(Subscription { user: user.into(), kind, callback: callback.into(), ends })
            }
        };
        Ok(successful().with("Subscription-Id", id).with("Subscription-Lifetime", lease.as_secs()))
    }

    fn unsubscribe(&self, user: &str, head: &RequestHead) -> Result<Response, Response> {
        let id = subscription_id(head)?.ok_or_else(|| Response::text(400, "which Subscription-Id?"))?;
        if self.state().subscriptions.remove(id, user) {
            Ok(successful())
        } else {
            Err(Response::text(412, "no such subscription"))
        }
    }

    fn subscriptions(&self, user: &str, head: &RequestHead) -> Response {
        let now = clock::now();
        let mut state = self.state();
        state.subscriptions.expire(now);
        let list =
            state.subscriptions.of(user).map(|(id, s)| (id, s.kind.name(), s.ends.since(now).as_secs()));
        successful().with_body("text/xml", bodies::subscriptions(&href(head), list))
    }

    fn properties(&self, user: &str, head: &RequestHead) -> Response {
        let state = self.state().users.get(user).cloned().unwrap_or_default();
        multistatus(head, &state)
    }

    async fn change_state(&self, user: &str, request: &Request) -> Result<Response, Response> {
        let state = bodies::state_of(&request.body)
            .ok_or_else(|| Response::text(400, "the body sets no state that is understood"))?;
        self.state().users.insert(user.to_owned(), state.clone());
        let from = href(&request.head);
        let host = request.head.authority();
        let body_for =
            |watcher: &str| bodies::presence(&from, &format!("http://{host}{USERS}{watcher}"), &state);
        self.tell_watchers(user, body_for, &from).await;
        Ok(multistatus(&request.head, &state))
    }

    async fn notify(&self, user: &str, request: &Request) -> Result<Response, Response> {
        if request.body.is_empty() {
            return Err(Response::text(400, "a notification has a body"));
        }
        match self.deliver(user, &Notification::passed_on(&request.head, &request.body)).await {
            (0, _) => Err(Response::text(412, "the user is not signed in")),
            (_, 0) => Err(Response::text(502, "the user's client could not be called back")),
            _ => Ok(successful()),
        }
    }
}

fn successful() -> Response {
    Response::new(200).reason("Successful")
}

fn multistatus(head: &RequestHead, state: &str) -> Response {
    Response::new(207).with_body("text/xml", bodies::multistatus(&href(head), state))
}

fn href(head: &RequestHead) -> String {
    format!("http://{}{}", head.authority(), head.path())
}

fn subscription_id(head: &RequestHead) -> Result<Option<u64>, Response> {
    let id = head.fields.text("subscription-id").map(|id| id.trim().parse());
    id.transpose().map_err(|_| Response::text(412, "no such subscription"))
}
