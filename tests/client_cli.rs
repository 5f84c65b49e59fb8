//! `pollgate client`, the binary, against a gateway in this process.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::process::{Output, Stdio};

use pollgate::app::{self, Listeners, Running};
use pollgate::config::{Config, Listen, StoreKind};
use serde_json::{Value, json};
use tokio::process::Command;

const KARI: &str = "http://im.example/instmsg/aliases/kari";
const ALAN: &str = "http://im.example/instmsg/aliases/alan";

struct Stage(Running);

impl Stage {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config {
            listen: Listen { public: vec![any], callback: any, admin: any, ..Listen::default() },
            ..Config::default()
        };
        config.store.kind = StoreKind::Memory;
        config.callback.url = "http://127.0.0.1:0".to_owned();
        change(&mut config);
        let listeners = Listeners::bind(&config.listen).unwrap();
        Self(app::start(config, listeners).unwrap())
    }

    /// `pollgate client …` about this gateway: exit code, stdout, stderr.
    async fn client(&self, arguments: &[&str]) -> (i32, String, String) {
        let admin = self.0.admin_address().to_string();
        ended(client(&[arguments, &["--admin", &admin]].concat()).output().await.unwrap())
    }

    /// What it prints when all is well.
    async fn said(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.client(arguments).await;
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        out
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let out = self.said(&[arguments, &["--json"]].concat()).await;
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).unwrap()
    }
}

fn client(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollgate"));
    command.arg("client").args(arguments).env_clear().env("POLLGATE_CONFIG", "").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_shown_and_listed() {
    let stage = Stage::new(|_| {});
    let (code, out, err) = stage.client(&["list"]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "nothing is set\n"));
    let shown =
        stage.said(&["set", KARI, "--mode", "fixed-ports", "--period", "5", "--ports", "1050-1060"]).await;
    for line in
        ["client http://im.example/instmsg/aliases/kari", "fixed-ports", "5 min", "1050-1060", "next sign-in"]
    {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(stage.said(&["show", KARI]).await, shown);
    assert_eq!(stage.json(&["show", "IM.EXAMPLE/instmsg/aliases/Kari"]).await["ports"], "1050-1060");
    stage.said(&["set", ALAN, "--mode", "polling"]).await;
    let list = stage.said(&["list"]).await;
    let rows: Vec<&str> = list.lines().collect();
    assert!(rows.len() == 3 && rows[1].contains("kari") && rows[2].contains("alan"), "{list}");
    let list = stage.json(&["list"]).await;
    let mode = |at: usize| list["clients"][at]["mode"].clone();
    assert_eq!((mode(0), mode(1)), (json!("fixed-ports"), json!("polling")));
    assert_eq!(stage.said(&["unset", KARI]).await, "unset; takes effect at the next sign-in\n");
    let (code, out, err) = stage.client(&["show", KARI]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("client policies say"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_refused_in_the_papers_words() {
    let stage = Stage::new(|config| config.store.max_clients = 1);
    for (arguments, code, says) in [
        (&["--mode", "polling", "--period", "16"][..], 1, "enter a value between 1 and 15 minutes"),
        (&["--mode", "fixed-ports"], 1, "fixed-ports needs ports"),
        (&["--mode", "fixed-ports", "--ports", "65536"], 1, "ports can range from 1025 to 65535"),
        (&["--mode", "fixed-ports", "--ports", "2-1"], 1, "first port is not larger than its last"),
        (&["--mode", "loud"], 2, "possible values: default, polling, fixed-ports"),
        (&["--mode", "fixed-ports", "--ports", "80-90"], 0, "random port selection takes the place of 80-90"),
    ] {
        let (ended, _, err) = stage.client(&[&["set", KARI], arguments].concat()).await;
        assert_eq!(ended, code, "{arguments:?}: {err}");
        assert!(err.contains(says), "{arguments:?}: {err}");
    }
    let (code, _, err) = stage.client(&["set", ALAN, "--mode", "polling"]).await;
    assert!(code == 1 && err.contains("store.max_clients"), "{err}");
    let (code, _, err) = stage.client(&["show", "kari"]).await;
    assert!(code == 1 && err.contains("must be the URL of a principal"), "{err}");
}
