//! What is tried on any bytes: by the fuzzer (`fuzz_targets`), and on the corpus by `tests/fuzz_corpus.rs`. Each
//! panics if what it tries does not hold.

use pollgate::dialect::rvp::{notification_to, read_callback};
use pollgate::http1::{Fields, Framing, HeadLimits, Headers, RequestHead, ResponseHead};
use pollgate::mailbox::Class;
use pollgate::registry::{File, import};

/// Where the gateway is called back, in these trials.
const OURS: &str = "http://127.0.0.1:8081/0123456789abcdef0123456789abcdef";

/// The body of a callback: it is read without trouble, and what it says of itself stays small.
pub fn classifier(body: &[u8]) {
    if let Class::Typing { key } | Class::Presence { key } = read_callback(&Fields::default(), body).class {
        assert!(key.len() < 16 * 1024, "a key of {} bytes", key.len());
    }
    notification_to(body);
}

/// The head of an answer: what is accepted is in the one form in which it is passed on, whatever it came in.
fn answer(input: &[u8]) {
    let Ok(Some((head, length))) = ResponseHead::parse(input, HeadLimits::default()) else { return };
    assert!(length <= input.len());
    let raw = head.raw();
    let text = raw.strip_suffix(b"\r\n\r\n").expect("it ends with an empty line");
    for line in text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        let is_one_line = !line.is_empty() && !line.starts_with(b" ") && !line.starts_with(b"\t");
        assert!(is_one_line && !line.contains(&b'\r'), "{}", line.escape_ascii());
    }
    let limits = HeadLimits { bytes: raw.len() + 1, fields: HeadLimits::MOST_FIELDS };
    let (again, length) =
        ResponseHead::parse(&raw, limits).expect("still a head").expect("still a whole one");
    assert_eq!(
        (again.status, again.version, again.raw(), length),
        (head.status, head.version, raw.clone(), raw.len())
    );
    assert_eq!(
        Framing::of_response(again.status, &again.fields, again.version),
        Framing::of_response(head.status, &head.fields, head.version)
    );
}

/// The head of a request: what is accepted is still the same request after the gateway has changed it. And that of an
/// answer.
pub fn head(input: &[u8]) {
    answer(input);
    let Ok(Some((head, length))) = RequestHead::parse(input, HeadLimits::default()) else { return };
    assert!(length <= input.len());
    assert_eq!(head.raw(), input[..length], "the bytes as they came");

    let called_back = again(&head, &head.with_field("Call-Back", OURS));
    assert!(called_back.fields.values("Call-Back").any(|value| value == OURS.as_bytes()));

    let names = ["x-forwarded-for", "forwarded"];
    let forwarded = again(&head, &head.with_the_only(&names, "X-Forwarded-For", b"192.0.2.1"));
    let of = |name: &str| forwarded.fields.values(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(of("x-forwarded-for"), [b"192.0.2.1"]);
    assert!(of("forwarded").is_empty());
}

/// A changed head, read again: it says the same, and ends where it ended.
fn again(head: &RequestHead, changed: &[u8]) -> RequestHead {
    let limits = HeadLimits { bytes: changed.len() + 1, fields: HeadLimits::MOST_FIELDS };
    let parsed = RequestHead::parse(changed, limits);
    let (again, length) = parsed.expect("still a head").expect("still a whole one");
    assert_eq!(length, changed.len(), "nothing is left behind it");
    assert_eq!((again.method(), again.target()), (head.method(), head.target()));
    assert_eq!((again.version, again.framing), (head.version, head.framing));
    assert_eq!(again.authority(), head.authority());
    again
}

/// A registration file: it is taken over or refused, each with words.
pub fn registry(bytes: &[u8]) {
    let file = File { name: "any.reg".to_owned(), bytes: bytes.to_vec() };
    match import(&[file]) {
        Ok(import) => assert!(!import.toml.is_empty()),
        Err(error) => assert!(!error.faults.is_empty()),
    }
}
