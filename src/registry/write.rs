//! A `.reg` file as Regedit writes it.

use super::encoding::Format;
use super::parse::Data;

/// A file with one key and its values.
pub(super) fn file(format: Format, key: &str, values: &[(&str, Data)]) -> Vec<u8> {
    let mut text = format!("{}\r\n\r\n[{key}]\r\n", format.head());
    for (name, data) in values {
        let data = match data {
            Data::Dword(number) => format!("dword:{number:08x}"),
            Data::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            // No setting has one.
            Data::Other(_) => continue,
        };
        text.push_str(&format!("\"{name}\"={data}\r\n"));
    }
    text.push_str("\r\n");
    format.encode(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_on_windows_and_strings_are_escaped() {
        let values = [("Number", Data::Dword(300)), ("Text", Data::Text("a\\\"b".to_owned()))];
        assert_eq!(
            String::from_utf8(file(Format::Regedit4, "HKEY_X\\a", &values)).unwrap(),
            "REGEDIT4\r\n\r\n[HKEY_X\\a]\r\n\"Number\"=dword:0000012c\r\n\"Text\"=\"a\\\\\\\"b\"\r\n\r\n"
        );
    }
}
