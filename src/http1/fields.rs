//! Header fields with their bytes as they came: names' case, order and duplicates kept.

use std::ops::Range;

use bytes::Bytes;

/// Looking fields up by name, whatever holds them.
pub trait Headers {
    /// The values of every field of this name (in any case), in order, without surrounding white space.
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]>;

    /// The value of the first field of this name, if it is visible ASCII text.
    fn text(&self, name: &str) -> Option<&str> {
        self.values(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether there is a field of this name.
    fn contains(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The elements of a comma-separated list field, all its lines together (RFC 9110 §5.6.1).
    fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|element| !element.is_empty())
    }
}

/// The header section of a message: the bytes, and where each field is in them.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    raw: Bytes,
    spans: Vec<Span>,
}

/// Where a field line is, as offsets into the bytes of the head.
#[derive(Clone, Debug)]
struct Span {
    name: Range<u32>,
    value: Range<u32>,
}

impl Fields {
    /// `raw` is a copy of the front of `input`, and `fields` are slices of `input`.
    pub(super) fn new(raw: Bytes, input: &[u8], fields: &[httparse::Header<'_>]) -> Self {
        let range = |slice: &[u8]| {
            // An empty slice may point anywhere.
            let start = if slice.is_empty() { 0 } else { slice.as_ptr() as usize - input.as_ptr() as usize };
            start as u32..(start + slice.len()) as u32
        };
        let spans = fields
            .iter()
            .map(|field| Span { name: range(field.name.as_bytes()), value: range(field.value) })
            .collect();
        Self { raw, spans }
    }

    /// Every field line in order, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().map(|span| (self.name(span), self.value(span)))
    }

    /// Where the value of the first field of this name lies in the head; an empty one lies nowhere.
    pub(super) fn value_range(&self, name: &str) -> Option<Range<usize>> {
        let span = self.spans.iter().find(|span| self.is_named(span, name))?;
        Some(span.value.start as usize..span.value.end as usize).filter(|range| !range.is_empty())
    }

    /// The bytes of the whole head.
    pub(super) fn raw(&self) -> &Bytes {
        &self.raw
    }

    fn is_named(&self, span: &Span, name: &str) -> bool {
        self.name(span).eq_ignore_ascii_case(name.as_bytes())
    }

    fn name(&self, span: &Span) -> &[u8] {
        &self.raw[span.name.start as usize..span.name.end as usize]
    }

    fn value(&self, span: &Span) -> &[u8] {
        self.raw[span.value.start as usize..span.value.end as usize].trim_ascii()
    }
}

impl Headers for Fields {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.spans.iter().filter(move |span| self.is_named(span, name)).map(|span| self.value(span))
    }
}

/// Name and value of each of these field lines; a byte that is not ASCII is read as Latin-1, as HTTP once
/// was.
pub fn field_lines(lines: &[u8]) -> impl Iterator<Item = (String, String)> {
    let latin1 = |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect::<String>();
    lines.split(|b| *b == b'\n').filter_map(move |line| {
        let colon = line.iter().position(|b| *b == b':')?;
        Some((latin1(&line[..colon]), latin1(line[colon + 1..].trim_ascii())))
    })
}

impl Headers for http::HeaderMap {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).into_iter().map(|value| value.as_bytes().trim_ascii())
    }
}
