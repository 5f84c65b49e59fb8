//! The answer to a POLL: which subscriptions had events (207 Multi-Status, RFC 4918 §13, as Exchange fills it).

use std::fmt::Write as _;

/// What is said of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It had events.
    Events,
    /// It had none.
    Nothing,
    /// There is no such subscription.
    Unknown,
}

impl Standing {
    const ALL: [Self; 3] = [Self::Events, Self::Nothing, Self::Unknown];

    /// Slide's client reads nothing but these very words.
    fn line(self) -> &'static str {
        match self {
            Self::Events => "HTTP/1.1 200 OK",
            Self::Nothing => "HTTP/1.1 204 No Content",
            Self::Unknown => "HTTP/1.1 412 Precondition Failed",
        }
    }
}

/// The body: a response for each standing, with the ids that have it. Clients know the prefixes and the bare
/// `li` by their letters, so they are Exchange's.
pub fn multistatus(href: &str, ids: &[(String, Standing)]) -> String {
    let mut body = String::from(
        "<?xml version=\"1.0\"?>\r\n\
         <a:multistatus xmlns:b=\"http://schemas.microsoft.com/Exchange/\" xmlns:a=\"DAV:\">",
    );
    let href = escaped(href);
    for standing in Standing::ALL {
        let mut of_it = ids.iter().filter(|(_, other)| *other == standing).peekable();
        if of_it.peek().is_none() {
            continue;
        }
        let line = standing.line();
        // Writing to memory cannot fail.
        let _ =
            write!(body, "<a:response><a:href>{href}</a:href><a:status>{line}</a:status><b:subscriptionID>");
        for (id, _) in of_it {
            let _ = write!(body, "<li>{}</li>", escaped(id));
        }
        body.push_str("</b:subscriptionID></a:response>");
    }
    body.push_str("</a:multistatus>");
    body
}

fn escaped(text: &str) -> std::borrow::Cow<'_, str> {
    quick_xml::escape::escape(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_standing_has_one_response_with_its_ids() {
        let ids = [
            ("21", Standing::Events),
            ("<22", Standing::Nothing),
            ("23", Standing::Events),
            ("9", Standing::Unknown),
        ];
        let ids = ids.map(|(id, standing)| (id.to_owned(), standing));
        assert_eq!(
            multistatus("http://mail.example/a&b", &ids),
            "<?xml version=\"1.0\"?>\r\n\
             <a:multistatus xmlns:b=\"http://schemas.microsoft.com/Exchange/\" xmlns:a=\"DAV:\">\
             <a:response><a:href>http://mail.example/a&amp;b</a:href><a:status>HTTP/1.1 200 OK</a:status>\
             <b:subscriptionID><li>21</li><li>23</li></b:subscriptionID></a:response>\
             <a:response><a:href>http://mail.example/a&amp;b</a:href><a:status>HTTP/1.1 204 No Content</a:status>\
             <b:subscriptionID><li>&lt;22</li></b:subscriptionID></a:response>\
             <a:response><a:href>http://mail.example/a&amp;b</a:href><a:status>HTTP/1.1 412 Precondition Failed</a:status>\
             <b:subscriptionID><li>9</li></b:subscriptionID></a:response></a:multistatus>"
        );
    }
}
