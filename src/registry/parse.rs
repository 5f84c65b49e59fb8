//! The text of a `.reg` file, as the edits that it stands for.
//!
//! Regedit skips what it does not understand. This does not: a line that is no head, key, value or
//! comment is a [`Fault`], and all of them are reported, for a setting that was misspelt must not be
//! taken for one that was never made. No key and no value has a meaning here.

use std::iter::Peekable;

use super::encoding::Format;

/// A line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, as a sentence about the line.
    pub sentence: &'static str,
}

impl Fault {
    pub(super) fn new(line: usize, sentence: &'static str) -> Self {
        Self { line, sentence }
    }
}

/// One change of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) line: usize,
    /// The key's path as written, without brackets.
    pub(super) key: String,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// `[KEY]`
    AddKey,
    /// `[-KEY]`: with all that is in it and below it.
    DeleteKey,
    /// `"name"=…`; the name is empty for the key's default value, `@=…`.
    Set { name: String, data: Data },
    /// `"name"=-`
    Delete { name: String },
}

/// What a value holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// REG_DWORD.
    Dword(u32),
    /// REG_SZ.
    Text(String),
    /// Another type, by its number; no setting has one.
    Other(u32),
}

/// The edits of a file in their order, or every line that is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<Edit>, Vec<Fault>> {
    let mut lines = text.lines().zip(1..).peekable();
    let head = lines.next().map_or("", |(line, _)| line.trim_end());
    let Some(format) = Format::ALL.into_iter().find(|format| format.head() == head) else {
        let sentence = "must be \"Windows Registry Editor Version 5.00\" or \"REGEDIT4\": \
                        this is not a registration file";
        return Err(vec![Fault::new(1, sentence)]);
    };
    let mut edits = Vec::new();
    let mut faults = Vec::new();
    let mut place = Place::Nowhere;
    while let Some((line, number)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        let edit = if line.starts_with('[') {
            key(line, &mut place)
        } else {
            value(&join(line, &mut lines), &place, format)
        };
        match edit {
            Ok((key, action)) => edits.push(Edit { line: number, key, action }),
            Err(sentence) => faults.push(Fault::new(number, sentence)),
        }
    }
    if faults.is_empty() { Ok(edits) } else { Err(faults) }
}

/// Below which key a line stands.
enum Place {
    Nowhere,
    Key(String),
    Deleted,
    /// A key that was not understood; what is below it is not looked at twice.
    Faulty,
}

/// A value's bytes may go on in the next lines: each but the last ends with a backslash. (No other value
/// can end with one.)
fn join<'a>(first: &str, lines: &mut Peekable<impl Iterator<Item = (&'a str, usize)>>) -> String {
    let mut joined = first.to_owned();
    while joined.ends_with('\\') && lines.peek().is_some() {
        joined.pop();
        joined.push_str(lines.next().map_or("", |(line, _)| line.trim()));
    }
    joined
}

type Read<T> = Result<T, &'static str>;

fn key(line: &str, place: &mut Place) -> Read<(String, Action)> {
    *place = Place::Faulty;
    let inner = line.strip_prefix('[').and_then(|rest| rest.rsplit_once(']'));
    let Some((path, _)) = inner.filter(|(_, rest)| is_end(rest)) else {
        return Err("must be a key in brackets, such as [HKEY_CURRENT_USER\\Software]");
    };
    let (path, delete) = match path.strip_prefix('-') {
        Some(path) => (path, true),
        None => (path, false),
    };
    if path.trim().is_empty() {
        return Err("names no key");
    }
    *place = if delete { Place::Deleted } else { Place::Key(path.to_owned()) };
    Ok((path.to_owned(), if delete { Action::DeleteKey } else { Action::AddKey }))
}

fn value(line: &str, place: &Place, format: Format) -> Read<(String, Action)> {
    let (name, rest) = match line.strip_prefix('@') {
        Some(rest) => (String::new(), rest),
        None => string(line).map_err(|_| {
            "is neither a key, such as [HKEY_CURRENT_USER\\Software], nor a value, such as \"Name\"=dword:0000000a"
        })?,
    };
    let data = rest.trim_start().strip_prefix('=').ok_or("has no = after the value's name")?.trim_start();
    let action = match data.strip_prefix('-') {
        Some(rest) if is_end(rest) => Action::Delete { name },
        _ => Action::Set { name, data: read_data(data, format)? },
    };
    match place {
        Place::Key(key) => Ok((key.clone(), action)),
        Place::Nowhere => Err("is a value before the first key"),
        Place::Deleted => Err("is a value of a key that is deleted"),
        Place::Faulty => Err("is a value of a key that cannot be read"),
    }
}

fn read_data(text: &str, format: Format) -> Read<Data> {
    if text.starts_with('"') {
        let (text, rest) = string(text)?;
        return if is_end(rest) { Ok(Data::Text(text)) } else { Err("has something behind the string") };
    }
    if let Some(digits) = text.strip_prefix("dword:") {
        return dword(without_comment(digits)).map(Data::Dword);
    }
    let Some((kind, bytes)) = text.strip_prefix("hex").and_then(|rest| rest.split_once(':')) else {
        return Err("must have a string in quotes, dword:, hex: or - behind the =");
    };
    let kind = match kind.strip_prefix('(').and_then(|kind| kind.strip_suffix(')')) {
        Some(digits) => hexadecimal(digits, 8),
        None if kind.is_empty() => Some(REG_BINARY),
        None => None,
    };
    let kind = kind.ok_or("must have hex: or a type such as hex(4): behind the =")?;
    let bytes = bytes_of(without_comment(bytes))?;
    Ok(match kind {
        REG_SZ => format.text_of_value(&bytes).map_or(Data::Other(kind), Data::Text),
        REG_DWORD => {
            bytes.try_into().map_or(Data::Other(kind), |bytes| Data::Dword(u32::from_le_bytes(bytes)))
        }
        _ => Data::Other(kind),
    })
}

const REG_SZ: u32 = 1;
const REG_BINARY: u32 = 3;
const REG_DWORD: u32 = 4;

fn dword(digits: &str) -> Read<u32> {
    hexadecimal(digits, 8).ok_or("must have one to eight hexadecimal digits behind dword:")
}

fn bytes_of(list: &str) -> Read<Vec<u8>> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let byte = |digits: &str| hexadecimal(digits.trim(), 2).and_then(|byte| u8::try_from(byte).ok());
    let bytes: Option<Vec<u8>> = list.split(',').map(byte).collect();
    bytes.ok_or("must have bytes of two hexadecimal digits, with commas between them, behind hex:")
}

/// `from_str_radix` would let a sign pass.
fn hexadecimal(digits: &str, most: usize) -> Option<u32> {
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (are_digits && digits.len() <= most).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// A string in quotes, and what follows it. A backslash takes a quote or a backslash literally.
fn string(text: &str) -> Read<(String, &str)> {
    let mut characters = text.char_indices();
    if !matches!(characters.next(), Some((_, '"'))) {
        return Err("has no quote where a string should begin");
    }
    let mut string = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((string, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => string.push(escaped),
                _ => return Err("has a backslash in a string; write two of them"),
            },
            other => string.push(other),
        }
    }
    Err("has a string that does not end")
}

fn without_comment(text: &str) -> &str {
    text.split(';').next().unwrap_or(text).trim()
}

/// Whether nothing, or only a comment, is left of a line.
fn is_end(rest: &str) -> bool {
    without_comment(rest).is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "Windows Registry Editor Version 5.00\r\n\r\n";

    /// What a value's line holds; nothing if it is refused.
    fn data(line: &str, format: Format) -> Option<Data> {
        let text = format!("{}\r\n[K]\r\n{line}\r\n", format.head());
        let edits = parse(&text).ok()?;
        match &edits.get(1)?.action {
            Action::Set { data, .. } => Some(data.clone()),
            _ => None,
        }
    }

    fn text(text: &str) -> Option<Data> {
        Some(Data::Text(text.to_owned()))
    }

    #[test]
    fn values() {
        for (line, expected) in [
            ("\"N\"=dword:0000012c", Some(Data::Dword(300))),
            ("\"N\"=dword:FFFFFFFF", Some(Data::Dword(u32::MAX))),
            ("  \"N\" = dword:1  ; as hex", Some(Data::Dword(1))),
            ("@=\"default\"", text("default")),
            ("\"N\"=\"1050-1060\"", text("1050-1060")),
            ("\"N\"=\"a \\\"b\\\" \\\\ ; c\" ; comment", text("a \"b\" \\ ; c")),
            ("\"N\"=\"\"", text("")),
            ("\"a=hex\"=\"b\"", text("b")),
            ("\"N\"=hex(4):2c,01,00,00", Some(Data::Dword(300))),
            ("\"N\"=hex(4):2c,01", Some(Data::Other(4))),
            ("\"N\"=hex(1):31,00,30,00,00,00", text("10")),
            ("\"N\"=hex(1):00,d8", Some(Data::Other(1))),
            ("\"N\"=hex:", Some(Data::Other(3))),
            ("\"N\"=hex(7):41,00,\\\r\n  42,00,\\\r\n  00,00", Some(Data::Other(7))),
            ("\"N\" = hex(4):2c,\\\r\n\t01,00,\\\r\n\t00", Some(Data::Dword(300))),
            ("\"N\"=hex(b):01,00,00,00,00,00,00,00", Some(Data::Other(11))),
            ("\"N\"=dword:", None),
            ("\"N\"=dword:+1", None),
            ("\"N\"=dword:0x10", None),
            ("\"N\"=dword:123456789", None),
            ("\"N\"=dword:1 2", None),
            ("\"N\"=300", None),
            ("\"N\"=\"open", None),
            ("\"N\"=\"C:\\Temp\"", None),
            ("\"N\"=\"a\" b", None),
            ("\"N\"=hex:1g", None),
            ("\"N\"=hex:001", None),
            ("\"N\"=hex(:00", None),
            ("\"N\"=hex:00,\\", None),
            ("\"N\"=- x", None),
            ("\"N\"", None),
            ("\"N", None),
            ("N=dword:1", None),
            ("=dword:1", None),
            ("nonsense", None),
        ] {
            assert_eq!(data(line, Format::Version5), expected, "{line}");
        }
        assert_eq!(data("\"N\"=hex(1):31,e9,00", Format::Regedit4), text("1é"));
    }

    #[test]
    fn keys_values_and_deletions_in_their_order() {
        let text = format!(
            "{HEAD}; comment\r\n[HKEY_X\\a ]b] ; comment\r\n\"N\"=dword:1\r\n\"M\"=-\r\n@=-\r\n\r\n[-HKEY_X\\c]"
        );
        let edit = |line, key: &str, action| Edit { line, key: key.to_owned(), action };
        let name = |name: &str| name.to_owned();
        assert_eq!(
            parse(&text).unwrap(),
            [
                edit(4, "HKEY_X\\a ]b", Action::AddKey),
                edit(5, "HKEY_X\\a ]b", Action::Set { name: name("N"), data: Data::Dword(1) }),
                edit(6, "HKEY_X\\a ]b", Action::Delete { name: name("M") }),
                edit(7, "HKEY_X\\a ]b", Action::Delete { name: name("") }),
                edit(9, "HKEY_X\\c", Action::DeleteKey),
            ]
        );
    }

    #[test]
    fn every_line_that_is_wrong_is_reported() {
        let text =
            "REGEDIT4\n\"N\"=dword:1\n[K\n\"N\"=dword:1\n[]\n[-]\n[K]\n\"N\"=dword:x\n[-K]\n\"N\"=-\nx";
        let lines: Vec<usize> = parse(text).unwrap_err().iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 8, 10, 11]);
        assert_eq!(parse("REGEDIT4\n[K]\n\"N\"=hex:00,\\\n  01\nx").unwrap_err()[0].line, 5);
    }

    #[test]
    fn the_head_is_needed() {
        for (text, expected) in [
            ("REGEDIT4", true),
            ("REGEDIT4 \r\n", true),
            (HEAD, true),
            ("", false),
            ("\r\nREGEDIT4", false),
            ("REGEDIT5", false),
            ("[K]\r\n", false),
        ] {
            assert_eq!(parse(text).is_ok(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(
            text in "\\PC{0,100}|(\\[|\\]|-|\"|@|=|\\\\|;|dword:|hex|\\(|\\)|:|[0-9a-f,]|\r|\n| |K|é){0,60}",
        ) {
            let whole = format!("{HEAD}[K]\r\n{text}");
            if let Err(faults) = parse(&whole) {
                prop_assert!(faults.iter().all(|fault| (1..=whole.lines().count()).contains(&fault.line)));
            }
        }
    }
}
