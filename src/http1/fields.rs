//! Header fields with their bytes as they came: names' case, order and duplicates kept.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

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

    /// The same fields behind this start line, each written on one line and in the one form that all read alike: an
    /// answer's may come with white space in front of the colon and in several lines, which must not be passed on
    /// (RFC 9112 §5.1, §5.2).
    pub(super) fn in_one_form(start_line: BytesMut, fields: &[httparse::Header<'_>]) -> Self {
        let mut raw = start_line;
        let mut spans = Vec::with_capacity(fields.len());
        for field in fields {
            let name = put(&mut raw, field.name.as_bytes());
            raw.put_slice(b": ");
            let value = put(&mut raw, field.value.trim_ascii());
            for byte in &mut raw[value.start as usize..value.end as usize] {
                if matches!(byte, b'\r' | b'\n') {
                    *byte = b' ';
                }
            }
            raw.put_slice(b"\r\n");
            spans.push(Span { name, value });
        }
        raw.put_slice(b"\r\n");
        Self { raw: raw.freeze(), spans }
    }

    /// The same, to be changed.
    pub fn to_list(&self) -> FieldList {
        let slice = |range: &Range<u32>| self.raw.slice(range.start as usize..range.end as usize);
        let trimmed = |range: &Range<u32>| {
            let value = slice(range);
            value.slice_ref(value.trim_ascii())
        };
        FieldList(self.spans.iter().map(|span| (slice(&span.name), trimmed(&span.value))).collect())
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

/// Appends this; where it is then.
fn put(raw: &mut BytesMut, bytes: &[u8]) -> Range<u32> {
    let start = raw.len();
    raw.put_slice(bytes);
    start as u32..raw.len() as u32
}

/// Header fields that can be changed: those that are left alone stay in their order, with the case of their names.
#[derive(Clone, Debug, Default)]
pub struct FieldList(Vec<(Bytes, Bytes)>);

impl FieldList {
    /// Takes all fields of this name out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Makes this the only field of its name: in the place of the first, or at the end.
    pub fn set(&mut self, name: &'static str, value: impl Into<Bytes>) {
        let is_named = |(other, _): &(Bytes, Bytes)| other.eq_ignore_ascii_case(name.as_bytes());
        match self.0.iter().position(is_named) {
            None => self.0.push((Bytes::from_static(name.as_bytes()), value.into())),
            Some(first) => {
                self.0[first].1 = value.into();
                let mut at = 0;
                self.0.retain(|field| {
                    at += 1;
                    at <= first + 1 || !is_named(field)
                });
            }
        }
    }

    /// Appends the field lines, each with its CRLF.
    pub fn write(&self, head: &mut BytesMut) {
        head.reserve(self.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum());
        for (name, value) in &self.0 {
            for part in [&name[..], b": ", value, b"\r\n"] {
                head.put_slice(part);
            }
        }
    }
}

impl Headers for FieldList {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = move |(other, _): &&(Bytes, Bytes)| other.eq_ignore_ascii_case(name.as_bytes());
        self.0.iter().filter(is_named).map(|(_, value)| &value[..])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{HeadLimits, ResponseHead};

    #[test]
    fn what_is_set_stands_where_the_first_of_its_name_stood_and_all_else_as_it_was() {
        let head = b"HTTP/1.1 200 OK\r\nx-A: 1\r\nLocation:\t/a \r\nX-a: 2\r\nEmpty:\r\nlocation: /b\r\n\r\n";
        let (head, _) = ResponseHead::parse(head, HeadLimits::default()).unwrap().unwrap();
        let written = |list: &FieldList| {
            let mut out = BytesMut::new();
            list.write(&mut out);
            String::from_utf8(out.to_vec()).unwrap().replace("\r\n", "|")
        };
        let mut list = head.fields.to_list();
        assert_eq!(written(&list), "x-A: 1|Location: /a|X-a: 2|Empty: |location: /b|");
        list.set("LOCATION", "/c");
        list.set("New", "3".to_owned());
        assert_eq!(written(&list), "x-A: 1|Location: /c|X-a: 2|Empty: |New: 3|");
        list.remove("X-A");
        assert_eq!(written(&list), "Location: /c|Empty: |New: 3|");
        assert_eq!((list.text("new"), list.contains("x-a")), (Some("3"), false));
    }
}
