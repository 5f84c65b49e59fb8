//! What the admin listener says when it does not do what it was asked (RFC 9457).

use serde::Serialize;

use crate::http1::Response;

/// Why a request was not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// A parameter of the query is not what it must be.
    BadParameter {
        /// Which.
        name: String,
        /// What it must be.
        detail: String,
    },
    /// No token, or another.
    TokenNeeded {
        /// Whether one was shown.
        shown: bool,
    },
    /// It seems to come from a web page that is not the gateway's.
    ForeignPage(&'static str),
    /// Nothing is there.
    NoSuchPath,
    /// There is no such mailbox, or no longer.
    NoSuchMailbox,
    /// It can be asked in these other ways only.
    MethodNotAllowed(&'static [&'static str]),
    /// The mailbox has ended: its messages can be looked at, and nothing else.
    MailboxEnded,
    /// The principal has no setting of its own.
    NoSuchClient,
    /// What was sent is not in JSON.
    NotJson,
    /// What was sent has more than so many bytes.
    TooLarge(usize),
    /// What was sent cannot be set, and why.
    BadContent(String),
    /// As many principals have settings as may.
    TooManyClients,
    /// The configuration is not valid: everything that is wrong with it.
    InvalidConfiguration(Vec<String>),
    /// As many follow the traffic as may.
    TooManyFollowers,
    /// The store cannot keep anything at this moment.
    StoreUnavailable,
}

/// The members of RFC 9457 §3.1, and which parameter it is about.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
}

impl Problem {
    /// The answer that says so.
    pub(super) fn response(&self) -> Response {
        let (status, name, title) = self.kind();
        let parameter = match self {
            Problem::BadParameter { name, .. } => Some(name.as_str()),
            _ => None,
        };
        // The type leads to where the API's document explains it.
        let r#type = format!("/api/v1/openapi.json#/components/responses/{name}");
        let body = Body { r#type, title, status, detail: &self.detail(), parameter };
        // Strings and numbers only: there is nothing that could not be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let response = Response::new(status)
            .with("Cache-Control", "no-store")
            .with_body("application/problem+json", body);
        match self {
            Problem::MethodNotAllowed(allowed) => response.with("Allow", allowed.join(", ")),
            Problem::TokenNeeded { shown: false } => response.with("WWW-Authenticate", REALM),
            // RFC 6750 §3.1.
            Problem::TokenNeeded { shown: true } => {
                response.with("WWW-Authenticate", format_args!("{REALM}, error=\"invalid_token\""))
            }
            _ => response,
        }
    }

    fn kind(&self) -> (u16, &'static str, &'static str) {
        match self {
            Problem::BadParameter { .. } => (400, "BadParameter", "A parameter is not what it must be"),
            Problem::TokenNeeded { .. } => (401, "TokenNeeded", "The operators' token is needed"),
            Problem::ForeignPage(_) => (403, "ForeignPage", "The request may come from a foreign web page"),
            Problem::NoSuchPath => (404, "NoSuchPath", "There is nothing here"),
            Problem::NoSuchMailbox => (404, "NoSuchMailbox", "There is no such mailbox"),
            Problem::MethodNotAllowed(_) => (405, "MethodNotAllowed", "The method is not allowed here"),
            Problem::MailboxEnded => (409, "MailboxEnded", "The mailbox has ended"),
            Problem::NoSuchClient => (404, "NoSuchClient", "There is no such setting"),
            Problem::TooLarge(_) => (413, "TooLarge", "What was sent is too large"),
            Problem::NotJson => (415, "NotJson", "What was sent is not JSON"),
            Problem::BadContent(_) => (422, "BadContent", "What was sent cannot be set"),
            Problem::TooManyClients => (507, "TooManyClients", "Too many clients have settings"),
            Problem::InvalidConfiguration(_) => {
                (422, "InvalidConfiguration", "The configuration is not valid, and the running one stays")
            }
            Problem::TooManyFollowers => (503, "TooManyFollowers", "Too many follow the traffic"),
            Problem::StoreUnavailable => (503, "StoreUnavailable", "The store is unavailable"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::BadParameter { name, detail } => format!("{name} {detail}"),
            Problem::TokenNeeded { shown: false } => {
                "send Authorization: Bearer with the token in the file that admin.token_file names".to_owned()
            }
            Problem::TokenNeeded { shown: true } => {
                "what was sent is not the token in the file that admin.token_file names".to_owned()
            }
            Problem::ForeignPage(detail) => (*detail).to_owned(),
            Problem::NoSuchPath => "/api/v1/openapi.json says what there is".to_owned(),
            Problem::NoSuchMailbox => {
                "it never was, or it has ended and nothing of it is kept any more".to_owned()
            }
            Problem::MethodNotAllowed(allowed) => format!("there is {}", allowed.join(", ")),
            Problem::MailboxEnded => {
                "nobody polls it any more; what was dropped in it can be looked at until its time is over"
                    .to_owned()
            }
            Problem::NoSuchClient => {
                "this principal has set nothing; the client policies say how it is told".to_owned()
            }
            Problem::NotJson => "send it with Content-Type: application/json".to_owned(),
            Problem::TooLarge(most) => format!("it may have at most {most} bytes"),
            Problem::BadContent(detail) => detail.clone(),
            Problem::TooManyClients => {
                "as many principals as store.max_clients says have settings of their own".to_owned()
            }
            Problem::InvalidConfiguration(problems) => problems.join("\n"),
            Problem::TooManyFollowers => "eight may follow at a time".to_owned(),
            Problem::StoreUnavailable => "it can keep nothing at this moment; try again later".to_owned(),
        }
    }
}

const REALM: &str = "Bearer realm=\"pollgate\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_leads_to_what_the_document_says_of_it() {
        let document = include_str!("api/openapi.json");
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        let all = [
            Problem::BadParameter { name: "limit".to_owned(), detail: "is odd".to_owned() },
            Problem::TokenNeeded { shown: true },
            Problem::ForeignPage(""),
            Problem::NoSuchPath,
            Problem::NoSuchMailbox,
            Problem::MethodNotAllowed(&["GET"]),
            Problem::MailboxEnded,
            Problem::NoSuchClient,
            Problem::NotJson,
            Problem::TooLarge(1),
            Problem::BadContent(String::new()),
            Problem::TooManyClients,
            Problem::InvalidConfiguration(Vec::new()),
            Problem::TooManyFollowers,
            Problem::StoreUnavailable,
        ];
        let responses = document["components"]["responses"].as_object().unwrap();
        assert_eq!(responses.len(), all.len());
        for problem in all {
            let response = problem.response();
            let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            let (path, pointer) = body["type"].as_str().unwrap().split_once('#').unwrap();
            assert_eq!(path, "/api/v1/openapi.json");
            let documented = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
            let schema = &documented["content"]["application/problem+json"]["schema"];
            let status = &schema["allOf"][1]["properties"]["status"]["const"];
            assert_eq!((status, &body["status"]), (&response.status.into(), &response.status.into()));
        }
    }
}
