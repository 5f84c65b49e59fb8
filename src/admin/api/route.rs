//! Which paths there are, and what can be asked there.

use crate::mailbox::MailboxId;

/// A path of the API, whichever mailbox or client it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Document,
    Mailboxes,
    Mailbox,
    Messages,
    Dropped,
    Replay,
    RotateKey,
    Clients,
    Client,
    Events,
}

/// What of it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    Everything,
    Mailbox(MailboxId),
    /// What stands for the mailbox's id can be none.
    NoMailbox,
    /// The principal, as it stands in the path.
    Client(&'a str),
}

impl Route {
    const ALL: [Route; 10] = [
        Route::Document,
        Route::Mailboxes,
        Route::Mailbox,
        Route::Messages,
        Route::Dropped,
        Route::Replay,
        Route::RotateKey,
        Route::Clients,
        Route::Client,
        Route::Events,
    ];

    /// The path, with `{id}` for the mailbox and `{principal}` for the client.
    fn template(self) -> &'static str {
        match self {
            Route::Document => "/api/v1/openapi.json",
            Route::Mailboxes => "/api/v1/mailboxes",
            Route::Mailbox => "/api/v1/mailboxes/{id}",
            Route::Messages => "/api/v1/mailboxes/{id}/messages",
            Route::Dropped => "/api/v1/mailboxes/{id}/dropped",
            Route::Replay => "/api/v1/mailboxes/{id}/dropped/replay",
            Route::RotateKey => "/api/v1/mailboxes/{id}/poll-key/rotate",
            Route::Clients => "/api/v1/clients",
            Route::Client => "/api/v1/clients/{principal}/connection",
            Route::Events => "/api/v1/events",
        }
    }

    /// What can be asked there.
    pub(super) fn methods(self) -> &'static [&'static str] {
        match self {
            Route::Document | Route::Mailboxes | Route::Dropped | Route::Clients | Route::Events => {
                &["GET", "HEAD"]
            }
            Route::Mailbox | Route::Messages => &["GET", "HEAD", "DELETE"],
            Route::Replay | Route::RotateKey => &["POST"],
            Route::Client => &["GET", "HEAD", "PUT", "DELETE"],
        }
    }

    /// Which path this is, and what of it is wanted.
    pub(super) fn find(path: &str) -> Option<(Route, Wanted<'_>)> {
        Self::ALL.into_iter().find_map(|route| Some((route, wanted(route.template(), path)?)))
    }
}

/// What a path wants that is one of this template.
fn wanted<'a>(template: &str, path: &'a str) -> Option<Wanted<'a>> {
    let mut wanted = Wanted::Everything;
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return Some(wanted),
            (Some("{id}"), Some(id)) => wanted = mailbox(id),
            (Some("{principal}"), Some(principal)) => wanted = Wanted::Client(principal),
            (Some(expected), Some(found)) if expected == found => {}
            _ => return None,
        }
    }
}

fn mailbox(id: &str) -> Wanted<'static> {
    // Digits alone: `u64::from_str` would let a plus sign pass.
    let digits = id.bytes().all(|b| b.is_ascii_digit());
    let id = digits.then(|| id.parse().ok()).flatten();
    id.map_or(Wanted::NoMailbox, |id| Wanted::Mailbox(MailboxId(id)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn paths_lead_where_they_should() {
        let seven = Wanted::Mailbox(MailboxId(7));
        for (path, expected) in [
            ("/api/v1/openapi.json", Some((Route::Document, Wanted::Everything))),
            ("/api/v1/mailboxes", Some((Route::Mailboxes, Wanted::Everything))),
            ("/api/v1/mailboxes/7", Some((Route::Mailbox, seven))),
            ("/api/v1/mailboxes/7/messages", Some((Route::Messages, seven))),
            ("/api/v1/mailboxes/7/dropped", Some((Route::Dropped, seven))),
            ("/api/v1/mailboxes/7/dropped/replay", Some((Route::Replay, seven))),
            ("/api/v1/mailboxes/7/poll-key/rotate", Some((Route::RotateKey, seven))),
            ("/api/v1/mailboxes/7/poll-key", None),
            ("/api/v1/mailboxes/x", Some((Route::Mailbox, Wanted::NoMailbox))),
            ("/api/v1/mailboxes/+7", Some((Route::Mailbox, Wanted::NoMailbox))),
            ("/api/v1/mailboxes/", Some((Route::Mailbox, Wanted::NoMailbox))),
            ("/api/v1/mailboxes/99999999999999999999", Some((Route::Mailbox, Wanted::NoMailbox))),
            ("/api/v1/clients", Some((Route::Clients, Wanted::Everything))),
            ("/api/v1/clients/h%2Fkari/connection", Some((Route::Client, Wanted::Client("h%2Fkari")))),
            ("/api/v1/clients/h%2Fkari", None),
            ("/api/v1/clients/h/kari/connection", None),
            ("/api/v1/mailboxes/7/", None),
            ("/api/v1/mailboxes/7/messages/8", None),
            ("/api/v2/mailboxes", None),
            ("/api", None),
            ("/api/", None),
        ] {
            assert_eq!(Route::find(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_documented_is_what_there_is() {
        const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        let document: serde_json::Value = serde_json::from_str(super::super::DOCUMENT).unwrap();
        let documented: BTreeMap<String, Vec<String>> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, item)| {
                let asked = METHODS.iter().filter(|method| item.get(**method).is_some());
                (path.clone(), asked.map(|method| method.to_uppercase()).collect())
            })
            .collect();
        let routed: BTreeMap<String, Vec<String>> = Route::ALL
            .into_iter()
            .map(|route| {
                // The document says once for all that HEAD is where GET is.
                let methods = route.methods().iter().filter(|method| **method != "HEAD");
                (route.template().to_owned(), methods.map(|method| (*method).to_owned()).collect())
            })
            .collect();
        assert_eq!(documented, routed);
        for route in Route::ALL {
            let [get, head] = ["GET", "HEAD"].map(|method| route.methods().contains(&method));
            assert_eq!(get, head, "{route:?}");
        }
    }
}
