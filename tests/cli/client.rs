//! `pollgate client`, the binary, against a gateway in this process.

use serde_json::json;

use super::support::Stage;

const KARI: &str = "http://im.example/instmsg/aliases/kari";
const ALAN: &str = "http://im.example/instmsg/aliases/alan";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_shown_and_listed() {
    let stage = Stage::new();
    let (code, out, err) = stage.run(&["client", "list"]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "nothing is set\n"));
    let shown = stage
        .said(&["client", "set", KARI, "--mode", "fixed-ports", "--period", "5", "--ports", "1050-1060"])
        .await;
    for line in
        ["client http://im.example/instmsg/aliases/kari", "fixed-ports", "5 min", "1050-1060", "next sign-in"]
    {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(stage.said(&["client", "show", KARI]).await, shown);
    assert_eq!(
        stage.json(&["client", "show", "IM.EXAMPLE/instmsg/aliases/Kari"]).await["ports"],
        "1050-1060"
    );
    stage.said(&["client", "set", ALAN, "--mode", "polling"]).await;
    let list = stage.said(&["client", "list"]).await;
    let rows: Vec<&str> = list.lines().collect();
    assert!(rows.len() == 3 && rows[1].contains("kari") && rows[2].contains("alan"), "{list}");
    let list = stage.json(&["client", "list"]).await;
    let mode = |at: usize| list["clients"][at]["mode"].clone();
    assert_eq!((mode(0), mode(1)), (json!("fixed-ports"), json!("polling")));
    assert_eq!(stage.said(&["client", "unset", KARI]).await, "unset; takes effect at the next sign-in\n");
    let (code, out, err) = stage.run(&["client", "show", KARI]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("client policies say"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_refused_in_the_papers_words() {
    let stage = Stage::with(|config| config.store.max_clients = 1);
    for (arguments, code, says) in [
        (&["--mode", "polling", "--period", "16"][..], 1, "enter a value between 1 and 15 minutes"),
        (&["--mode", "fixed-ports"], 1, "fixed-ports needs ports"),
        (&["--mode", "fixed-ports", "--ports", "65536"], 1, "ports can range from 1025 to 65535"),
        (&["--mode", "fixed-ports", "--ports", "2-1"], 1, "first port is not larger than its last"),
        (&["--mode", "loud"], 2, "possible values: default, polling, fixed-ports"),
        (&["--mode", "fixed-ports", "--ports", "80-90"], 0, "random port selection takes the place of 80-90"),
    ] {
        let (ended, _, err) = stage.run(&[&["client", "set", KARI], arguments].concat()).await;
        assert_eq!(ended, code, "{arguments:?}: {err}");
        assert!(err.contains(says), "{arguments:?}: {err}");
    }
    let (code, _, err) = stage.run(&["client", "set", ALAN, "--mode", "polling"]).await;
    assert!(code == 1 && err.contains("store.max_clients"), "{err}");
    let (code, _, err) = stage.run(&["client", "show", "kari"]).await;
    assert!(code == 1 && err.contains("must be the URL of a principal"), "{err}");
}
