//! Who may ask at the admin listener.

use pollgate::config::Token;

use crate::support::Gate;

async fn locked() -> Gate {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "s3cret\n").unwrap();
    let token = Token::read(file.path()).unwrap();
    Gate::with(|config| config.admin.token = Some(token)).await
}

#[tokio::test]
async fn the_token_is_demanded_for_all_but_health() {
    let gate = locked().await;
    for (path, open) in [
        ("/healthz", true),
        ("/readyz", true),
        ("/metrics", false),
        ("/", false),
        ("/healthz/", false),
        ("/api/v1/openapi.json", false),
        ("/api/v1/mailboxes", false),
        ("/api/v1/mailboxes/7", false),
        ("/nonsense", false),
    ] {
        for wrong in ["", "Authorization: Bearer s3cre\n", "Authorization: Basic czNjcmV0\n"] {
            let answer = gate.operate_with("GET", path, wrong).await;
            assert_eq!(answer.status() == 401, !open, "{path} {wrong}");
            if !open {
                let challenge = answer.field("www-authenticate").unwrap();
                assert!(challenge.starts_with("Bearer realm="), "{challenge}");
                assert_eq!(challenge.contains("invalid_token"), wrong.contains("Bearer"), "{challenge}");
                assert!(!answer.raw_text().contains("s3cret"));
            }
        }
        let answer = gate.operate_with("GET", path, "Authorization: Bearer s3cret\n").await;
        assert_ne!(answer.status(), 401, "{path}");
    }
    let post = gate.operate("POST", "/api/v1/mailboxes/7/dropped/replay").await;
    assert_eq!(post.status(), 401);
    // With a token, names are fine: it is what no foreign page has.
    let named = "Host: gate.example\nAuthorization: Bearer s3cret\n";
    assert_eq!(gate.operate_with("GET", "/api/v1/mailboxes", named).await.status(), 200);
}

#[tokio::test]
async fn a_page_of_another_site_removes_nothing() {
    let gate = Gate::start().await;
    let login = gate.login("kari").await;
    gate.deliver(&login, "one").await;
    let id = gate.ids().await[0];
    let own = format!("http://{}", gate.admin);
    let purge = format!("/api/v1/mailboxes/{id}/messages");
    for fields in [
        "Origin: http://evil.example\n",
        "Origin: null\n",
        "Sec-Fetch-Site: cross-site\n",
        "Sec-Fetch-Site: same-site\n",
        "Host: rebound.example\nOrigin: http://rebound.example\n",
    ] {
        let answer = gate.operate_with("DELETE", &purge, fields).await;
        assert_eq!(answer.status(), 403, "{fields}");
    }
    assert_eq!(gate.gateway().store.totals().messages, 1);
    let fields = format!("Host: {}\nOrigin: {own}\nSec-Fetch-Site: same-origin\n", gate.admin);
    assert_eq!(gate.operate_with("DELETE", &purge, &fields).await.json()["dropped"], 1);
}

#[tokio::test]
async fn a_name_that_was_made_to_mean_this_machine_sees_nothing() {
    let gate = Gate::start().await;
    for (host, expected) in
        [("rebound.example", 403), ("localhost:9180", 200), ("127.0.0.1", 200), ("[::1]:80", 200)]
    {
        for path in ["/api/v1/mailboxes", "/metrics"] {
            let answer = gate.operate_with("GET", path, &format!("Host: {host}\n")).await;
            assert_eq!(answer.status(), expected, "{host} {path}");
        }
        let health = gate.operate_with("GET", "/healthz", &format!("Host: {host}\n")).await;
        assert_eq!(health.status(), 200);
    }
}
