//! Where in a message a value stands.

use std::ops::Range;

use super::{Unreadable, form, json, xml};
use crate::http1::{Headers, RequestHead};

/// Where in a message a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `header:NAME`: a header field.
    Header(String),
    /// `query:NAME`: the query of the request target.
    Query(String),
    /// `form:NAME`: a body of type `application/x-www-form-urlencoded`.
    Form(String),
    /// `json:/a/b`: a body of JSON, by a pointer (RFC 6901).
    Json(Vec<String>),
    /// `xml:/a/b`: a body of XML, by the local names of elements from the outermost one on.
    Xml(Vec<String>),
    /// `location`: the last segment of the path in `Location`; only an answer has one.
    Location,
}

/// A message in which places are looked for.
#[derive(Debug)]
pub(super) struct Message<'a, H> {
    /// The query of its target.
    pub(super) query: &'a str,
    pub(super) fields: &'a H,
    pub(super) content: &'a [u8],
}

/// How one value is put into a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The field of this name has this value.
    Field(String, String),
    /// These bytes of the query become others.
    Query(Range<usize>, String),
    /// These bytes of the body do.
    Content(Range<usize>, String),
}

/// What a body holds, by its `Content-Type`. One without any may hold anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Json,
    Xml,
}

impl<'a> Message<'a, crate::http1::Fields> {
    pub(super) fn request(head: &'a RequestHead, content: Option<&'a [u8]>) -> Self {
        Self { query: query(head.target()), fields: &head.fields, content: content.unwrap_or_default() }
    }
}

/// The query of a request target.
pub(super) fn query(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

impl Place {
    /// Reads a place; the sentence says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let named = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
        let place = match text.split_once(':') {
            None if text == "location" => Some(Self::Location),
            Some(("header", name)) => named(name).filter(|name| is_token(name)).map(Self::Header),
            Some(("query", name)) => named(name).map(Self::Query),
            Some(("form", name)) => named(name).map(Self::Form),
            Some(("json", path)) => json::pointer(path).map(Self::Json),
            Some(("xml", path)) => json::pointer(path).map(Self::Xml),
            _ => None,
        };
        place.ok_or_else(|| {
            format!(
                "must be a place in a message: \"header:NAME\", \"query:NAME\", \"form:NAME\", \"json:/pointer\", \
                 \"xml:/path\" or \"location\", not {text:?}"
            )
        })
    }

    /// Whether it is in a body.
    pub fn is_in_content(&self) -> bool {
        self.kind().is_some()
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Form(_) => Some(Kind::Form),
            Self::Json(_) => Some(Kind::Json),
            Self::Xml(_) => Some(Kind::Xml),
            Self::Header(_) | Self::Query(_) | Self::Location => None,
        }
    }

    /// Whether a message may have it: a body of another kind has not.
    pub(super) fn may_be_in(&self, message: &Message<'_, impl Headers>) -> Result<bool, Unreadable> {
        let Some(kind) = self.kind() else { return Ok(true) };
        if message.content.is_empty() {
            return Ok(false);
        }
        let media_type = message.fields.text("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is = |suffix: &str, name: &str| media_type.ends_with(suffix) || media_type.ends_with(name);
        let may = media_type.is_empty()
            || match kind {
                Kind::Form => media_type == "application/x-www-form-urlencoded",
                Kind::Json => is("+json", "/json"),
                Kind::Xml => is("+xml", "/xml"),
            };
        let coded = || message.fields.list("content-encoding").any(|c| !c.eq_ignore_ascii_case("identity"));
        if may && coded() { Err(Unreadable::Coding) } else { Ok(may) }
    }

    /// What stands there, if something does.
    pub(super) fn read(&self, message: &Message<'_, impl Headers>) -> Result<Option<String>, Unreadable> {
        if !self.may_be_in(message)? {
            return Ok(None);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match self {
            Self::Header(name) => self.only_field(message, name)?.map(text),
            Self::Query(name) => {
                form::find(message.query, name)?.map(|range| form::decode(&message.query[range]))
            }
            Self::Form(name) => match std::str::from_utf8(message.content) {
                Ok(content) => form::find(content, name)?.map(|range| form::decode(&content[range])),
                Err(_) => None,
            },
            Self::Json(pointer) => match json::find(message.content, pointer)? {
                json::Found::Value(range) => json::as_text(&message.content[range]),
                json::Found::Room(..) | json::Found::Nothing => None,
            },
            Self::Xml(path) => xml::find(message.content, path)?.map(|(_, text)| text.trim().to_owned()),
            Self::Location => {
                let location = self.only_field(message, "location")?.map(text);
                location.and_then(|location| last_segment(&location))
            }
        })
    }

    /// How `value` is put there; with `add` also where nothing stands. None if it cannot be.
    pub(super) fn put(
        &self,
        message: &Message<'_, impl Headers>,
        value: &str,
        add: bool,
    ) -> Result<Option<Change>, Unreadable> {
        if !self.may_be_in(message)? {
            return Ok(None);
        }
        Ok(match self {
            Self::Header(name) => {
                let there = self.only_field(message, name)?.is_some();
                (there || add).then(|| Change::Field(name.clone(), value.to_owned()))
            }
            Self::Query(name) => {
                pair(message.query, name, value, add)?.map(|(range, text)| Change::Query(range, text))
            }
            Self::Form(name) => match std::str::from_utf8(message.content) {
                Ok(content) => {
                    pair(content, name, value, add)?.map(|(range, text)| Change::Content(range, text))
                }
                Err(_) => None,
            },
            Self::Json(pointer) => match json::find(message.content, pointer)? {
                // What has parts is no address, and holds none.
                json::Found::Value(range) if message.content[range.clone()].starts_with(b"{") => None,
                json::Found::Value(range) => Some(Change::Content(range, json::string(value))),
                json::Found::Room(at, is_empty) if add => {
                    let name = json::string(pointer.last().map_or("", String::as_str));
                    let comma = if is_empty { "" } else { "," };
                    Some(Change::Content(at..at, format!("{name}:{}{comma}", json::string(value))))
                }
                json::Found::Room(..) | json::Found::Nothing => None,
            },
            Self::Xml(path) => {
                xml::find(message.content, path)?.map(|(range, _)| Change::Content(range, xml::string(value)))
            }
            Self::Location => None,
        })
    }

    fn only_field<'a>(
        &self,
        message: &Message<'a, impl Headers>,
        name: &str,
    ) -> Result<Option<&'a [u8]>, Unreadable> {
        let mut values = message.fields.values(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Unreadable::Twice),
            (value, None) => Ok(value),
        }
    }
}

/// Which bytes of pairs become which.
fn pair(
    text: &str,
    name: &str,
    value: &str,
    add: bool,
) -> Result<Option<(Range<usize>, String)>, Unreadable> {
    let value = form::encode(value);
    Ok(match form::find(text, name)? {
        // A name without a sign of equality gets one.
        Some(range) if text[..range.start].ends_with('=') => Some((range, value)),
        Some(range) => Some((range, format!("={value}"))),
        None if add => {
            let before = if text.is_empty() { "" } else { "&" };
            Some((text.len()..text.len(), format!("{before}{}={value}", form::encode(name))))
        }
        None => None,
    })
}

fn last_segment(location: &str) -> Option<String> {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let segment = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Some(segment.to_owned()).filter(|segment| !segment.is_empty())
}

/// Whether it can be the name of a field (RFC 9110 §5.6.2).
fn is_token(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
