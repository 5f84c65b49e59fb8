//! The request line, and lines of fields.

use super::{passes, passes_as, put, refused};
use crate::support::Gate;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: im.example\r\n\r\n")
}

fn with(field: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: im.example\r\n{field}\r\n\r\n")
}

fn to_host(hosts: &str) -> String {
    format!("GET / HTTP/1.1\r\n{hosts}\r\n")
}

#[tokio::test]
async fn rfc9112_2_2_a_bare_line_feed_is_refused() {
    refused([
        "GET / HTTP/1.1\nHost: im.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: im.example\n\r\n",
        "GET / HTTP/1.1\r\nHost: im.example\r\n\n",
        "GET / HTTP/1.1\r\nHost: im.example\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\nHost: im.example\n\n",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_2_2_a_bare_carriage_return_is_refused() {
    refused([
        "GET / HTTP/1.1\rHost: im.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: im.example\rX: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: im.example\r\nX: a\rContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: im.example\r\nX\r: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: im.example\r\nX: a\r\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_2_2_what_stands_before_the_request_line_is_refused() {
    refused(["\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"]).await;
    refused([" GET / HTTP/1.1\r\nHost: h\r\n\r\n", "\tGET / HTTP/1.1\r\nHost: h\r\n\r\n"]).await;
}

#[tokio::test]
async fn rfc9112_2_2_white_space_before_the_first_field_is_refused() {
    refused(["GET / HTTP/1.1\r\n Host: h\r\n\r\n", "GET / HTTP/1.1\r\n\tX: a\r\nHost: h\r\n\r\n"]).await;
}

#[tokio::test]
async fn rfc9112_3_a_request_line_of_other_words_is_refused() {
    refused([
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /  HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
        "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\r\nHost: h\r\n\r\n",
        "GET\r\nHost: h\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\x01\x03\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn rfc9112_3_2_a_target_that_must_be_encoded_is_refused() {
    refused(["/a\tb", "/a\0b", "/a\x7fb", "/caf\u{e9}", "/a#b", "/%00", "/a%00b"].map(get)).await;
}

#[tokio::test]
async fn rfc9112_3_2_1_an_encoded_target_passes_as_it_is() {
    for target in ["/a%20b?c=%2F", "/%2e%2e/%0d%0aX:%201", "//twice//", "/a/../b;c?d"] {
        passes(get(target)).await;
    }
}

#[tokio::test]
async fn rfc9112_3_2_2_the_host_is_that_of_an_absolute_target() {
    for host in ["other.example", "im.example:80", "IM.example"] {
        passes_as(
            format!("GET http://im.example/a HTTP/1.1\r\nHost: {host}\r\nX: 1\r\n\r\n"),
            "GET http://im.example/a HTTP/1.1\r\nHost: im.example\r\nX: 1\r\n\r\n",
        )
        .await;
    }
    refused(["http:///a", "http://", "ftp://h/a", "h//", "http:h"].map(get)).await;
    // The callback listener has no use for the host.
    let gate = Gate::start().await;
    assert_eq!(gate.ask(get("http://user@h/")).await.status(), 400);
    assert_eq!(gate.upstream.connections(), 0);
}

#[tokio::test]
async fn rfc9112_3_2_3_a_tunnel_is_refused() {
    refused(["CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "CONNECT / HTTP/1.0\r\n h\r\n\r\n"]).await;
    refused([get("h:443"), get("h")]).await;
}

#[tokio::test]
async fn rfc9112_3_2_4_an_asterisk_is_for_options_only() {
    refused(["GET * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n"]).await;
    passes("OPTIONS * HTTP/1.1\r\nHost: im.example\r\n\r\n").await;
}

#[tokio::test]
async fn rfc9112_3_2_a_request_without_exactly_one_host_is_refused() {
    refused(
        [
            "",
            "Host:\r\n",
            "Host: \t \r\n",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nhost: b\r\n",
            "Host: a, b\r\n",
            "Host: a b\r\n",
            "Host: a/b\r\n",
            "Host: a?b\r\n",
            "Host: user@a\r\n",
            "Host: a\u{e9}\r\n",
            "Host : a\r\n",
        ]
        .map(to_host),
    )
    .await;
}

#[tokio::test]
async fn rfc9112_5_1_white_space_before_the_colon_is_refused() {
    for space in [" ", "\t", "\x0b", "\r\n"] {
        refused([put(&format!("Content-Length{space}: 5\r\n")), put(&format!("X{space}: a\r\n"))]).await;
        refused([put(&format!("Transfer-Encoding{space}: chunked\r\n"))]).await;
    }
}

#[tokio::test]
async fn rfc9112_5_1_a_name_that_is_no_token_is_refused() {
    refused(
        [": a", "X", "X Y: a", "\"X\": a", "X(a): b", "N\u{e9}: a", "X\0: a", "X\x7f: a", "X/Y: a"].map(with),
    )
    .await;
}

/// Servers that hand fields over as variables take these for `Content-Length` or `Transfer-Encoding`; here
/// they are nothing but fields, and pass.
#[tokio::test]
async fn rfc9112_5_1_a_name_that_looks_like_another_passes_as_what_it_is() {
    for field in
        ["Content_Length: 50", "Transfer_Encoding: chunked", "X-Content-Length: 50", "Content-Length-: 5"]
    {
        passes(with(field)).await;
    }
}

#[tokio::test]
async fn rfc9112_5_2_a_field_that_goes_on_in_the_next_line_is_refused() {
    refused([
        put("X: a\r\n b\r\n"),
        put("X: a\r\n\tContent-Length: 5\r\n"),
        put("Transfer-Encoding:\r\n chunked\r\n"),
        put("Content-Length: 5\r\n \r\n"),
    ])
    .await;
}

#[tokio::test]
async fn rfc9110_5_5_control_characters_in_a_value_are_refused() {
    for control in (0..0x20u8).chain([0x7f]).filter(|byte| *byte != b'\t') {
        refused([with(&format!("X: a{}b", char::from(control)))]).await;
    }
}

#[tokio::test]
async fn rfc9112_2_3_other_versions_are_not_spoken() {
    let gate = Gate::start().await;
    for (version, status) in [
        ("HTTP/2.0", 505),
        ("HTTP/1.2", 505),
        ("HTTP/0.9", 505),
        ("HTTP/3", 505),
        ("http/1.1", 505),
        ("HTTP/1.10", 400),
    ] {
        let answer = gate.ask(format!("GET / {version}\r\nHost: h\r\n\r\n")).await;
        assert!([status, 400].contains(&answer.status()), "{version}: {}", answer.status());
    }
    assert_eq!(gate.upstream.connections(), 0);
}
