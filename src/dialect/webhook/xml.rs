//! Where in an XML text the content of an element stands, by a path of local names.
//!
//! No DTDs, and none but XML's own five entities; bounded in depth and in parts.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::{BytesRef, Event};

use super::Unreadable;

/// Deeper nesting than any registration has.
const DEEPEST: usize = 32;

/// More parts (tags, texts, entities, comments) than any registration has.
const MOST_PARTS: usize = 16 * 1024;

/// Where the content of the element at this path stands, and what it says. An element without content holds nothing.
pub(super) fn find(text: &[u8], wanted: &[String]) -> Result<Option<(Range<usize>, String)>, Unreadable> {
    let text = std::str::from_utf8(text).map_err(|_| Unreadable::Xml)?;
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut found: Option<(Range<usize>, String)> = None;
    for _ in 0..MOST_PARTS {
        let before = position(&reader);
        match reader.read_event().map_err(|_| Unreadable::Xml)? {
            Event::Start(element) => {
                if path.len() == DEEPEST || path == wanted {
                    return Err(Unreadable::Xml);
                }
                path.push(element.local_name().as_ref().to_owned());
                if path == wanted {
                    if found.is_some() {
                        return Err(Unreadable::Twice);
                    }
                    found = Some((position(&reader)..position(&reader), String::new()));
                }
            }
            Event::Empty(_) if path == wanted => return Err(Unreadable::Xml),
            Event::End(_) => {
                if path == wanted
                    && let Some((range, _)) = &mut found
                {
                    range.end = before;
                }
                path.pop();
            }
            Event::Text(text) => add(&mut found, &path, wanted, &text),
            Event::CData(text) => add(&mut found, &path, wanted, &text),
            Event::GeneralRef(entity) => {
                add(&mut found, &path, wanted, &character(&entity).ok_or(Unreadable::Xml)?);
            }
            Event::DocType(_) => return Err(Unreadable::Xml),
            Event::Eof if path.is_empty() => return Ok(found.filter(|(range, _)| !range.is_empty())),
            Event::Eof => return Err(Unreadable::Xml),
            _ => {}
        }
    }
    Err(Unreadable::Xml)
}

/// A text as it is written.
pub(super) fn string(text: &str) -> String {
    escape(text).into_owned()
}

fn add(found: &mut Option<(Range<usize>, String)>, path: &[String], wanted: &[String], text: &str) {
    if let Some((_, content)) = found
        && path == wanted
    {
        content.push_str(text);
    }
}

fn character(entity: &BytesRef<'_>) -> Option<String> {
    match entity.resolve_char_ref().ok()? {
        Some(character) => Some(character.to_string()),
        None => resolve_xml_entity(entity).map(str::to_owned),
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str) -> Result<Option<(String, String)>, Unreadable> {
        let path = ["s".to_owned(), "to".to_owned()];
        Ok(find(text.as_bytes(), &path)?.map(|(range, content)| (text[range].to_owned(), content)))
    }

    #[test]
    fn the_content_of_an_element_is_found_whatever_the_prefixes_are() {
        for (text, raw, content) in [
            (
                "<?xml version=\"1.0\"?>\r\n<x:s xmlns:x='u'><a/><x:to a='<'>http://a/?b&amp;c</x:to></x:s>",
                "http://a/?b&amp;c",
                "http://a/?b&c",
            ),
            ("<s><b><to>no</to></b><to><![CDATA[http://a/]]></to></s>", "<![CDATA[http://a/]]>", "http://a/"),
            ("<s><to>&#104;ttp://a/</to></s>", "&#104;ttp://a/", "http://a/"),
        ] {
            assert_eq!(look(text), Ok(Some((raw.to_owned(), content.to_owned()))), "{text}");
        }
        for nothing in ["<s/>", "<to>x</to>", "<s><to/></s>", "<s><to></to></s>"] {
            assert_eq!(look(nothing), Ok(None), "{nothing}");
        }
    }

    #[test]
    fn what_is_not_plain_is_unreadable() {
        for text in [
            "<s><to>x</to>",
            "<s><to>x<b/></to></s>",
            "<s><to><b>x</b></to></s>",
            "<!DOCTYPE s [<!ENTITY e 'x'>]><s><to>&e;</to></s>",
            "<s><to>&e;</to></s>",
            &"<s>".repeat(100),
        ] {
            assert_eq!(look(text), Err(Unreadable::Xml), "{text}");
        }
        assert_eq!(look("<s><to>x</to><to>y</to></s>"), Err(Unreadable::Twice));
        assert_eq!(find(b"<s>\xff</s>", &[]), Err(Unreadable::Xml));
    }
}
