//! The server over sockets, with a client that listens for callbacks.

use std::sync::mpsc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;
use crate::demo::bodies;
use crate::http1::client::{Answer, Call, call, connect};
use crate::http1::{Headers, Request, Response, Service};

const PATIENCE: Duration = Duration::from_secs(10);
const ALAN: &str = "http://h/instmsg/aliases/alan";

/// A client's callback address: what arrives there is kept, and answered with this status.
struct Listening {
    arrived: mpsc::Sender<(String, Option<String>, String)>,
    status: u16,
}

impl Service for Listening {
    async fn call(&self, request: Request) -> Response {
        let hops = request.head.fields.text("rvp-hop-count").map(str::to_owned);
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        self.arrived.send((request.head.method().to_owned(), hops, body)).unwrap();
        Response::new(self.status)
    }
}

type Arrived = mpsc::Receiver<(String, Option<String>, String)>;

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn listen(status: u16) -> (String, Arrived) {
    let listener = listener().await;
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (arrived, arrives) = mpsc::channel();
    let service = Arc::new(Listening { arrived, status });
    let limits = ServeLimits { head: HeadLimits::default(), body: LARGEST_BODY, times: Times::CLIENT };
    let handle = move |stream, peer| {
        let service = service.clone();
        async move { serve(Connection::new(stream), peer, &*service, || limits, CancellationToken::new()).await }
    };
    tokio::spawn(accept::accept(listener, CancellationToken::new(), TaskTracker::new(), handle, || ()));
    (url, arrives)
}

async fn start() -> (RvpServer, mpsc::Receiver<Callback>) {
    let (sender, reports) = mpsc::channel();
    let report: Report = Arc::new(move |callback| sender.send(callback).unwrap());
    (RvpServer::start(listener().await, &["kari", "alan"], report).unwrap(), reports)
}

async fn ask(server: &RvpServer, method: &str, user: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut request =
        Call::new(method, &format!("{USERS}{user}")).with("Host", "h").with("Content-Length", body.len());
    for (name, value) in fields {
        request = request.with(name, value);
    }
    let mut connection = connect(&server.address().to_string(), PATIENCE).await.unwrap();
    call(&mut connection, request, body.as_bytes(), 1 << 20, PATIENCE).await.unwrap()
}

async fn sign_in(server: &RvpServer, user: &str, callback: &str) -> String {
    let fields = [("Notification-Type", "pragma/notify"), ("Call-Back", callback)];
    let answer = ask(server, "SUBSCRIBE", user, &fields, "").await;
    assert_eq!((answer.head.status, answer.head.reason()), (200, &b"Successful"[..]));
    answer.head.fields.text("subscription-id").unwrap().to_owned()
}

#[tokio::test]
async fn a_message_goes_to_every_sign_in_one_hop_further() {
    let (server, reports) = start().await;
    let ((one, at_one), (other, at_other)) = (listen(200).await, listen(200).await);
    sign_in(&server, "kari", &one).await;
    sign_in(&server, "kari", &other).await;
    let body = bodies::instant_message(ALAN, "http://h/kari", "Hello");
    let answer = ask(&server, "NOTIFY", "kari", &[("RVP-Hop-Count", "3")], &body).await;
    assert_eq!(answer.head.status, 200);
    let expected = ("NOTIFY".to_owned(), Some("4".to_owned()), body);
    assert_eq!([at_one.recv().unwrap(), at_other.recv().unwrap()], [expected.clone(), expected]);
    assert!(reports.iter().take(2).all(|callback| callback.outcome == Ok(200) && callback.user == "kari"));
}

#[tokio::test]
async fn a_callback_that_fails_is_reported_and_answered_so() {
    let (server, reports) = start().await;
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    sign_in(&server, "kari", &format!("http://{address}")).await;
    assert_eq!(ask(&server, "NOTIFY", "kari", &[], "x").await.head.status, 502);
    let report = reports.recv().unwrap();
    assert_eq!(report.address, address);
    assert!(report.outcome.unwrap_err().contains("refused"));
}

#[tokio::test]
async fn a_client_that_knows_nothing_of_it_ends_the_sign_in() {
    let (server, _reports) = start().await;
    let (url, _arrived) = listen(412).await;
    sign_in(&server, "kari", &url).await;
    assert_eq!(ask(&server, "NOTIFY", "kari", &[], "x").await.head.status, 502);
    assert_eq!(ask(&server, "NOTIFY", "kari", &[], "x").await.head.status, 412, "not signed in any more");
}

#[tokio::test]
async fn presence_is_told_to_who_watches_it() {
    let (server, _reports) = start().await;
    let (url, arrived) = listen(200).await;
    sign_in(&server, "kari", &url).await;
    let watch = [("Notification-Type", "update/propchange"), ("Call-Back", "http://h/instmsg/aliases/kari")];
    assert_eq!(ask(&server, "SUBSCRIBE", "alan", &watch, "").await.head.status, 200);
    let answer = ask(&server, "PROPPATCH", "alan", &[], &bodies::property_update("away")).await;
    assert_eq!(answer.head.status, 207);
    let told = bodies::presence(ALAN, "http://h/instmsg/aliases/kari", "away");
    assert_eq!(arrived.recv().unwrap(), ("NOTIFY".to_owned(), Some("1".to_owned()), told));
    let found = ask(&server, "PROPFIND", "alan", &[], "").await;
    assert!(String::from_utf8_lossy(&found.body).contains("<r:state><r:away/></r:state>"));
}

#[tokio::test]
async fn leases_are_granted_renewed_listed_and_ended() {
    let (server, _reports) = start().await;
    let id = sign_in(&server, "kari", "http://127.0.0.1:9").await;
    let id = [("Subscription-Id", id.as_str())];
    for (method, user, fields, status) in [
        ("SUBSCRIBE", "kari", vec![id[0], ("Subscription-Lifetime", "99999")], 200),
        ("SUBSCRIBE", "alan", id.to_vec(), 412),
        ("UNSUBSCRIBE", "alan", id.to_vec(), 412),
        ("UNSUBSCRIBE", "kari", vec![], 400),
        ("SUBSCRIPTIONS", "kari", vec![], 200),
        ("UNSUBSCRIBE", "kari", id.to_vec(), 200),
        ("UNSUBSCRIBE", "kari", id.to_vec(), 412),
        ("SUBSCRIBE", "kari", id.to_vec(), 412),
    ] {
        let answer = ask(&server, method, user, &fields, "").await;
        assert_eq!(answer.head.status, status, "{method} {user} {fields:?}");
        match (method, status) {
            ("SUBSCRIBE", 200) => {
                assert_eq!(answer.head.fields.text("subscription-lifetime"), Some("14400"), "shortened");
            }
            ("SUBSCRIPTIONS", _) => {
                assert!(String::from_utf8_lossy(&answer.body).contains("pragma/notify"));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_lease_ends_by_itself() {
    let (server, _reports) = start().await;
    let fields = [
        ("Notification-Type", "pragma/notify"),
        ("Call-Back", "http://127.0.0.1:9"),
        ("Subscription-Lifetime", "0"),
    ];
    assert_eq!(ask(&server, "SUBSCRIBE", "kari", &fields, "").await.head.status, 200);
    assert_eq!(ask(&server, "NOTIFY", "kari", &[], "x").await.head.status, 412);
}

#[tokio::test]
async fn what_it_does_not_understand_is_refused() {
    let (server, _reports) = start().await;
    let pragma = ("Notification-Type", "pragma/notify");
    let propchange = ("Notification-Type", "update/propchange");
    for (method, user, fields, body, status) in [
        ("SUBSCRIBE", "nobody", vec![], "", 404),
        ("GET", "kari", vec![], "", 405),
        ("SUBSCRIBE", "kari", vec![pragma], "", 400),
        ("SUBSCRIBE", "kari", vec![("Call-Back", "http://127.0.0.1:9")], "", 400),
        ("SUBSCRIBE", "kari", vec![pragma, ("Call-Back", "ftp://127.0.0.1")], "", 400),
        ("SUBSCRIBE", "kari", vec![propchange, ("Call-Back", "http://127.0.0.1:9")], "", 400),
        ("PROPPATCH", "kari", vec![], "<a/>", 400),
        ("NOTIFY", "kari", vec![], "", 400),
        ("NOTIFY", "kari", vec![], "x", 412),
    ] {
        let answer = ask(&server, method, user, &fields, body).await;
        assert_eq!(answer.head.status, status, "{method} {user} {fields:?}");
    }
}
