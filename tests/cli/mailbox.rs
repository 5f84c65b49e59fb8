//! `pollgate mailbox`, the binary, against a gateway in this process and the demo's server behind it.

use pollgate::config::{Config, Token};
use pollgate::mailbox::{Bound, CallbackToken, PollKey, Subscription, Timestamp};
use pollgate::store::{NewMailbox, Shares};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::support::{ALAN, KARI, PATIENCE, Stage, awaited, ended};

/// A gateway in which kari and alan have a mailbox each.
async fn two_mailboxes() -> Stage {
    two_mailboxes_with(|_| {}).await
}

async fn two_mailboxes_with(change: impl FnOnce(&mut Config)) -> Stage {
    let stage = Stage::with(change);
    stage.subscribes("kari").await;
    stage.subscribes("alan").await;
    stage
}

/// The ids of kari's mailbox and of alan's.
async fn ids(stage: &Stage) -> [String; 2] {
    let list = stage.json(&["mailbox", "list"]).await;
    [0, 1].map(|at| list["mailboxes"][at]["id"].to_string())
}

/// The cells of each line but the first; columns stand two spaces apart.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let cells = |line| str::split(line, "  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    table.lines().skip(1).map(cells).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_traffic_of_one_principal_is_followed() {
    let stage = two_mailboxes().await;
    let admin = stage.running.admin_address().to_string();
    let trace = &["trace", "--admin", &admin, "--principal", KARI, "--bodies"];
    let mut trace = awaited(trace).spawn().unwrap();
    let follow = async {
        let mut said = BufReader::new(trace.stderr.take().unwrap()).lines();
        assert_eq!(said.next_line().await.unwrap().unwrap(), "following");
        stage.says("Lunch?").await;
        let mut seen = String::new();
        let mut lines = BufReader::new(trace.stdout.take().unwrap()).lines();
        while !seen.contains("  buffered  ") {
            seen.push_str(&lines.next_line().await.unwrap().unwrap());
            seen.push('\n');
        }
        seen
    };
    let seen = tokio::time::timeout(PATIENCE, follow).await.unwrap();
    let [kari, _] = ids(&stage).await;
    assert!(seen.lines().next().unwrap().contains(&format!(" {kari}  callback      {KARI}  ")), "{seen}");
    assert!(seen.contains("Lunch?"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_are_listed_for_people_and_for_scripts() {
    let stage = two_mailboxes().await;
    stage.says("Lunch?").await;
    let [kari, alan] = ids(&stage).await;
    let table = stage.said(&["mailbox", "list"]).await;
    assert!(table.starts_with("ID  STATE  PRINCIPAL "), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours where there is no terminal");
    let all = rows(&table);
    assert_eq!(
        (all[0][..4].to_vec(), all[1][..4].to_vec()),
        (vec![&*kari, "live", KARI, "1"], vec![&*alan, "live", ALAN, "0"])
    );
    assert_eq!(all[1][4..], ["0 B", "-", "-", "0", "3h left"]);
    let ends: Vec<Option<usize>> =
        table.lines().take(2).map(|line| line.find("http").or(line.find("PRINC"))).collect();
    assert_eq!(ends[0], ends[1], "{table}");

    assert_eq!(rows(&stage.said(&["mailbox", "list", "--principal", ALAN]).await).len(), 1);
    assert_eq!(stage.json(&["mailbox", "list", "--state", "ended"]).await, json!({ "mailboxes": [] }));
    let (code, out, err) = stage.run(&["mailbox", "list", "--state", "polled"]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "no mailboxes\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_over_all_pages() {
    let stage = two_mailboxes().await;
    for number in 0..1100 {
        let new = NewMailbox {
            token: CallbackToken::from_random(number),
            poll_key: PollKey::from_random(number),
            subscription: Subscription::default(),
            created: Timestamp::default(),
            lease_ends: Timestamp::MAX,
            shares: Shares { principal: 1, address: 1 },
        };
        stage.running.gateway().store.create(new).await.unwrap();
    }
    let list = stage.json(&["mailbox", "list"]).await;
    let ids: Vec<u64> =
        list["mailboxes"].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert!(ids.len() == 1102 && ids.is_sorted_by(|a, b| a < b), "{}", ids.len());
    assert_eq!(rows(&stage.said(&["mailbox", "list"]).await).len(), 1102);
    assert_eq!(rows(&stage.said(&["mailbox", "list", "--principal", ALAN]).await).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_shown() {
    let stage = two_mailboxes().await;
    stage.says("Lunch?").await;
    let [kari, alan] = ids(&stage).await;
    let shown = stage.said(&["mailbox", "show", &kari]).await;
    for line in [
        &format!("mailbox {kari}") as &str,
        "  state        live",
        &format!("  principal    {KARI}"),
        "  callback     http://10.1.2.3:4",
        "  last poll    none since the gateway started",
        "  messages     1 of 100",
        "  life time    30m for a message",
        "               16h for a dropped one",
        "  overflow     reject",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    assert!(shown.contains(" of 100.0 KiB\n"), "{shown}");
    assert!(!stage.said(&["mailbox", "show", &alan]).await.contains("oldest"));
    assert_eq!(stage.json(&["mailbox", "show", &kari]).await["limits"]["messages"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_peeked_into_without_playing_with_the_terminal() {
    let stage = two_mailboxes().await;
    stage.says("Now \u{1b}[31m!\u{9b}\u{202e}").await;
    let [kari, alan] = ids(&stage).await;
    let table = stage.said(&["mailbox", "peek", &kari]).await;
    let all = rows(&table);
    assert_eq!((all.len(), all[0][1], all[0].last()), (1, "message", Some(&"no")), "{table}");
    assert!(!table.contains("Now"), "{table}");
    let whole = stage.said(&["mailbox", "peek", &kari, "--body"]).await;
    assert!(whole.contains("    RVP-From-Principal: http://h/instmsg/aliases/alan\n"), "{whole}");
    assert!(whole.contains("Now \\u{1b}[31m!\\u{9b}\\u{202e}"), "{whole}");
    let json = stage.said(&["mailbox", "peek", &kari, "--body", "--json"]).await;
    for said in [&whole, &json] {
        assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{said}");
    }
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["messages"][0]["body"].as_str().unwrap().contains("Now \u{1b}[31m!\u{9b}\u{202e}"));
    assert_eq!(stage.run(&["mailbox", "peek", &alan]).await, (0, String::new(), "no messages\n".to_owned()));
    assert_eq!(stage.json(&["mailbox", "peek", &alan]).await, json!({ "messages": [] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_purged_and_what_was_dropped_is_replayed() {
    let stage = two_mailboxes_with(|config| config.polling.limits.messages = Bound::AtMost(2)).await;
    stage.says("one").await;
    stage.says("two").await;
    let [kari, _] = ids(&stage).await;
    assert_eq!(stage.said(&["mailbox", "purge", &kari, "--yes"]).await, "2 messages dropped\n");
    let table = stage.said(&["mailbox", "peek", &kari, "--dropped"]).await;
    assert!(table.lines().next().unwrap().ends_with("DROPPED  REASON"), "{table}");
    assert!(rows(&table).iter().all(|row| row.last() == Some(&"purged")), "{table}");
    assert!(stage.said(&["mailbox", "peek", &kari, "--dropped", "--body"]).await.contains("dropped: purged"));
    stage.says("three").await;
    let said = stage.said(&["mailbox", "replay", &kari]).await;
    assert_eq!(said, "1 message replayed, 1 refused, which stay dropped\n");
    // Nobody can be asked where there is no terminal.
    assert_eq!(stage.json(&["mailbox", "purge", &kari]).await, json!({ "dropped": 2 }));
    assert_eq!(stage.json(&["mailbox", "replay", &kari]).await, json!({ "replayed": 2, "refused": 1 }));
    assert_eq!(stage.json(&["mailbox", "peek", &kari]).await["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_ends_with_1_and_the_reason() {
    let stage = two_mailboxes().await;
    for arguments in [
        &["show", "999"][..],
        &["peek", "999"],
        &["replay", "999"],
        &["purge", "999"],
        &["peek", "999", "--json"],
    ] {
        let (code, out, err) = stage.run(&[&["mailbox"], arguments].concat()).await;
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}");
        assert!(err.starts_with("pollgate: There is no such mailbox: "), "{err}");
    }
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, _, err) = ended(&awaited(&["mailbox", "list", "--admin", &nowhere]).output().await.unwrap());
    assert!(code == 1 && err.contains("cannot connect"), "{err}");
    // The public listener is no admin listener.
    let public = stage.running.public_address().to_string();
    let (code, _, err) = ended(&awaited(&["mailbox", "list", "--admin", &public]).output().await.unwrap());
    assert!(code == 1 && err.contains("is this the admin listener of a gateway?"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_usage_ends_with_2() {
    for arguments in [
        &[][..],
        &["list", "--state", "asleep"],
        &["show"],
        &["show", "kari"],
        &["peek", "1", "--loud"],
        &["list", "--admin", "nowhere"],
        &["list", "--token-file", "/no/such/file"],
    ] {
        let (code, out, err) = ended(&awaited(&[&["mailbox"], arguments].concat()).output().await.unwrap());
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_comes_from_the_flag_or_from_the_configurations_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (write("right", "s3cret\n"), write("wrong", "other\n"));
    let token = Token::read(right.as_ref()).unwrap();
    let stage = Stage::with(|config| config.admin.token = Some(token));
    for (flag, configured, expected) in [
        (None, None, 1),
        (Some(&right), None, 0),
        (None, Some(&right), 0),
        (Some(&wrong), Some(&right), 1),
        (Some(&right), Some(&wrong), 0),
    ] {
        let admin = stage.running.admin_address().to_string();
        let mut command = awaited(&["mailbox", "list", "--admin", &admin]);
        command.args(flag.iter().flat_map(|file| ["--token-file", file]));
        command.envs(configured.map(|file| ("POLLGATE_ADMIN_TOKEN_FILE", file)));
        let (code, _, err) = ended(&command.output().await.unwrap());
        assert_eq!(code, expected, "{flag:?} {configured:?}: {err}");
        assert_eq!(err.contains("--token-file says which that is"), code == 1, "{err}");
        assert!(!err.contains("s3cret") && !err.contains("other"), "{err}");
    }
    // Health is anybody's.
    let admin = stage.running.admin_address().to_string();
    let mut healthcheck = awaited(&["healthcheck", "--admin", &admin]);
    let output = healthcheck.env("POLLGATE_ADMIN_TOKEN_FILE", "/no/such/file").output().await.unwrap();
    assert!(output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_key_is_replaced_and_told_once() {
    let stage = two_mailboxes().await;
    let told = stage.said(&["mailbox", "rotate-key", "1"]).await;
    let key = told.trim_end().strip_prefix("/.pollgate/").expect(&told);
    assert!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()), "{told}");
    let again = stage.json(&["mailbox", "rotate-key", "1"]).await;
    assert_ne!(again["poll_path"], told.trim_end());
    assert!(!stage.said(&["mailbox", "show", "1"]).await.contains(again["poll_path"].as_str().unwrap()));
}
