//! What a client asks: to register, to change or prolong that, to end it.

use std::net::IpAddr;

use bytes::Bytes;
use url::Url;

use super::place::{Change, Message, query};
use super::{Known, Place, Registration, RequestPattern, Rules, Unreadable};
use crate::dialect::{Reading, Subscribe, rvp};
use crate::http1::client::Call;
use crate::http1::{Framing, RequestHead};
use crate::mailbox::Subscription;

/// The longest address that is taken.
const LONGEST_CALLBACK: usize = 2048;

/// Whether the body of a request must be known to tell what it is.
pub fn reads_content(rules: &Rules, head: &RequestHead) -> bool {
    if head.framing == Framing::Empty {
        return false;
    }
    let known = [&rules.renewal, &rules.end].into_iter().flatten();
    let callback = rules.registration.iter().flat_map(|registration| &registration.callback);
    // A renewal may name another address.
    let moves = callback.clone().any(Place::is_in_content);
    let in_condition = |request: &RequestPattern| request.when.iter().any(|when| when.place.is_in_content());
    let of_known = known.map(|known| {
        let reads = moves || in_condition(&known.request) || known.id.iter().any(Place::is_in_content);
        (&known.request, reads)
    });
    let of_registration = rules.registration.iter().map(|registration| {
        let places = registration.callback.iter().chain(&registration.id).chain(&registration.lease);
        let reads = in_condition(&registration.request) || places.into_iter().any(Place::is_in_content);
        (&registration.request, reads)
    });
    of_known.chain(of_registration).any(|(request, reads)| reads && request.fits_head(head))
}

/// What a client's request means to the gateway. `names` are those of the upstream, beside the one in the request.
pub fn read_request(
    rules: &Rules,
    head: &RequestHead,
    content: Option<&[u8]>,
    names: &[String],
    client: IpAddr,
) -> Reading {
    read(rules, head, &Message::request(head, content), names, client).unwrap_or_else(|unreadable| {
        let status = if unreadable == Unreadable::Coding { 415 } else { 400 };
        Reading::Invalid { status, what: unreadable.to_string() }
    })
}

fn read(
    rules: &Rules,
    head: &RequestHead,
    message: &Message<'_, crate::http1::Fields>,
    names: &[String],
    client: IpAddr,
) -> Result<Reading, Unreadable> {
    if let Some(end) = &rules.end
        && end.request.fits(head, message)?
    {
        return Ok(Reading::Unsubscribe { ids: id_of(end, head, message)?.into_iter().collect() });
    }
    let registration = rules.registration.as_ref();
    if let Some(renewal) = &rules.renewal
        && renewal.request.fits(head, message)?
    {
        let lease = registration.and_then(|registration| registration.lease.as_ref());
        let lease = lease.map(|place| place.read(message)).transpose()?.flatten();
        let lease = lease.and_then(|lease| rules.lease.unit.read(&lease, None));
        return Ok(Reading::Renew { ids: id_of(renewal, head, message)?.into_iter().collect(), lease });
    }
    match registration {
        Some(registration) if registration.request.fits(head, message)? => {
            read_registration(rules, registration, head, message, names, client)
        }
        _ => Ok(Reading::Other),
    }
}

fn read_registration(
    rules: &Rules,
    registration: &Registration,
    head: &RequestHead,
    message: &Message<'_, crate::http1::Fields>,
    names: &[String],
    client: IpAddr,
) -> Result<Reading, Unreadable> {
    let callback = callback(registration, message)?;
    match &callback {
        Some(address) if !is_callable(address, head.authority(), names) => return Ok(Reading::Other),
        None if change(registration, message, "")?.is_none() => return Ok(Reading::Other),
        _ => {}
    }
    let lease = registration.lease.as_ref().map(|place| place.read(message)).transpose()?.flatten();
    Ok(Reading::Subscribe(Subscribe {
        subscription: Subscription {
            node: head.path().into(),
            callback: callback.map(Into::into),
            host: head.authority().into(),
            subscriber: Some(client),
            ..Subscription::default()
        },
        lease: lease.and_then(|lease| rules.lease.unit.read(&lease, None)),
        renews: joined(&registration.id, message)?,
    }))
}

/// The client's own address.
fn callback(
    registration: &Registration,
    message: &Message<'_, crate::http1::Fields>,
) -> Result<Option<String>, Unreadable> {
    let mut found = None;
    for place in &registration.callback {
        let here = place.read(message)?;
        if here.is_some() && found.is_some() {
            return Err(Unreadable::Twice);
        }
        found = found.or(here);
    }
    Ok(found)
}

/// Whether it is the address of somebody who is not the server itself.
fn is_callable(address: &str, authority: &str, names: &[String]) -> bool {
    let is_other = |url: Url| !rvp::is_logical(&url, authority, names);
    is_http(address) && Url::parse(address).is_ok_and(is_other)
}

fn is_http(address: &str) -> bool {
    let plain = address.len() <= LONGEST_CALLBACK && address.bytes().all(|b| b.is_ascii_graphic());
    plain && Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// What these places say, one behind the other; none if the first says nothing.
fn joined(
    places: &[Place],
    message: &Message<'_, crate::http1::Fields>,
) -> Result<Option<String>, Unreadable> {
    let mut id = String::new();
    for (index, place) in places.iter().enumerate() {
        match place.read(message)? {
            Some(part) if index == 0 => id.push_str(&part),
            Some(part) => {
                id.push(' ');
                id.push_str(&part);
            }
            None if index == 0 => return Ok(None),
            None => {}
        }
    }
    Ok(Some(id).filter(|id| !id.is_empty()))
}

fn id_of(
    known: &Known,
    head: &RequestHead,
    message: &Message<'_, crate::http1::Fields>,
) -> Result<Option<String>, Unreadable> {
    match known.id.is_empty() {
        true => Ok(known.request.path.id(head.path()).map(|(_, id)| id.to_owned())),
        false => joined(&known.id, message),
    }
}

/// The path at which the subscription was made that a request is about.
pub fn node<'a>(rules: &Rules, head: &'a RequestHead) -> &'a str {
    let known = [&rules.end, &rules.renewal].into_iter().flatten().filter(|known| known.id.is_empty());
    let mut requests = known.map(|known| &known.request).filter(|request| request.fits_head(head));
    let path = head.path();
    requests.find_map(|request| request.path.id(path)).map_or(path, |(before, _)| before)
}

/// The request as it goes upstream, its body behind its head: with the gateway's callback address in the place of the
/// client's. A request without an address stays as it is, unless its client chose polling.
pub fn with_callback(rules: &Rules, head: &RequestHead, content: Option<&[u8]>, address: &str) -> Bytes {
    let message = Message::request(head, content);
    let change = rules.registration.as_ref().and_then(|registration| {
        // What it holds was read before: what could not be read is refused by now.
        change(registration, &message, address).ok().flatten()
    });
    match (change, rules.reads_answer()) {
        (None, false) => head.with_content(content),
        (change, reads_answer) => changed(head, content, change, reads_answer),
    }
}

/// How the address is put into a registration.
fn change(
    registration: &Registration,
    message: &Message<'_, crate::http1::Fields>,
    address: &str,
) -> Result<Option<Change>, Unreadable> {
    let there = callback(registration, message)?;
    let add = registration.callback_optional && there.is_none();
    if !add && !there.is_some_and(|there| is_http(&there)) {
        return Ok(None);
    }
    for place in &registration.callback {
        if let Some(change) = place.put(message, address, add)? {
            return Ok(Some(change));
        }
    }
    Ok(None)
}

/// A request with one value changed. With `plain` its answer is not compressed, so that it can be read.
fn changed(head: &RequestHead, content: Option<&[u8]>, change: Option<Change>, plain: bool) -> Bytes {
    let raw = head.raw();
    let mut lines = raw.split_inclusive(|b| *b == b'\n');
    let start = lines.next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(raw.len() + content.map_or(0, <[u8]>::len) + 512);
    let mut content = content.map(<[u8]>::to_vec);
    let mut field = None;
    match change {
        Some(Change::Query(range, text)) => bytes.extend_from_slice(&start_with(head, start, range, &text)),
        change => {
            bytes.extend_from_slice(start);
            match change {
                Some(Change::Content(range, text)) => {
                    if let Some(content) = &mut content {
                        content.splice(range, text.into_bytes());
                    }
                }
                Some(Change::Field(name, value)) => field = Some((name, value)),
                _ => {}
            }
        }
    }
    for line in lines {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let of_the_framing = ["content-length", "transfer-encoding", "trailer", "expect"].into_iter().any(is);
        let goes = (content.is_some() && of_the_framing) || (plain && is("accept-encoding"));
        if let Some((_, value)) = field.take_if(|(name, _)| is(name)) {
            put_field(&mut bytes, name, &value);
        } else if line == b"\r\n" {
            break;
        } else if !goes {
            bytes.extend_from_slice(line);
        }
    }
    if let Some((name, value)) = field {
        put_field(&mut bytes, name.as_bytes(), &value);
    }
    if plain {
        put_field(&mut bytes, b"Accept-Encoding", "identity");
    }
    if let Some(content) = &content {
        put_field(&mut bytes, b"Content-Length", &content.len().to_string());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&content.unwrap_or_default());
    bytes.into()
}

/// The request line with these bytes of its query changed.
fn start_with(head: &RequestHead, start: &[u8], range: std::ops::Range<usize>, text: &str) -> Vec<u8> {
    let target = head.target();
    let at = head.method().len() + 1 + target.len();
    let query = query(target);
    let mut start_line = start[..at - query.len()].to_vec();
    if query.is_empty() && !target.ends_with('?') {
        start_line.push(b'?');
    }
    start_line.extend_from_slice(&query.as_bytes()[..range.start]);
    start_line.extend_from_slice(text.as_bytes());
    start_line.extend_from_slice(&query.as_bytes()[range.end..]);
    start_line.extend_from_slice(&start[at..]);
    start_line
}

fn put_field(bytes: &mut Vec<u8>, name: &[u8], value: &str) {
    for part in [name, b": ", value.as_bytes(), b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// How the gateway itself ends a subscription: as the rules have it, if the path says all.
pub fn unsubscribe(rules: &Rules, subscription: &Subscription, id: &str) -> Option<Call> {
    let end = rules.end.as_ref().filter(|end| end.id.is_empty() && end.request.when.is_empty())?;
    let path = end.request.path.path_of(&subscription.node, id)?;
    let call = Call::new(&end.request.method, &path).with("Host", &subscription.host);
    Some(call.with("Content-Length", 0))
}
