//! What a subscription means for mailboxes: before it goes upstream, and when its answer comes.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::answers::Granted;
use super::newcomers::Newcomer;
use super::{Gateway, poll};
use crate::clock;
use crate::config::{Client, EdgeLimits, Upstream};
use crate::dialect::{Dialect, Reading, Subscribe};
use crate::http1::{Headers, RequestHead, Response};
use crate::mailbox::{CallbackToken, MailboxId, PollKey};
use crate::store::{CreateError, EndedBy, Ending, Found, Lookup, NewMailbox, Shares};
use crate::telemetry::Happened;

/// How long a mailbox may wait for the upstream to grant its lease.
const UNGRANTED: Duration = Duration::from_secs(300);

/// After how many seconds a client may try again that found no room for its mailbox.
const RETRY_AFTER: u64 = 60;

/// A request as it goes upstream, and what its answer will mean.
#[derive(Debug)]
pub struct Prepared {
    /// The bytes of its head, and of its body if that was read.
    pub bytes: Bytes,
    /// What its answer will mean.
    pub intent: Intent,
}

/// What the answer to a request will mean for mailboxes.
#[derive(Debug, Default)]
pub enum Intent {
    /// Nothing.
    #[default]
    Pass,
    /// With a 2xx the mailbox stays; with anything else it goes.
    Subscribe(Box<Subscribed>),
    /// With a 2xx these mailboxes stay longer.
    Renew {
        /// Which ones.
        mailboxes: Vec<MailboxId>,
        /// How long the client wants the lease.
        lease: Option<Duration>,
        /// In which dialect the answer will be.
        dialect: Dialect,
        /// The fields to be set in it.
        fields: Vec<Field>,
    },
    /// With a 2xx these mailboxes go.
    Unsubscribe(Vec<MailboxId>),
}

impl Intent {
    /// The mailboxes whose subscriptions it is about.
    pub fn known(&self) -> &[MailboxId] {
        match self {
            Intent::Pass => &[],
            Intent::Subscribe(subscribed) => &subscribed.replaces,
            Intent::Renew { mailboxes, .. } | Intent::Unsubscribe(mailboxes) => mailboxes,
        }
    }

    /// The mailboxes that a 2xx leaves with the server that it came from.
    pub fn stays(&self) -> &[MailboxId] {
        match self {
            Intent::Subscribe(subscribed) => std::slice::from_ref(&subscribed.mailbox),
            Intent::Renew { mailboxes, .. } => mailboxes,
            Intent::Pass | Intent::Unsubscribe(_) => &[],
        }
    }
}

/// A mailbox whose lease is being asked for.
#[derive(Debug)]
pub struct Subscribed {
    dialect: Dialect,
    mailbox: MailboxId,
    newcomer: Newcomer,
    poll_key: PollKey,
    /// The id of the subscription that it renews, if the client named one.
    renews: Option<String>,
    /// The mailboxes that the same client has for that subscription.
    replaces: Vec<MailboxId>,
    /// The scheme and the name under which the client knows the gateway.
    scheme: &'static str,
    host: String,
    /// How long the client wants the lease.
    lease: Option<Duration>,
    /// The life time of messages that applies, if the client asked for one.
    message_life_time: Option<Duration>,
    /// How long the client should wait between its polls, if it is one that polls.
    poll_interval: Option<Duration>,
}

/// A field to be set in an answer.
pub type Field = (&'static str, String);

/// Reads a request that is to be passed on. A subscription gets its mailbox here, before it goes
/// upstream: the first callback may be faster than the answer. What must not be passed on comes as its
/// answer.
///
/// `dialect` is the one that it is in. `content` is its body, if that [must be known](Dialect::reads_content).
/// `scheme` is the one under which the client knows the gateway.
pub async fn prepare(
    gateway: &Gateway,
    upstream: &Upstream,
    dialect: Dialect,
    head: &RequestHead,
    content: Option<&[u8]>,
    client: IpAddr,
    scheme: &'static str,
) -> Result<Prepared, Response> {
    let config = gateway.config();
    let pass = |intent| Ok(Prepared { bytes: head.with_content(content), intent });
    if !config.polling.poll_support {
        return pass(Intent::Pass);
    }
    let reading = dialect.read_request(head, content, &upstream.server_names, client);
    if let Some(what) = unread_callback(&dialect, head, &reading) {
        tracing::info!(%client, what, "subscription refused");
        return Err(Response::text(400, what));
    }
    match reading {
        Reading::Other => pass(Intent::Pass),
        Reading::Invalid { status, what } => {
            tracing::info!(%client, status, what, "subscription refused");
            Err(Response::text(status, what))
        }
        Reading::Renew { ids, lease } => {
            let ids = distinct(ids)?;
            let known = find(gateway, upstream, &dialect, &ids, head);
            let bytes = with_known_callback(gateway, &dialect, head, content, &known);
            let intent = Intent::Renew { mailboxes: ids_of(&known), lease, dialect, fields: Vec::new() };
            Ok(Prepared { bytes, intent })
        }
        Reading::Unsubscribe { ids } => {
            let ids = distinct(ids)?;
            let mut known = find(gateway, upstream, &dialect, &ids, head);
            if dialect.has_rules() {
                // Anybody may know what such an id is made of, such as a topic and a callback address; and a server's 2xx
                // often says no more than that it has heard.
                known.retain(|found| found.subscription.subscriber == Some(client));
            }
            let bytes = with_known_callback(gateway, &dialect, head, content, &known);
            Ok(Prepared { bytes, intent: Intent::Unsubscribe(ids_of(&known)) })
        }
        Reading::Subscribe(mut subscribe) => {
            fits(&subscribe)?;
            let principal = subscribe.subscription.principal.as_deref();
            let user_agent = head.fields.text("user-agent");
            let signing_in = Client { principal, source: client, user_agent };
            subscribe.subscription.connection = gateway.settings_of(&signing_in);
            subscribe.subscription.dialect = dialect.name().into();
            subscribe.subscription.upstream = upstream.name.as_str().into();
            let mut known = find(gateway, upstream, &dialect, subscribe.renews.as_slice(), head);
            // To name somebody else's subscription gives nobody a say in its mailbox.
            known.retain(|found| found.subscription.subscriber == subscribe.subscription.subscriber);
            if let Some(fields) = renews(gateway, &dialect, &subscribe, &known, scheme) {
                let bytes = with_known_callback(gateway, &dialect, head, content, &known);
                let (mailboxes, lease) = (ids_of(&known), subscribe.lease);
                return Ok(Prepared { bytes, intent: Intent::Renew { mailboxes, lease, dialect, fields } });
            }
            let token = CallbackToken::from_random(rand::random());
            let address = gateway.callback_address(token, subscribe.subscription.callback.as_deref());
            let bytes = dialect.with_callback(head, content, &address);
            let subscribed = open(gateway, dialect, subscribe, token, ids_of(&known), scheme).await?;
            Ok(Prepared { bytes, intent: Intent::Subscribe(Box::new(subscribed)) })
        }
    }
}

/// Why a request must not go on that may hold a callback address which nobody has looked at: the server could be aimed
/// at any address by it.
fn unread_callback(dialect: &Dialect, head: &RequestHead, reading: &Reading) -> Option<&'static str> {
    let fields = &head.fields;
    let exchange = fields.contains("call-back");
    let gena = fields.contains("callback");
    let of_gena =
        gena || fields.contains("sid") || fields.text("nt").is_some_and(|nt| nt.starts_with("upnp:"));
    if exchange && of_gena {
        return Some(
            "fields of two kinds of subscription: Call-Back is of RVP and WebDAV; CALLBACK, SID and NT are of GENA",
        );
    }
    if !exchange && !gena {
        return None;
    }
    let is_read = match (dialect.name(), reading) {
        (_, Reading::Invalid { .. }) => true,
        ("gena", Reading::Subscribe(_)) => gena,
        ("rvp" | "webdav", Reading::Subscribe(_)) => exchange,
        // The URL of a principal.
        ("rvp", Reading::Other) => exchange && head.method() == "SUBSCRIBE",
        _ => false,
    };
    (!is_read).then_some("a callback address where the gateway knows no subscription: this upstream's dialect has none of this form")
}

/// The ids that a request names, each once.
fn distinct(mut ids: Vec<String>) -> Result<Vec<String>, Response> {
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    if ids.len() <= poll::MOST_IDS {
        return Ok(ids);
    }
    let most = poll::MOST_IDS;
    let what =
        format_args!("too many subscriptions in one request: {}, and at most {most} may be named", ids.len());
    Err(Response::text(400, what))
}

/// A mailbox remembers its subscription for as long as it lives: no part of it may be longer than this.
const LONGEST_PART: usize = 2048;

/// Whether a mailbox can remember the subscription. A part that is too long is named in the answer.
fn fits(subscribe: &Subscribe) -> Result<(), Response> {
    let of = &subscribe.subscription;
    let parts = [
        (414, "the path", Some(&*of.node)),
        (431, "the principal", of.principal.as_deref()),
        (431, "the callback address", of.callback.as_deref()),
        (431, "the Host", Some(&*of.host)),
        (431, "the subscription's id", subscribe.renews.as_deref()),
    ];
    for (status, part, text) in parts {
        let length = text.map_or(0, str::len);
        if length > LONGEST_PART {
            let what =
                format_args!("{part} of a subscription has {length} bytes, and may have {LONGEST_PART}");
            return Err(Response::text(status, what));
        }
    }
    Ok(())
}

/// Whether what is subscribed to is there already and only goes on: the fields to be set in the answer, which are those
/// that its client was given before. Somebody at another address is not told them; there it begins anew.
fn renews(
    gateway: &Gateway,
    dialect: &Dialect,
    subscribe: &Subscribe,
    known: &[Found],
    scheme: &str,
) -> Option<Vec<Field>> {
    let [one] = known else { return None };
    let same_client = one.subscription.subscriber == subscribe.subscription.subscriber;
    if !dialect.repeats_callback() || !same_client {
        return None;
    }
    let keys = gateway.store.keys(one.id).ok()?;
    Some(vec![content_location(scheme, &subscribe.subscription.host, keys.poll_key)])
}

/// A request about a mailbox that is known. If it gives a callback address again, that is the one which the upstream
/// knows.
fn with_known_callback(
    gateway: &Gateway,
    dialect: &Dialect,
    head: &RequestHead,
    content: Option<&[u8]>,
    known: &[Found],
) -> Bytes {
    if dialect.repeats_callback()
        && let [one] = known
        && let Ok(keys) = gateway.store.keys(one.id)
    {
        let address = gateway.callback_address(keys.token, one.subscription.callback.as_deref());
        return dialect.with_callback(head, content, &address);
    }
    head.with_content(content)
}

fn ids_of(found: &[Found]) -> Vec<MailboxId> {
    found.iter().map(|found| found.id).collect()
}

async fn open(
    gateway: &Gateway,
    dialect: Dialect,
    subscribe: Subscribe,
    token: CallbackToken,
    replaces: Vec<MailboxId>,
    scheme: &'static str,
) -> Result<Subscribed, Response> {
    let poll_key = PollKey::from_random(rand::random());
    let host = subscribe.subscription.host.to_string();
    let wish = subscribe.subscription.message_life_time;
    let poll_interval = subscribe.subscription.poll_interval();
    let created = clock::now();
    let lease_ends = created + UNGRANTED;
    let shares = shares(&gateway.config().limits, replaces.len() as u64);
    let subscription = subscribe.subscription;
    let new = NewMailbox { token, poll_key, subscription, created, lease_ends, shares };
    let mailbox = gateway.store.create(new).await.map_err(|error| {
        tracing::warn!(%error, "subscription refused");
        gateway.metrics.mailbox_refused(error);
        // RFC 9110 §15.6.4, RFC 6585 §4: what only its sender can mend is no trouble of the server's.
        let status = match error {
            CreateError::TooMany | CreateError::Unavailable => 503,
            CreateError::TooManyOfPrincipal | CreateError::TooManyOfAddress => 429,
        };
        Response::text(status, error).with("Retry-After", RETRY_AFTER)
    })?;
    gateway.metrics.mailbox_created();
    if dialect.repeats_callback() && subscribe.renews.is_some() {
        // The upstream may ask for it by its id before it answers. The mailbox cannot have ended yet.
        let _ = gateway.store.grant(mailbox, subscribe.renews.as_deref(), lease_ends).await;
    }
    let life_time = &gateway.config().polling.limits.life_time;
    let message_life_time = wish.map(|wish| life_time.apply(Some(wish)));
    let lease = subscribe.lease;
    Ok(Subscribed {
        dialect,
        mailbox,
        newcomer: gateway.newcomers.add(mailbox),
        poll_key,
        renews: subscribe.renews,
        replaces,
        scheme,
        host,
        lease,
        message_life_time,
        poll_interval,
    })
}

/// How many mailboxes there may be with a new one that replaces others: those go when it is there.
fn shares(limits: &EdgeLimits, replaced: u64) -> Shares {
    Shares {
        principal: limits.mailboxes_per_principal.saturating_add(replaced),
        address: limits.mailboxes_per_address.saturating_add(replaced),
    }
}

/// The mailboxes of these subscriptions. Ids are an upstream's own: two may well have the same. A mailbox of an older
/// version of the gateway does not say whose it is.
fn find(
    gateway: &Gateway,
    upstream: &Upstream,
    dialect: &Dialect,
    ids: &[String],
    head: &RequestHead,
) -> Vec<Found> {
    let is_its = |found: &Found| {
        let name = &*found.subscription.upstream;
        name.is_empty() || name == upstream.name
    };
    let mut found = Vec::new();
    for id in ids {
        let node = Some(dialect.node(head));
        let mut here = gateway.store.find(Lookup::SubscriptionId { id, node });
        here.retain(is_its);
        if here.is_empty() && dialect.repeats_callback() {
            // The same node may have another path, such as a project's by name and by number.
            here = gateway.store.find(Lookup::SubscriptionId { id, node: None });
            here.retain(|found| is_its(found) && *found.subscription.dialect == *dialect.name());
            if here.len() > 1 {
                here.clear();
            }
        }
        found.extend(here);
    }
    found
}

/// What the upstream's answer came to.
#[derive(Debug, Default)]
pub struct Answered {
    /// The fields to be set in it.
    pub fields: Vec<Field>,
    /// To be dropped when the client has it.
    pub newcomer: Option<Newcomer>,
    /// Of whom its body says more.
    pub granted: Option<Granted>,
}

/// The upstream's answer came. What is left of the intent is what [`give_up`] would have to undo.
pub async fn answered(gateway: &Gateway, intent: Intent, status: u16, fields: &impl Headers) -> Answered {
    if !(200..300).contains(&status) {
        give_up(gateway, intent).await;
        return Answered::default();
    }
    // A client that is told of a longer lease than its mailbox has would renew it too late.
    let told = |dialect: &Dialect, granted: Option<Duration>, lease: Duration| {
        granted.filter(|granted| *granted > lease).and_then(|_| dialect.lease_field(lease))
    };
    let of_body = |dialect: Dialect, mailboxes, lease| {
        dialect.reads_answer().map(|most| Granted { mailboxes, dialect, lease, most })
    };
    match intent {
        Intent::Pass => {}
        Intent::Subscribe(subscribed) => {
            let grant = subscribed.dialect.read_grant(fields);
            let id = grant.subscription_id.as_deref().filter(|id| id.len() <= LONGEST_PART);
            if grant.subscription_id.is_some() && id.is_none() {
                tracing::warn!(
                    mailbox = %subscribed.mailbox,
                    "the upstream's Subscription-Id is longer than {LONGEST_PART} bytes: the mailbox is not found by it"
                );
            }
            let lease = gateway.lease(grant.lease, subscribed.lease, &subscribed.dialect);
            if gateway.store.grant(subscribed.mailbox, id, clock::now() + lease).await.is_err() {
                tracing::warn!(mailbox = %subscribed.mailbox, "the upstream granted a lease too late");
                return Answered::default();
            }
            tracing::info!(mailbox = %subscribed.mailbox, "subscribed");
            gateway.traffic.tell(subscribed.mailbox, || Happened::Subscribed);
            // An upstream that ignored the id has granted another subscription beside the older one. If it is the same,
            // it calls back to one address only: nothing comes to the older mailbox any more, and what waits there moves
            // along.
            if id.is_some() && id == subscribed.renews.as_deref() {
                for older in &subscribed.replaces {
                    move_on(gateway, *older, subscribed.mailbox).await;
                }
            }
            let mut fields = subscribed.fields();
            fields.extend(told(&subscribed.dialect, grant.lease, lease));
            let granted = of_body(subscribed.dialect, vec![subscribed.mailbox], lease);
            return Answered { fields, newcomer: Some(subscribed.newcomer), granted };
        }
        Intent::Renew { mailboxes, lease: asked, dialect, fields: mut to_set } => {
            let grant = dialect.read_grant(fields).lease;
            let lease = gateway.lease(grant, asked, &dialect);
            // One that ended meanwhile is not revived: its messages are gone already.
            for mailbox in gateway.store.renew(&mailboxes, clock::now() + lease).await {
                tracing::debug!(%mailbox, "lease renewed");
                gateway.traffic.tell(mailbox, || Happened::Renewed);
            }
            to_set.extend(told(&dialect, grant, lease));
            let granted = of_body(dialect, mailboxes, lease);
            return Answered { fields: to_set, newcomer: None, granted };
        }
        Intent::Unsubscribe(mailboxes) => {
            for mailbox in mailboxes {
                end(gateway, mailbox, EndedBy::Client).await;
            }
        }
    }
    Answered::default()
}

/// The upstream did not grant what was asked, or did not answer.
pub async fn give_up(gateway: &Gateway, intent: Intent) {
    if let Intent::Subscribe(subscribed) = intent {
        end(gateway, subscribed.mailbox, EndedBy::Other).await;
    }
}

/// A subscription has another mailbox: what waits in the older one is polled with the newer one.
async fn move_on(gateway: &Gateway, older: MailboxId, newer: MailboxId) {
    let messages = gateway.store.report(older).map_or(0, |report| report.totals.messages);
    if messages == 0 {
        return end(gateway, older, EndedBy::Client).await;
    }
    if gateway.store.hand_on(older, newer).await.is_ok() {
        tracing::info!(mailbox = %older, to = %newer, messages, "the client polls both: its subscription moved");
    }
}

/// Ends a mailbox; what is left in it is lost.
pub(super) async fn end(gateway: &Gateway, mailbox: MailboxId, by: EndedBy) {
    let now = clock::now();
    let limits = gateway.config().polling.limits.clone();
    if let Ok(Ending { lost, acknowledged }) = gateway.store.end(mailbox, by, &limits, now).await {
        gateway.metrics.acknowledged(acknowledged);
        tracing::info!(%mailbox, abandoned = lost.total(), "mailbox ended");
        gateway.traffic.tell(mailbox, || Happened::Ended { abandoned: lost.total() });
        gateway.record_lost(mailbox, &lost, now);
    }
}

impl Subscribed {
    fn fields(&self) -> Vec<Field> {
        let Self { scheme, host, poll_key, .. } = self;
        let mut fields = vec![content_location(scheme, host, *poll_key)];
        if let Some(applied) = self.message_life_time {
            fields.push(("Poll-Message-Lifetime", applied.as_secs().to_string()));
        }
        if let Some(interval) = self.poll_interval {
            fields.push(("Poll-Interval", interval.as_secs().to_string()));
        }
        fields
    }
}

/// Where a client polls that knows the gateway under this scheme and name.
fn content_location(scheme: &str, host: &str, poll_key: PollKey) -> Field {
    let origin = if host.is_empty() { String::new() } else { format!("{scheme}://{host}") };
    ("Content-Location", format!("{origin}{}{poll_key}", poll::PATH))
}
