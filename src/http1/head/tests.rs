//! Heads: a table of what is read and what is refused, and an independent reading of the grammar.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 10 };

fn parse(input: &[u8]) -> Result<Option<(RequestHead, usize)>, HeadError> {
    RequestHead::parse(input, LIMITS)
}

fn read(head: &str) -> RequestHead {
    let (read, length) = parse(head.as_bytes()).expect(head).expect(head);
    assert_eq!(length, head.len());
    read
}

#[test]
fn a_head_is_read() {
    let text = "SUBSCRIBE http://IM.example:81/a/b?c HTTP/1.1\r\nhost: im.example:81\r\nX-Empty:\r\n\
                x-latin: \u{e9}\r\nX-EMPTY: \t two  words \t\r\n\r\n";
    let head = read(text);
    assert_eq!((head.method(), head.version), ("SUBSCRIBE", Version::Http11));
    assert_eq!((head.path(), head.authority()), ("/a/b", "IM.example:81"));
    assert_eq!(head.raw(), text.as_bytes());
    let names: Vec<&str> = head.fields.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
    assert_eq!(names, ["host", "X-Empty", "x-latin", "X-EMPTY"]);
    let empty: Vec<&[u8]> = head.fields.values("x-empty").collect();
    assert_eq!(empty, [&b""[..], b"two  words"]);
    assert_eq!(head.framing, Framing::Empty);
}

#[test]
fn one_field_is_set_and_all_else_stays() {
    let head = read("S /a HTTP/1.1\r\nHost: h\r\nCALL-back:  http://c \r\nZ: 1\r\n\r\n");
    for (name, expected) in [
        ("Call-Back", "S /a HTTP/1.1\r\nHost: h\r\nCALL-back:  NEW \r\nZ: 1\r\n\r\n"),
        ("More", "S /a HTTP/1.1\r\nHost: h\r\nCALL-back:  http://c \r\nZ: 1\r\nMore: NEW\r\n\r\n"),
    ] {
        assert_eq!(head.with_field(name, "NEW"), expected.as_bytes(), "{name}");
    }
}

#[test]
fn who_keeps_the_connection() {
    for (version, connection, kept) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, CLOSE\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = read(&format!("GET / HTTP/{version}\r\nHost: h\r\n{connection}\r\n"));
        assert_eq!(head.keep_alive(), kept, "{version} {connection}");
    }
}

/// Each with the section of RFC 9112, if no other is named.
#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (head, why) in [
        ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "§2.2: an empty line first"),
        ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "§2.2"),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", "§2.2: a lone LF"),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", "§2.2"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", "§2.2"),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n", "§2.2: a lone CR"),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "§5.2: obs-fold"),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", "§2.2: white space first"),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "§5.1: a space before the colon"),
        ("GET / HTTP/1.1\r\nHost: h\r\nA B: c\r\n\r\n", "§5.1"),
        ("GET / HTTP/1.1\r\nHost: h\r\n: c\r\n\r\n", "§5.1"),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", "§5.1"),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n", "RFC 9110 §5.5"),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \u{7}\r\n\r\n", "RFC 9110 §5.5"),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "§3"),
        ("GET / x HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2: a space in the target"),
        ("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2"),
        ("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2: an encoded NUL"),
        ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2: a fragment"),
        ("GET a HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2"),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2.4"),
        ("GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2.2"),
        ("GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2.2"),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", "§3.2.3"),
        ("GET / HTTP/1.1\r\n\r\n", "§3.2: no Host"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "§3.2"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "§3.2"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "§3.2"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "§3.2"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "§3.2"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "§3.2"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "§3.2"),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "§2.3"),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", "§2.3"),
        ("GET / http/1.1\r\nHost: h\r\n\r\n", "§2.3"),
        ("GET /\r\nHost: h\r\n\r\n", "§3: HTTP/0.9"),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "§6.1"),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "RFC 9110 §8.6"),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n", "RFC 9110 §8.6"),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", "RFC 9110 §8.6"),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\n", "RFC 9110 §8.6"),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n", "RFC 9110 §8.6"),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", "RFC 9110 §8.6"),
        ("P / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", "RFC 9110 §8.6"),
        ("P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "§6.1"),
        ("P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", "§6.1"),
        ("P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", "§6.1"),
        ("P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", "§6.1"),
        ("P / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "§6.1"),
        (
            "P / HTTP/1.1\r\nHost: h\r\nConnection: x, Content-Length\r\nContent-Length: 1\r\n\r\n",
            "RFC 9110 §7.6.1",
        ),
        ("P / HTTP/1.1\r\nHost: h\r\nConnection: host\r\n\r\n", "RFC 9110 §7.6.1"),
        ("P / HTTP/1.1\r\nHost: h\r\nConnection: TRANSFER-encoding\r\n\r\n", "RFC 9110 §7.6.1"),
    ] {
        assert!(parse(head.as_bytes()).is_err(), "{why}: {head:?}");
    }
}

#[test]
fn what_is_odd_and_plain_is_read() {
    for head in [
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a%20folder?q=%2f HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET HTTP://h HTTP/1.1\r\nHost: H:80\r\n\r\n",
        "X-!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "P / HTTP/1.1\r\nHost: h\r\ntransfer-ENCODING: Chunked\r\n\r\n",
        "P / HTTP/1.1\r\nHost: h\r\nContent-Length: 007\r\n\r\n",
    ] {
        read(head);
    }
}

#[test]
fn heads_are_bounded() {
    let with = |target: usize, fields: usize| {
        let fields = "A: b\r\n".repeat(fields);
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n{fields}\r\n", "x".repeat(target))
    };
    assert!(parse(with(900, 9).as_bytes()).is_ok());
    assert_eq!(parse(with(1, 10).as_bytes()).unwrap_err(), HeadError::TooLarge, "fields");
    assert_eq!(parse(with(980, 9).as_bytes()).unwrap_err(), HeadError::TooLarge, "bytes");
    assert_eq!(
        parse(with(1100, 1).as_bytes()).unwrap_err(),
        HeadError::TargetTooLong,
        "what follows changes nothing"
    );
    assert_eq!(parse(&[b'x'; 1024]).unwrap_err(), HeadError::TargetTooLong);
    assert_eq!(parse(&[b'x'; 1023]).unwrap().map(|_| ()), None);
    let half = &with(900, 9)[..950];
    assert_eq!(parse(half.as_bytes()).unwrap().map(|_| ()), None);
}

#[test]
fn answers_are_read() {
    for (head, expected) in [
        ("HTTP/1.1 200 Successful\r\nA: b\r\n\r\n", Some((200, "Successful"))),
        ("HTTP/1.0 404 \r\n\r\n", Some((404, ""))),
        ("HTTP/1.1 204\r\n\r\n", Some((204, ""))),
        ("HTTP/1.1 20 X\r\n\r\n", None),
        ("HTTP/1.1 2000 X\r\n\r\n", None),
        ("HTTP/1.1 020 X\r\n\r\n", None),
        ("HTTP/3.0 200 X\r\n\r\n", None),
        ("HTTP/1.1 200 Tr\u{e8}s  bien\r\n\r\n", Some((200, "Tr\u{e8}s  bien"))),
        ("HTTP/1.1 200 X\nA: b\r\n\n", Some((200, "X"))),
        ("\r\nHTTP/1.1 200 X\r\n\r\n", None),
    ] {
        let read = ResponseHead::parse(head.as_bytes(), LIMITS).ok().flatten();
        assert_eq!(
            read.as_ref().map(|(read, _)| (read.status, std::str::from_utf8(read.reason()).unwrap())),
            expected,
            "{head:?}"
        );
    }
}

#[test]
fn answers_are_written_in_one_form() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK|A: b||"),
        ("HTTP/1.0 204\r\nA:b \r\n\r\n", "HTTP/1.0 204 |A: b||"),
        ("HTTP/1.1 200 OK\nA : b\nC:\n\n", "HTTP/1.1 200 OK|A: b|C: ||"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\td\r\n\r\n", "HTTP/1.1 200 OK|A: b   c  \td||"),
    ] {
        let (read, length) = ResponseHead::parse(head.as_bytes(), LIMITS).unwrap().unwrap();
        let written = String::from_utf8(read.raw().to_vec()).unwrap();
        assert_eq!((written.replace("\r\n", "|").as_str(), length), (expected, head.len()), "{head:?}");
        let again = ResponseHead::parse(written.as_bytes(), LIMITS).unwrap().unwrap().0;
        assert_eq!(again.raw(), read.raw(), "it is in that form then");
    }
}

/// Method, target, and fields.
type Parts = (String, String, Vec<(String, Vec<u8>)>);

/// A reading of RFC 9112 §2.1–§5 for whole heads with origin-form targets, without a care for speed.
fn naive(head: &[u8]) -> Option<Parts> {
    let token = |s: &[u8]| {
        let is = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        (!s.is_empty() && s.iter().all(is)).then(|| String::from_utf8(s.to_vec()).unwrap())
    };
    let text = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    let mut words = lines[0].split(|b| *b == b' ');
    let (method, target, version) = (token(words.next()?)?, words.next()?, words.next()?);
    let plain = target.iter().all(|b| b.is_ascii_graphic() && *b != b'#');
    let nul = target.windows(3).any(|w| w == b"%00");
    if words.next().is_some() || version != b"HTTP/1.1" || !target.starts_with(b"/") || !plain || nul {
        return None;
    }
    let mut fields = Vec::new();
    for line in &lines[1..] {
        let at = line.iter().position(|b| *b == b':')?;
        let value = String::from_utf8(line[at + 1..].to_vec()).ok()?;
        let value = value.trim_matches([' ', '\t']).as_bytes();
        if value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
            return None;
        }
        fields.push((token(&line[..at])?, value.to_vec()));
    }
    let hosts: Vec<_> = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).collect();
    (hosts.len() == 1).then(|| (method, String::from_utf8(target.to_vec()).unwrap(), fields))
}

proptest! {
    /// Heads that are nearly right, so that both answers occur; nothing in them concerns the framing.
    #[test]
    fn agrees_with_a_naive_reading(
        method in "[A-Z]{1,3}[ -]?",
        target in "/[a-c%0#]{0,4} ?",
        fields in prop::collection::vec("[A-C]{0,2} ?:[ \t]{0,2}[\\x00-\\x7f&&[^\r\n]]{0,6}", 0..4),
        end in prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n "]),
    ) {
        let lines: String = fields.iter().map(|field| format!("{field}{end}")).collect();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let ours = parse(head.as_bytes()).ok().flatten().filter(|(_, length)| *length == head.len()).map(|(read, _)| {
            let fields: Vec<_> = read.fields.iter().map(|(n, v)| (String::from_utf8(n.to_vec()).unwrap(), v.to_vec())).collect();
            (read.method().to_owned(), read.target().to_owned(), fields)
        });
        prop_assert_eq!(ours, naive(head.as_bytes()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&input);
        let _ = ResponseHead::parse(&input, LIMITS);
    }

    /// Nothing is decided before the head is whole, but what no continuation can mend.
    #[test]
    fn a_part_of_a_head_is_never_taken_for_a_whole(cut in 0usize..70) {
        let head = b"SUBSCRIBE /a HTTP/1.1\r\nHost: h\r\nA: b\r\nContent-Length: 3\r\n\r\n";
        let cut = cut.min(head.len() - 1);
        prop_assert!(matches!(parse(&head[..cut]), Ok(None)));
    }
}
