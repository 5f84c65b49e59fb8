//! Bodies that were made to hurt whoever reads their XML. What is counted is how far they were read, not how
//! long that took.

use proptest::prelude::*;
use quick_xml::Reader;

use super::*;

const BEFORE: &str = "<r:notification xmlns:d='DAV:' xmlns:r='urn:r'><r:propnotification>\
    <r:notification-from><d:href>http://h/kari</d:href></r:notification-from>\
    <r:notification-to><d:href>http://h/alan</d:href></r:notification-to><d:prop><r:state/>";
const AFTER: &str = "</d:prop></r:propnotification></r:notification>";

/// A presence state with this in it.
fn presence_with(inner: &str) -> String {
    format!("{BEFORE}{inner}{AFTER}")
}

/// Whether it is taken for what it is not, and for whom.
fn is_plain(body: impl AsRef<[u8]>) -> bool {
    classify(body.as_ref()) == Class::Message && notification_to(body.as_ref()).is_none()
}

/// How many bytes of it were read until it was given up.
fn read_until_given_up(body: &str) -> usize {
    let mut reader = Reader::from_str(body);
    assert!(Notification::read_from(&mut reader).is_none());
    reader.buffer_position() as usize
}

#[test]
fn without_the_bombs_it_is_a_state() {
    assert!(matches!(classify(presence_with("").as_bytes()), Class::Presence { .. }));
    assert_eq!(notification_to(presence_with("").as_bytes()).as_deref(), Some("http://h/alan"));
}

#[test]
fn a_dtd_ends_the_reading() {
    let laughs: String =
        (1..20).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    for subset in [
        "SYSTEM 'http://10.0.0.1/evil.dtd'",
        "PUBLIC 'x' 'file:///etc/passwd'",
        "[<!ENTITY x SYSTEM 'file:///etc/passwd'>]",
        "[<!ENTITY % x SYSTEM 'http://10.0.0.1/evil'>%x;]",
        "[<!ENTITY l0 'lol'>]",
        &format!("[<!ENTITY l0 'lol'>{laughs}]"),
    ] {
        let dtd = format!("<!DOCTYPE r {subset}>");
        let body = format!("{dtd}{}", presence_with("&l19;"));
        assert!(is_plain(&body), "{dtd}");
        assert!(read_until_given_up(&body) <= dtd.len(), "{dtd}");
        assert!(is_plain(presence_with(&dtd)), "within: {dtd}");
    }
}

#[test]
fn only_the_five_entities_and_characters_are_known() {
    let named = |to: &str| presence_with("").replace("http://h/alan", to);
    let to = |body: String| notification_to(body.as_bytes());
    assert_eq!(to(named("http://h/a?b&amp;c&#x26;&#100;")).as_deref(), Some("http://h/a?b&c&d"));
    for entity in ["&x;", "&nbsp;", "&#0;", "&#xD800;", "&#x110000;", "&#99999999999999999999;", "&;", "&"] {
        assert!(is_plain(named(&format!("http://h/al{entity}an"))), "{entity}");
    }
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("<a>", "</a>"), ("<prop>", "</prop>"), ("<x:a xmlns:x='u'>", "</x:a>")] {
        let bomb = presence_with(&format!("{}{}", open.repeat(100_000), close.repeat(100_000)));
        assert!(is_plain(&bomb), "{open}");
        assert!(read_until_given_up(&bomb) <= BEFORE.len() + DEEPEST * open.len(), "{open}");
    }
    // As large as what is looked into may be, and never closed.
    assert!(is_plain(format!("{BEFORE}{}", "<a>".repeat(80_000))));
}

#[test]
fn parts_are_counted() {
    let room = MOST_PARTS - 40;
    for part in ["<!---->", "<?p?>", "<![CDATA[]]>", "&lt;"] {
        assert!(!is_plain(presence_with(&part.repeat(room))), "{part}");
        let bomb = presence_with(&part.repeat(2 * MOST_PARTS));
        assert!(is_plain(&bomb), "{part}");
        assert!(read_until_given_up(&bomb) <= BEFORE.len() + MOST_PARTS * part.len(), "{part}");
    }
}

#[test]
fn size_is_bounded() {
    let fits = LARGEST_BODY - presence_with("").len();
    assert!(!is_plain(presence_with(&" ".repeat(fits))));
    assert!(is_plain(presence_with(&" ".repeat(fits + 1))));
    assert!(is_plain(presence_with(&"<p/>".repeat(DEEPEST))), "one property more than are looked at");
    assert!(!is_plain(presence_with(&format!("<{}/>", "p".repeat(LONGEST_NAME)))));
    assert!(is_plain(presence_with(&format!("<{}/>", "p".repeat(LONGEST_NAME + 1)))));
}

#[test]
fn a_key_is_never_as_long_as_a_body() {
    let body = presence_with("").replace("http://h/kari", &"k".repeat(200_000));
    let Class::Presence { key } = classify(body.as_bytes()) else { panic!("a state") };
    assert!(key.len() < LONGEST_TEXT + 100, "{}", key.len());
}

#[test]
fn attributes_and_namespaces_mean_nothing() {
    let attributes: String = (0..10_000).map(|n| format!(" a{n}='&x;'")).collect();
    let twice = " a='1'".repeat(10_000);
    let spaces: String = (0..5_000).map(|n| format!(" xmlns:n{n}='urn:{n}'")).collect();
    let plain = classify(presence_with("").as_bytes());
    for attributes in [&attributes, &twice, &spaces, " xmlns:r='urn:other'", " xmlns='' xml:base='file:///'"]
    {
        let body = presence_with("").replacen("<r:state", &format!("<r:state{attributes}"), 1);
        assert_eq!(classify(body.as_bytes()), plain);
    }
}

#[test]
fn what_is_not_well_formed_is_a_plain_message() {
    let good = presence_with("");
    for body in [
        good.replace("</r:notification>", ""),
        good.replace("</r:propnotification>", "</other>"),
        good.replace("<r:state/>", "<r:state a='"),
        good.replace("<r:state/>", "<![CDATA[ propnotification"),
        good.replace("<r:state/>", "<!-- propnotification"),
        good.replace("<r:state/>", "<? propnotification"),
        good.replace("<r:state/>", "</></>"),
        format!("{good}</a>"),
    ] {
        assert!(is_plain(&body), "{body}");
    }
}

#[test]
fn only_utf_8_is_read() {
    let good = presence_with("");
    let wide = |bytes: fn(u16) -> [u8; 2]| good.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let mut broken = good.clone().into_bytes();
    *broken.last_mut().expect("a byte") = 0xff;
    for body in
        [wide(u16::to_le_bytes), wide(u16::to_be_bytes), broken, [&[0xc0, 0x80], good.as_bytes()].concat()]
    {
        assert!(is_plain(body));
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        classify(&body);
        notification_to(&body);
    }

    /// Pieces of what is read, in any order: they come further than random bytes do.
    #[test]
    fn nothing_made_of_xml_makes_it_panic(pieces in proptest::collection::vec(
        prop_oneof![
            Just(BEFORE), Just(AFTER), Just("<mime-data>"), Just("</mime-data>"), Just("<![CDATA["), Just("]]>"),
            Just("Content-Type: text/x-msmsgscontrol\r\n"), Just("&amp;"), Just("&#x1F600;"), Just("&x;"),
            Just("<!DOCTYPE a>"), Just("<prop>"), Just("</prop>"), Just("<href>"), Just("</href>"), Just("\u{e9}"),
            Just("<"), Just(">"), Just("'"), Just("&"), Just("<!--"), Just("-->"), Just("propnotification"),
        ],
        0..60,
    )) {
        let body = pieces.concat();
        classify(body.as_bytes());
        notification_to(body.as_bytes());
    }
}
