//! Callbacks: what the upstream delivers, and how it is answered.
//!
//! The class of a message is read from its XML body, by local names, whatever the prefixes are. A body
//! is never trusted: no DTDs, none but XML's own five entities, bounded size, depth, number of parts and length
//! of names; what cannot be read is a plain message. Nothing here changes the body.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

use crate::dialect::exchange::NOTIFY;
use crate::dialect::{Delivery, Verdict};
use crate::http1::{Headers, Response};
use crate::mailbox::Class;

/// A larger body is not looked into; Exchange's own are a few kilobytes.
const LARGEST_BODY: usize = 256 * 1024;

/// Deeper nesting than any notification has.
const DEEPEST: usize = 32;

/// More parts (tags, texts, entities, comments) than any notification has; the rest is not read.
const MOST_PARTS: usize = 16 * 1024;

/// A longer name of a property is none. The names become part of a key, which no limit of a mailbox counts.
const LONGEST_NAME: usize = 256;

/// More text than any of the looked-for elements holds: a MIME head, a URL.
const LONGEST_TEXT: usize = 4096;

/// What stands in the body of whatever is not a plain message.
static MARKS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| ["propnotification", "text/x-msmsgscontrol"].map(Finder::new));

/// What a callback says of itself.
pub fn read_callback(fields: &impl Headers, body: &[u8]) -> Delivery {
    let deep = |ack: &str| ack.eq_ignore_ascii_case("DeepOr") || ack.eq_ignore_ascii_case("DeepAnd");
    Delivery { class: classify(body), deep_ack: fields.text("rvp-ack-type").is_some_and(deep) }
}

fn classify(body: &[u8]) -> Class {
    // Nearly every message is a plain one: two searches are cheaper than reading its XML.
    let marked = MARKS.iter().any(|mark| mark.find(body).is_some());
    let Some(notification) = Some(body).filter(|_| marked).and_then(Notification::read) else {
        return Class::Message;
    };
    if notification.is_typing() {
        Class::Typing { key: format!("typing {}", notification.from).into() }
    } else if notification.is_presence() {
        let mut properties = notification.properties;
        properties.sort_unstable();
        Class::Presence { key: format!("presence {} {}", notification.from, properties.join(" ")).into() }
    } else {
        Class::Message
    }
}

/// The principal that a callback is for, from its body.
pub fn notification_to(body: &[u8]) -> Option<String> {
    Notification::read(body).map(|notification| notification.to).filter(|to| !to.is_empty())
}

/// The parts of a notification that matter here.
#[derive(Debug, Default)]
struct Notification {
    from: String,
    to: String,
    mime: String,
    properties: Vec<String>,
}

impl Notification {
    fn read(body: &[u8]) -> Option<Self> {
        if body.len() > LARGEST_BODY {
            return None;
        }
        Self::read_from(&mut Reader::from_str(std::str::from_utf8(body).ok()?))
    }

    /// Stops at the first thing that no notification has, so that a bomb is not read to its end.
    fn read_from(reader: &mut Reader<&[u8]>) -> Option<Self> {
        let mut path: Vec<String> = Vec::new();
        let mut notification = Notification::default();
        for _ in 0..MOST_PARTS {
            match reader.read_event().ok()? {
                Event::Start(element) => {
                    if path.len() == DEEPEST {
                        return None;
                    }
                    path.push(element.local_name().as_ref().to_owned());
                    notification.enter(&path)?;
                }
                Event::Empty(element) => {
                    path.push(element.local_name().as_ref().to_owned());
                    notification.enter(&path)?;
                    path.pop();
                }
                Event::End(_) => {
                    path.pop();
                }
                Event::Text(text) => notification.text(&path, &text),
                Event::CData(text) => notification.text(&path, &text),
                Event::GeneralRef(entity) => notification.text(&path, &character(&entity)?),
                Event::DocType(_) => return None,
                Event::Eof => return path.is_empty().then_some(notification),
                _ => {}
            }
        }
        None
    }

    fn enter(&mut self, path: &[String]) -> Option<()> {
        if let [.., parent, name] = path
            && parent == "prop"
        {
            if self.properties.len() == DEEPEST || name.len() > LONGEST_NAME {
                return None;
            }
            self.properties.push(name.clone());
        }
        Some(())
    }

    fn text(&mut self, path: &[String], text: &str) {
        let within = |name: &str| path.iter().any(|element| element == name);
        let (place, text) = match path.last().map_or("", String::as_str) {
            "href" if within("notification-from") => (&mut self.from, text.trim()),
            "href" if within("notification-to") => (&mut self.to, text.trim()),
            "mime-data" => (&mut self.mime, text),
            _ => return,
        };
        let room = LONGEST_TEXT.saturating_sub(place.len());
        place.push_str(&text[..text.floor_char_boundary(room)]);
    }

    fn is_typing(&self) -> bool {
        let head = self.mime.trim_start().lines().take_while(|line| !line.trim().is_empty());
        head.filter_map(|line| line.split_once(':')).any(|(name, value)| {
            let media_type = value.split(';').next().unwrap_or_default().trim();
            name.trim().eq_ignore_ascii_case("content-type")
                && media_type.eq_ignore_ascii_case("text/x-msmsgscontrol")
        })
    }

    /// A state, rather than a message: it changes properties, and says whose.
    fn is_presence(&self) -> bool {
        self.mime.is_empty() && !self.from.is_empty() && !self.properties.is_empty()
    }
}

/// What a reference stands for: one character. Without a DTD no other entity means anything; to leave one out
/// would make the address of somebody else of what stands around it.
fn character(entity: &BytesRef<'_>) -> Option<String> {
    match entity.resolve_char_ref().ok()? {
        Some(character) => Some(character.to_string()),
        None => resolve_xml_entity(entity).map(str::to_owned),
    }
}

/// The answer to a callback; `version` is its `RVP-Notifications-Version`.
pub fn word(verdict: Verdict, version: Option<&str>) -> Response {
    let answer = match verdict {
        Verdict::Accepted => Response::new(200).reason("Successful"),
        Verdict::Refused(refusal) => refusal.answer(NOTIFY),
    };
    match version {
        Some(version) => answer.with("RVP-Notifications-Version", version),
        None => answer,
    }
}

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::CallbackRefusal;
    use crate::mailbox::Refusal;

    fn notification(inner: &str) -> String {
        format!(
            r#"<?xml version="1.0"?>
            <r:notification xmlns:d="DAV:" xmlns:r="http://schemas.microsoft.com/rvp/">{inner}</r:notification>"#
        )
    }

    fn contacts(from: &str, to: &str) -> String {
        format!(
            "<r:notification-from><r:contact><d:href>{from}</d:href></r:contact></r:notification-from>\
             <r:notification-to><r:contact><d:href> {to} </d:href></r:contact></r:notification-to>"
        )
    }

    fn state(from: &str, properties: &str) -> String {
        notification(&format!(
            "<r:propnotification>{}<d:propertyupdate><d:set><d:prop>{properties}</d:prop></d:set>\
             </d:propertyupdate></r:propnotification>",
            contacts(from, "http://h/alan")
        ))
    }

    fn mime(content_type: &str) -> String {
        notification(&format!(
            "<r:message>{}<r:msgbody><r:mime-data><![CDATA[MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\
             TypingUser: kari\r\n\r\ntext/x-msmsgscontrol]]></r:mime-data></r:msgbody></r:message>",
            contacts("http://h/kari", "http://h/alan")
        ))
    }

    #[test]
    fn classes() {
        let typing = Class::Typing { key: "typing http://h/kari".into() };
        let presence = |key: &str| Class::Presence { key: key.into() };
        for (body, class) in [
            (mime("text/plain; charset=UTF-8"), Class::Message),
            (mime("text/x-msmsgscontrol"), typing.clone()),
            (mime("Text/X-MsmsgsControl; charset=x"), typing),
            (
                state("http://h/kari", "<r:state><r:online/></r:state>"),
                presence("presence http://h/kari state"),
            ),
            (
                state("http://h/kari", "<r:state/><d:displayname>K</d:displayname>"),
                presence("presence http://h/kari displayname state"),
            ),
            (state("", "<r:state/>"), Class::Message),
            (state("http://h/kari", ""), Class::Message),
            (String::new(), Class::Message),
            ("propnotification".into(), Class::Message),
        ] {
            assert_eq!(classify(body.as_bytes()), class, "{body}");
        }
    }

    #[test]
    fn prefixes_do_not_matter() {
        let body = state("http://h/kari", "<r:state/>").replace("r:", "x:").replace("d:", "");
        assert!(matches!(classify(body.as_bytes()), Class::Presence { .. }));
    }

    #[test]
    fn the_body_names_whom_it_is_for() {
        assert_eq!(notification_to(mime("text/plain").as_bytes()).as_deref(), Some("http://h/alan"));
        assert_eq!(notification_to(b"hello"), None);
    }

    #[test]
    fn verdicts_in_words() {
        for (verdict, status, retry) in [
            (Verdict::Accepted, 200, false),
            (Verdict::Refused(CallbackRefusal::Source), 403, false),
            (Verdict::Refused(CallbackRefusal::Unknown), 412, false),
            (Verdict::Refused(CallbackRefusal::Ambiguous), 412, false),
            (Verdict::Refused(Refusal::Full.into()), 503, true),
            (Verdict::Refused(Refusal::Disabled.into()), 503, true),
            (Verdict::Refused(Refusal::TooLarge.into()), 413, false),
        ] {
            let answer = word(verdict, Some("1.0"));
            assert_eq!(answer.status, status, "{verdict:?}");
            assert_eq!(answer.field("RVP-Notifications-Version"), Some("1.0"));
            assert_eq!(answer.field("Retry-After").is_some(), retry, "{verdict:?}");
        }
        assert_eq!(word(Verdict::Accepted, None).reason, "Successful");
    }
}
