//! What a user set is there after `kill -9`, and a policy that was written meanwhile is known to be later.

use std::io::Write;
use std::process::Command;

use crate::gateway::{Gateway, connect, field, read_message, status, upstream};

const KARI: &str = "http://h/instmsg/aliases/kari";

fn client(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pollgate"))
        .arg("client")
        .args(arguments)
        .args(["--admin", &gateway.admin])
        .env_clear()
        .env("POLLGATE_CONFIG", "")
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// Kari signs in: the minutes between polls that she is told.
fn signs_in(gateway: &Gateway) -> u64 {
    let mut stream = connect(&gateway.public).unwrap();
    let request = format!(
        "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\r\nHost: h\r\nNotification-Type: pragma/notify\r\n\
         RVP-From-Principal: {KARI}\r\nCall-Back: http://10.1.2.3:4\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (head, _) = read_message(&mut stream).unwrap();
    assert_eq!(status(&head), 200, "{head}");
    field(&head, "poll-interval").unwrap().parse::<u64>().unwrap() / 60
}

#[test]
fn what_was_set_survives_kill_9_and_yields_to_a_later_policy() {
    let state = tempfile::tempdir().unwrap();
    let (upstream, _tokens) = upstream();
    let mut gateway = Gateway::start(state.path(), &upstream, &[]);
    assert_eq!(signs_in(&gateway), 10);
    assert_eq!(client(&gateway, &["set", KARI, "--mode", "polling", "--period", "3"]).0, 0);
    gateway.kill();
    let mut gateway = Gateway::start(state.path(), &upstream, &[]);
    assert_eq!(signs_in(&gateway), 3);
    let (code, shown) = client(&gateway, &["show", KARI]);
    assert_eq!((code, shown.contains("3 min")), (0, true), "{shown}");
    gateway.kill();
    let policy = [("POLLGATE_DELIVERY_POLLING_PERIOD", "7m")];
    for _ in 0..2 {
        let mut gateway = Gateway::start(state.path(), &upstream, &policy);
        assert_eq!(signs_in(&gateway), 7);
        gateway.kill();
    }
    let gateway = Gateway::start(state.path(), &upstream, &policy);
    assert_eq!(client(&gateway, &["set", KARI, "--mode", "polling", "--period", "4"]).0, 0);
    assert_eq!(signs_in(&gateway), 4);
    assert_eq!(client(&gateway, &["unset", KARI]).0, 0);
    assert_eq!(client(&gateway, &["show", KARI]).0, 1);
    assert_eq!(signs_in(&gateway), 7);
}
