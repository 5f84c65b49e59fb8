//! Messages in the shapes of the RVP drafts (draft-calsyn-rvp-01, draft-osborne-rvp-00).

use super::text;

/// The login of a client at this callback address.
pub fn login(name: &str, callback: &str) -> Vec<u8> {
    login_with(name, &format!("Call-Back: {callback}\n"))
}

/// The same with these fields in the place of the callback address; each ends its line.
pub fn login_with(name: &str, fields: &str) -> Vec<u8> {
    let head = format!(
        "SUBSCRIBE /instmsg/aliases/{name} HTTP/1.1\nHost: im.example\nNotification-Type: pragma/notify\n\
         Subscription-Lifetime: 14400\n{fields}RVP-Notifications-Version: 0.2\n\
         RVP-From-Principal: {}\nContent-Length: 0",
        principal(name)
    );
    text(&head, "")
}

pub fn principal(name: &str) -> String {
    format!("http://im.example/instmsg/aliases/{name}")
}

/// A callback to this path, with these more fields; each ends its line.
pub fn notify(path: &str, fields: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "NOTIFY {path} HTTP/1.1\nHost: 127.0.0.1\n{fields}RVP-Notifications-Version: 0.2\n\
         RVP-Hop-Count: 1\nContent-Type: text/xml\nContent-Length: {}",
        body.len()
    );
    text(&head, body)
}

/// The body of an instant message.
pub fn message(from: &str, to: &str, words: &str) -> String {
    let mime = format!("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n{words}");
    notification(
        "message",
        from,
        to,
        &format!("<r:msgbody><r:mime-data><![CDATA[{mime}]]></r:mime-data></r:msgbody>"),
    )
}

/// The body that tells that somebody is typing.
pub fn typing(from: &str, to: &str) -> String {
    let mime =
        format!("MIME-Version: 1.0\r\nContent-Type: text/x-msmsgscontrol\r\nTypingUser: {from}\r\n\r\n");
    notification(
        "message",
        from,
        to,
        &format!("<r:msgbody><r:mime-data><![CDATA[{mime}]]></r:mime-data></r:msgbody>"),
    )
}

/// The body that tells somebody's state.
pub fn presence(from: &str, to: &str, state: &str) -> String {
    let update = format!(
        "<d:propertyupdate><d:set><d:prop><r:state><r:{state}/></r:state></d:prop></d:set></d:propertyupdate>"
    );
    notification("propnotification", from, to, &update)
}

fn notification(kind: &str, from: &str, to: &str, inner: &str) -> String {
    let contact = |which: &str, name: &str| {
        let href = principal(name);
        format!(
            "<r:notification-{which}><r:contact><d:href>{href}</d:href></r:contact></r:notification-{which}>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?>\r\n<r:notification xmlns:d=\"DAV:\" \
         xmlns:r=\"http://schemas.microsoft.com/rvp/\"><r:{kind}>{}{}{inner}</r:{kind}></r:notification>",
        contact("from", from),
        contact("to", to)
    )
}
