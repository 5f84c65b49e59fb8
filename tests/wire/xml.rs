//! Callbacks whose XML is hostile: each is a plain message, and reaches its client byte for byte.

use pollgate::mailbox::Bound;

use crate::support::{Gate, parts, rvp};

/// Callbacks with these bodies, delivered and polled: what the client has of each.
async fn passed_on(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let gate = Gate::with(|config| {
        config.limits.requests_per_second_per_address = 100_000;
        config.polling.limits.bytes = Bound::Unlimited;
    })
    .await;
    let login = gate.login("kari").await;
    let mut passed = Vec::new();
    for body in bodies {
        let empty = String::from_utf8(rvp::notify(&login.token, "", "")).unwrap();
        let head = empty.replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
        let answer = gate.call_back([head.as_bytes(), body].concat()).await;
        assert_eq!(answer.status(), 200, "{}", answer.raw_text());
        let answer = gate.poll(&login, "Prefer: wait=0\n").await;
        let [part] = &parts(&answer)[..] else { panic!("{}", answer.raw_text()) };
        passed.push(part.request.body.clone());
    }
    let plain = gate.metric("pollgate_messages_total{class=\"message\"}").await;
    assert_eq!(plain, bodies.len() as f64, "plain messages");
    passed
}

#[tokio::test]
async fn hostile_xml_is_a_plain_message_byte_for_byte() {
    let state = rvp::presence("alan", "kari", "online");
    let typing = rvp::typing("alan", "kari");
    let within = |inner: &str| state.replace("<r:online/>", inner).into_bytes();
    let dtd = "?><!DOCTYPE r [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;\"><!ENTITY c SYSTEM \"file:///etc/passwd\">]>";
    let bodies = [
        state.replace("?>", dtd).into_bytes(),
        typing.replace("?>", dtd).into_bytes(),
        state.replace("alan", "&b;&c;").into_bytes(),
        within(&"<a>".repeat(100_000)),
        within(&format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000))),
        within(&"<!---->".repeat(20_000)),
        within(&" ".repeat(300_000)),
        within(&format!("<a{}", " b='c'".repeat(1_000))),
        state.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        [state.as_bytes(), b"\xff\xfe\0"].concat(),
        state.as_bytes()[..state.len() - 5].to_vec(),
    ];
    assert!(passed_on(&bodies).await == bodies, "a body was changed");
}

#[tokio::test]
async fn any_bytes_are_passed_on_as_they_are() {
    // Each byte beside each of some others, line ends and boundaries' beginnings among them.
    let bodies: Vec<Vec<u8>> = [b'\r', b'\n', b'-', b'<', b'&', 0, 0xff]
        .map(|other| (0..=255).flat_map(|byte| [byte, other]).collect())
        .into_iter()
        .chain([b"\r\n--".to_vec(), b"\r\n\r\n".to_vec(), b"--\r\n".to_vec()])
        .collect();
    assert!(passed_on(&bodies).await == bodies, "a body was changed");
}
