//! What an RVP server and its clients say to each other, as XML (draft-calsyn-rvp-01).

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

/// An instant message: a MIME text within a notification.
pub fn instant_message(from: &str, to: &str, text: &str) -> String {
    message(from, to, &format!("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n{text}"))
}

/// A sign that somebody is typing.
pub fn typing(from: &str, to: &str) -> String {
    let mime =
        format!("MIME-Version: 1.0\r\nContent-Type: text/x-msmsgscontrol\r\nTypingUser: {from}\r\n\r\n\r\n");
    message(from, to, &mime)
}

/// A change of somebody's presence state, such as `online` or `away`.
pub fn presence(from: &str, to: &str, state: &str) -> String {
    let update = property_update(state);
    notification(&format!("<r:propnotification>{}{update}</r:propnotification>", contacts(from, to)))
}

/// The body of a `PROPPATCH` that sets one's own state.
pub fn property_update(state: &str) -> String {
    let state = escape(state);
    format!(
        "<d:propertyupdate xmlns:d=\"DAV:\" xmlns:r=\"http://schemas.microsoft.com/rvp/\"><d:set><d:prop>\
         <r:state><r:{state}/></r:state></d:prop></d:set></d:propertyupdate>"
    )
}

/// The state that a `PROPPATCH` sets: the name of the element within `state`.
pub fn state_of(body: &[u8]) -> Option<String> {
    let mut reader = Reader::from_str(std::str::from_utf8(body).ok()?);
    let mut within_state = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => {
                let name = element.local_name().as_ref().to_owned();
                if within_state {
                    return Some(name);
                }
                within_state = name == "state";
            }
            Event::End(_) => within_state = false,
            Event::DocType(_) | Event::Eof => return None,
            _ => {}
        }
    }
}

/// The answer to `PROPFIND` and `PROPPATCH`: 207 Multi-Status (RFC 4918 §13).
pub fn multistatus(href: &str, state: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <d:multistatus xmlns:d=\"DAV:\" xmlns:r=\"http://schemas.microsoft.com/rvp/\"><d:response>\
         <d:href>{}</d:href><d:propstat><d:prop><r:state><r:{}/></r:state></d:prop>\
         <d:status>HTTP/1.1 200 Successful</d:status></d:propstat></d:response></d:multistatus>",
        escape(href),
        escape(state)
    )
}

/// The answer to `SUBSCRIPTIONS`: id, kind and remaining seconds of each.
pub fn subscriptions<'a>(href: &str, list: impl Iterator<Item = (u64, &'a str, u64)>) -> String {
    let rows: String = list
        .map(|(id, kind, seconds)| {
            format!(
                "<r:subscription><r:subscription-id>{id}</r:subscription-id><r:notification-type>{kind}\
                 </r:notification-type><r:timeout>{seconds}</r:timeout></r:subscription>"
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <r:subscriptions xmlns:d=\"DAV:\" xmlns:r=\"http://schemas.microsoft.com/rvp/\"><d:href>{}</d:href>{rows}\
         </r:subscriptions>",
        escape(href)
    )
}

fn message(from: &str, to: &str, mime: &str) -> String {
    // The MIME text is character data; the end of a CDATA section within it has to be split.
    let mime = mime.replace("]]>", "]]]]><![CDATA[>");
    notification(&format!(
        "<r:message>{}<r:msgbody><r:mime-data><![CDATA[{mime}]]></r:mime-data></r:msgbody></r:message>",
        contacts(from, to)
    ))
}

fn notification(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <r:notification xmlns:d=\"DAV:\" xmlns:r=\"http://schemas.microsoft.com/rvp/\">{inner}</r:notification>"
    )
}

fn contacts(from: &str, to: &str) -> String {
    format!(
        "<r:notification-from><r:contact><d:href>{}</d:href></r:contact></r:notification-from>\
         <r:notification-to><r:contact><d:href>{}</d:href></r:contact></r:notification-to>",
        escape(from),
        escape(to)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::rvp;
    use crate::http1::{HeadLimits, RequestHead};

    const FROM: &str = "http://im.example/instmsg/aliases/alan?<&>";
    const TO: &str = "http://im.example/instmsg/aliases/kari";

    #[test]
    fn the_gateway_reads_what_they_say() {
        let (head, _) = RequestHead::parse(b"NOTIFY / HTTP/1.1\r\nHost: h\r\n\r\n", HeadLimits::default())
            .unwrap()
            .unwrap();
        for (body, class) in [
            (instant_message(FROM, TO, "a ]]> b <c>"), "message"),
            (typing(FROM, TO), "typing"),
            (presence(FROM, TO, "away"), "presence"),
        ] {
            assert_eq!(rvp::read_callback(&head.fields, body.as_bytes()).class.name(), class, "{body}");
            assert_eq!(rvp::notification_to(body.as_bytes()).as_deref(), Some(TO));
        }
    }

    #[test]
    fn a_state_is_found_where_it_is() {
        for (body, state) in [
            (property_update("away"), Some("away")),
            ("<a><state><busy/></state></a>".into(), Some("busy")),
            ("<a><state></state><busy/></a>".into(), None),
            ("<a/>".into(), None),
            ("<!DOCTYPE a><state><busy/></state>".into(), None),
            ("<state>".into(), None),
            ("state".into(), None),
        ] {
            assert_eq!(state_of(body.as_bytes()).as_deref(), state, "{body}");
        }
    }
}
