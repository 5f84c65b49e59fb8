//! What every callback and every poll goes through, each by itself.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pollgate::auth::digest::{Algorithm, Challenge, Credentials, Request};
use pollgate::auth::htdigest::with_user;
use pollgate::auth::{Settings, Verifier};
use pollgate::dialect::rvp;
use pollgate::http1::{ChunkScanner, HeadLimits, RequestHead};
use pollgate::mailbox::{
    Acknowledgement, BatchLimits, Class, EventId, Limits, Mailbox, Message, Outcome, Take, Timestamp,
};

const ROOM: BatchLimits = BatchLimits { messages: 100, bytes: 1 << 20 };

const SUBSCRIBE: &[u8] = b"SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\r\n\
    Host: im.example.com\r\n\
    Notification-Type: pragma/notify\r\n\
    Subscription-Lifetime: 14400\r\n\
    Call-Back: http://10.1.2.3:1234\r\n\
    RVP-Notifications-Version: 0.2\r\n\
    RVP-From-Principal: http://im.example.com/instmsg/aliases/kari\r\n\
    Content-Length: 0\r\n\r\n";

fn notification(inner: &str) -> Bytes {
    let contact = "<r:contact><d:href>http://im.example.com/instmsg/aliases/alan</d:href></r:contact>";
    format!(
        "<?xml version=\"1.0\"?><r:notification xmlns:d=\"DAV:\" xmlns:r=\"http://schemas.microsoft.com/rvp/\">\
         {}</r:notification>",
        inner.replace("CONTACT", contact)
    )
    .into()
}

fn message(body: Bytes) -> Arc<Message> {
    let header_lines = Bytes::from_static(b"Content-Type: text/xml\r\nRVP-Notifications-Version: 0.2\r\n");
    Arc::new(Message { method: "NOTIFY".into(), header_lines, body, class: Class::Message })
}

/// One message through a mailbox; and a hundred that wait for one poll.
fn mailbox(c: &mut Criterion) {
    let limits = Limits::default();
    let now = Timestamp::from_millis(1_000_000);
    let message = message(vec![b'x'; 500].into());
    let mut group = c.benchmark_group("mailbox: offer, take, acknowledge");
    for waiting in [1_u64, 100] {
        group.throughput(Throughput::Elements(waiting));
        group.bench_function(format!("{waiting}"), |b| {
            let mut mailbox = Mailbox::default();
            let mut id = 0;
            b.iter(|| {
                for _ in 0..waiting {
                    id += 1;
                    mailbox.offer(EventId(id), message.clone(), None, &limits, now).outcome.unwrap();
                }
                mailbox.begin_poll(Acknowledgement::default());
                let batch = mailbox.take(Take::up_to(ROOM), || None).unwrap();
                mailbox.settle(batch.handout, Outcome::Written);
                mailbox.begin_poll(Some(EventId(id)).into())
            });
        });
    }
    group.finish();
}

fn classify(c: &mut Criterion) {
    let message = notification(
        "<r:message><r:msgbody><r:mime-data><![CDATA[Content-Type: text/plain\r\n\r\nHi]]></r:mime-data></r:msgbody></r:message>",
    );
    let presence = notification(
        "<r:propnotification><r:notification-from>CONTACT</r:notification-from><d:propertyupdate><d:set><d:prop>\
         <r:state><r:online/></r:state></d:prop></d:set></d:propertyupdate></r:propnotification>",
    );
    let typing = notification(
        "<r:message><r:notification-from>CONTACT</r:notification-from><r:msgbody><r:mime-data>\
         <![CDATA[Content-Type: text/x-msmsgscontrol\r\n\r\n]]></r:mime-data></r:msgbody></r:message>",
    );
    let (head, _) = RequestHead::parse(SUBSCRIBE, HeadLimits::default()).unwrap().unwrap();
    let mut group = c.benchmark_group("rvp: classify");
    for (name, body) in [("message", message), ("presence", presence), ("typing", typing)] {
        assert_eq!(rvp::read_callback(&head.fields, &body).class.name(), name);
        group.bench_function(name, |b| b.iter(|| rvp::read_callback(&head.fields, black_box(&body))));
    }
    group.finish();
}

fn heads(c: &mut Criterion) {
    let limits = HeadLimits::default();
    let (head, _) = RequestHead::parse(SUBSCRIBE, limits).unwrap().unwrap();
    c.bench_function("http1: parse a head", |b| {
        b.iter(|| RequestHead::parse(black_box(SUBSCRIBE), limits).unwrap())
    });
    c.bench_function("rvp: read a subscription", |b| {
        b.iter(|| rvp::read_request(black_box(&head), &[], [10, 1, 2, 3].into()))
    });
    c.bench_function("rvp: rewrite Call-Back", |b| {
        b.iter(|| {
            head.with_field("Call-Back", black_box("http://127.0.0.1:8081/0123456789abcdef0123456789abcdef"))
        })
    });
    let chunked: Vec<u8> = [&b"1f4\r\n"[..], &[b'x'; 500], b"\r\n0\r\n\r\n"].concat();
    c.bench_function("http1: read a chunked body", |b| {
        b.iter_batched(
            ChunkScanner::default,
            |mut scanner| scanner.scan(black_box(&chunked), |data| _ = black_box(data)).unwrap(),
            BatchSize::SmallInput,
        )
    });
}

/// A challenge; and one poll's credentials, from the field to `Authentication-Info`, among ten thousand users:
/// right ones, and wrong ones, which take the same time whether there is such a user or not.
fn digest(c: &mut Criterion) {
    const POLL: &str = "/.pollgate/0123456789abcdef0123456789abcdef";
    let now = Timestamp::from_millis(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let users_file = folder.path().join("users");
    let users = |user: usize| with_user(b"", &format!("user{user}"), "pollgate", "secret").0;
    std::fs::write(&users_file, (0..10_000).flat_map(users).collect::<Vec<u8>>()).unwrap();
    let verifier = Verifier::open(
        Settings {
            realm: "pollgate".into(),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            users_file,
            map_file: None,
            nonce_life_time: Duration::from_secs(300),
        },
        &[7; 32],
    )
    .unwrap();
    let request = pollgate::auth::Request { method: "POLL", target: POLL, authority: "im.example.com" };
    let fields = verifier.challenges(false, now, 1);
    c.bench_function("digest: challenge", |b| b.iter(|| verifier.challenges(false, now, black_box(1))));
    let mut group = c.benchmark_group("digest: verify and sign");
    for (algorithm, field) in [Algorithm::Sha256, Algorithm::Md5].into_iter().zip(&fields) {
        let challenge = Challenge::strongest([field.as_bytes()].into_iter()).unwrap();
        for (what, user, password) in [
            ("right", "user4711", "secret"),
            ("wrong password", "user4711", "Secret"),
            ("no such user", "user-471", "secret"),
        ] {
            let mut count = 0;
            let field = |count| {
                let request = Request {
                    method: "POLL",
                    uri: POLL,
                    cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                    count,
                };
                challenge
                    .authorization(&Credentials { user: user.into(), password: password.into() }, request)
            };
            group.bench_function(format!("{}, {what}", algorithm.name()), |b| {
                b.iter_batched(
                    || {
                        count += 1;
                        field(count)
                    },
                    |field| {
                        let proven = verifier.verify(black_box(request), [field.as_bytes()].into_iter(), now);
                        proven.map(|proven| verifier.authentication_info(&proven, now, 2))
                    },
                    BatchSize::SmallInput,
                )
            });
        }
    }
    group.finish();
}

criterion_group!(benches, mailbox, classify, heads, digest);
criterion_main!(benches);
