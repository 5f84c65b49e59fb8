//! The bytes of a `.reg` file, and its text.
//!
//! Version 5.00 is UTF-16LE with a byte order mark, REGEDIT4 is ANSI. An editor may have saved either as
//! UTF-8. Without a mark the text is ANSI, that is Windows-1252, unless it is UTF-8 throughout: ANSI with
//! characters beyond ASCII is that only by an improbable chance.

use encoding_rs::WINDOWS_1252;

use super::parse::Fault;

/// The two formats that Regedit writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `Windows Registry Editor Version 5.00`: Windows 2000 and later; UTF-16LE with a byte order mark.
    Version5,
    /// `REGEDIT4`: Windows 9x and NT 4; ANSI.
    Regedit4,
}

impl Format {
    /// Both of them.
    pub(super) const ALL: [Self; 2] = [Self::Version5, Self::Regedit4];

    /// The first line of the file.
    pub(super) fn head(self) -> &'static str {
        match self {
            Self::Version5 => "Windows Registry Editor Version 5.00",
            Self::Regedit4 => "REGEDIT4",
        }
    }

    /// The bytes of a text. What ANSI does not have becomes a question mark, as on Windows.
    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Version5 => {
                "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
            }
            Self::Regedit4 => text.chars().flat_map(ansi).collect(),
        }
    }

    /// The text of a string that a value holds as bytes.
    pub(super) fn text_of_value(self, bytes: &[u8]) -> Option<String> {
        let text = match self {
            Self::Version5 => utf16(bytes).ok()?,
            Self::Regedit4 => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
        };
        Some(text.trim_end_matches('\0').to_owned())
    }
}

fn ansi(character: char) -> Vec<u8> {
    let mut text = [0; 4];
    match WINDOWS_1252.encode(character.encode_utf8(&mut text)) {
        (bytes, _, false) => bytes.into_owned(),
        (_, _, true) => vec![b'?'],
    }
}

/// The text of a file.
pub(super) fn decode(bytes: &[u8]) -> Result<String, Fault> {
    if let Some(rest) = bytes.strip_prefix(b"\xFF\xFE") {
        return utf16(rest);
    }
    if bytes.starts_with(b"\xFE\xFF") {
        return Err(Fault::new(1, "is big-endian UTF-16; save it as Unicode (UTF-16LE), UTF-8 or ANSI"));
    }
    if let Some(rest) = bytes.strip_prefix(b"\xEF\xBB\xBF") {
        return match std::str::from_utf8(rest) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                let before = &rest[..error.valid_up_to()];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                Err(Fault::new(line, "is not UTF-8 text, as the file's byte order mark says"))
            }
        };
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Ok(WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()),
    }
}

fn utf16(bytes: &[u8]) -> Result<String, Fault> {
    let (units, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(units.len());
    for character in char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit))) {
        match character {
            Ok(character) => text.push(character),
            Err(_) => return Err(not_utf16(&text)),
        }
    }
    if rest.is_empty() { Ok(text) } else { Err(not_utf16(&text)) }
}

fn not_utf16(before: &str) -> Fault {
    let line = 1 + before.matches('\n').count();
    Fault::new(line, "is not UTF-16 text, as the file's byte order mark says")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_that_regedit_and_editors_write() {
        let utf16 = |text: &str| Format::Version5.encode(text);
        for (bytes, expected) in [
            (utf16("a\r\né€"), Ok("a\r\né€")),
            (b"\xEF\xBB\xBFa\r\n\xC3\xA9".to_vec(), Ok("a\r\né")),
            (b"a\r\n\xE9\x80".to_vec(), Ok("a\r\né€")),
            (b"a\r\n\xC3\xA9".to_vec(), Ok("a\r\né")),
            (Vec::new(), Ok("")),
            (b"\xFF\xFE".to_vec(), Ok("")),
            (b"\xFF\xFEa\0\n\0b".to_vec(), Err(2)),
            (b"\xFF\xFE\n\0\x00\xD8a\0".to_vec(), Err(2)),
            (b"\xFE\xFF\0a".to_vec(), Err(1)),
            (b"\xEF\xBB\xBFa\n\n\xE9".to_vec(), Err(3)),
        ] {
            let decoded = decode(&bytes).map_err(|fault| fault.line);
            assert_eq!(decoded.as_deref(), expected.as_ref().map(|text| *text), "{bytes:x?}");
        }
    }

    #[test]
    fn ansi_has_what_it_has() {
        assert_eq!(Format::Regedit4.encode("a\r\né€Ж"), b"a\r\n\xE9\x80?");
    }

    #[test]
    fn the_mark_and_the_order_of_version_5() {
        assert_eq!(Format::Version5.encode("aé"), b"\xFF\xFEa\0\xE9\0");
    }
}
