//! Requests as bytes, and what each server answers.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::process::Server;
use super::NAMES;

/// How long to wait for more of an answer.
const SILENCE: Duration = Duration::from_millis(500);

const REQUESTS: &[(&str, &str)] = &[
    ("as it should be", "NOTIFY / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx"),
    ("lines that end with a bare LF", "NOTIFY / HTTP/1.1\nHost: a\nContent-Length: 2\n\nxx"),
    ("one line that ends with a bare LF", "NOTIFY / HTTP/1.1\r\nHost: a\nContent-Length: 2\r\n\r\nxx"),
    ("a bare CR in a value", "NOTIFY / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\nContent-Length: 2\r\n\r\nxx"),
    (
        "Content-Length twice, the same",
        "NOTIFY / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nxx",
    ),
    (
        "Content-Length twice, different",
        "NOTIFY / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxxx",
    ),
    ("Content-Length: 2, 2", "NOTIFY / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nxx"),
    ("Content-Length: +2", "NOTIFY / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nxx"),
    (
        "Content-Length and Transfer-Encoding",
        "NOTIFY / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: gzip, chunked",
        "NOTIFY / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "Transfer-Encoding in HTTP/1.0",
        "NOTIFY / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a chunk's size of 0x2",
        "NOTIFY / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nxx\r\n0\r\n\r\n",
    ),
    (
        "a chunk that ends with a bare LF",
        "NOTIFY / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nxx\n0\n\n",
    ),
    ("a folded line", "NOTIFY / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\nContent-Length: 2\r\n\r\nxx"),
    ("white space before a colon", "NOTIFY / HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\nxx"),
    ("white space before the first field", "NOTIFY / HTTP/1.1\r\n Host: a\r\nContent-Length: 2\r\n\r\nxx"),
    ("no Host", "NOTIFY / HTTP/1.1\r\nContent-Length: 2\r\n\r\nxx"),
    ("Host twice", "NOTIFY / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 2\r\n\r\nxx"),
    ("an empty Host", "NOTIFY / HTTP/1.1\r\nHost:\r\nContent-Length: 2\r\n\r\nxx"),
    ("an empty line before the request", "\r\nNOTIFY / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx"),
    ("two spaces in the request line", "NOTIFY  / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx"),
    ("HTTP/1.2", "NOTIFY / HTTP/1.2\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx"),
    ("HTTP/2.0", "NOTIFY / HTTP/2.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx"),
    ("NUL in a value", "NOTIFY / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\nContent-Length: 2\r\n\r\nxx"),
];

/// As a table.
pub async fn answers() -> String {
    let servers = NAMES.map(|name| Server::start_self(&["listener", name]));
    let mut table = format!("| request | {} | {} |\n|---|---|---|\n", NAMES[0], NAMES[1]);
    for (what, request) in REQUESTS {
        let [ours, theirs] = [answer(servers[0].1, request).await, answer(servers[1].1, request).await];
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {what} | {ours} | {theirs} |");
    }
    table
}

/// The status of each answer that comes, and whether the connection stays open.
async fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let end = loop {
        match timeout(SILENCE, stream.read_buf(&mut received)).await {
            Ok(Ok(0)) => break "closes",
            Ok(Ok(_)) => {}
            Ok(Err(_)) => break "resets",
            Err(_) => break "keeps",
        }
    };
    let text = String::from_utf8_lossy(&received);
    let statuses: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("HTTP/1.")?.split(' ').nth(1)).collect();
    if statuses.is_empty() { format!("nothing, {end}") } else { format!("{}, {end}", statuses.join(" ")) }
}
