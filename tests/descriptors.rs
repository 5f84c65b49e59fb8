//! A gateway that runs out of file descriptors: those who wait go on waiting, who comes is refused, and all is well
//! again when there are some.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pollgate::clock;

/// So few that a test can use them up.
const DESCRIPTORS: usize = 64;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway in a process of its own; killed when dropped.
struct Gateway {
    process: Child,
    public: String,
    callback: String,
    admin: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    fn start(upstream: &str) -> Self {
        let mut process = Command::new("sh")
            .args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"")])
            .args([env!("CARGO_BIN_EXE_pollgate"), "serve", "--log-format", "json", "--upstream", upstream])
            .args(["--public", "127.0.0.1:0", "--callback", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("POLLGATE_CONFIG", "")
            .env("POLLGATE_STORE_KIND", "memory")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let log = Arc::new(Mutex::new(Vec::new()));
        let serving = loop {
            let line = lines.next().expect("a gateway that serves");
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            log.lock().unwrap().push(line);
            if json["public"].is_string() {
                break json;
            }
        };
        let more = log.clone();
        std::thread::spawn(move || lines.for_each(|line| more.lock().unwrap().push(line)));
        let address = |listener: &str| serving[listener].as_str().unwrap().to_owned();
        let (public, callback, admin) = (address("public"), address("callback"), address("admin"));
        Self { process, public, callback, admin, log }
    }

    fn logged(&self, words: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }

    fn metric(&self, sample: &str) -> f64 {
        let text = ask(&self.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {sample} in {text}")).parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that comes in answer, until the connection ends.
fn ask(address: &str, request: &str) -> String {
    let mut stream = connect(address);
    // One that is refused may be reset before all was sent, and after all was read.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: &str) -> String {
    ask(address, "GET / HTTP/1.1\r\nHost: im.example\r\nConnection: close\r\n\r\n")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = clock::instant();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server that answers every request alike, and closes; the callback addresses that it was told.
fn upstream() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let told = Arc::new(Mutex::new(Vec::new()));
    let callbacks = told.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                if let Some(address) = line.strip_prefix("Call-Back: ") {
                    callbacks.lock().unwrap().push(address.trim().to_owned());
                }
                line.clear();
            }
            let answer =
                "HTTP/1.1 200 OK\r\nSubscription-Id: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    (address, told)
}

/// A poll that is held, and the path of the callback address that belongs to it.
fn hold(gateway: &Gateway, told: &Mutex<Vec<String>>) -> (TcpStream, String) {
    let login = "SUBSCRIBE /instmsg/aliases/kari HTTP/1.1\r\nHost: im.example\r\nNotification-Type: pragma/notify\r\n\
                 Call-Back: http://10.1.2.3:1234\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = ask(&gateway.public, login);
    let location = answer.lines().find_map(|line| line.strip_prefix("Content-Location: ")).expect(&answer);
    let path = location.trim().strip_prefix("http://im.example").unwrap();
    let mut poll = connect(&gateway.public);
    write!(poll, "POLL {path} HTTP/1.1\r\nHost: im.example\r\n\r\n").unwrap();
    until("a held poll", || gateway.metric("pollgate_held_polls") == 1.0);
    let callback = told.lock().unwrap().last().unwrap().clone();
    (poll, callback.rsplit_once('/').unwrap().1.to_owned())
}

/// A message for the poll that is held, and that it gets it.
fn deliver(gateway: &Gateway, poll: &mut TcpStream, token: &str) {
    let notify = format!(
        "NOTIFY /{token} HTTP/1.1\r\nHost: gate\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    );
    let taken = ask(&gateway.callback, &notify);
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    let mut answer = vec![0; 4096];
    let length = poll.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn clients_never_take_the_last_descriptors() {
    let (address, told) = upstream();
    let gateway = Gateway::start(&address);
    assert_eq!(gateway.logged("allows 32 clients, and not the 60000 of limits.connections"), 1);
    let (mut poll, token) = hold(&gateway, &told);
    let crowd: Vec<TcpStream> = (0..DESCRIPTORS + 10).map(|_| connect(&gateway.public)).collect();
    until("those that are refused", || {
        gateway.metric("pollgate_connections_refused_total{bound=\"all\"}") >= (DESCRIPTORS + 10 - 31) as f64
    });
    assert_eq!(gateway.metric("pollgate_connections"), 32.0);
    assert!(get(&gateway.public).starts_with("HTTP/1.1 503"));
    // Of what is left a callback comes in, and its message goes out.
    deliver(&gateway, &mut poll, &token);
    assert_eq!(gateway.metric("pollgate_connections_refused_total{bound=\"descriptors\"}"), 0.0);
    drop(crowd);
    until("room", || gateway.metric("pollgate_connections") == 1.0);
    assert!(get(&gateway.public).starts_with("HTTP/1.1 200"));
}

#[test]
fn without_descriptors_who_comes_is_refused_and_who_waits_goes_on() {
    let (address, told) = upstream();
    let gateway = Gateway::start(&address);
    let (mut poll, token) = hold(&gateway, &told);
    // What is no client's has no bound of its own: it can take all that there are.
    let mut crowd: Vec<TcpStream> = (0..DESCRIPTORS).map(|_| connect(&gateway.callback)).collect();
    // Connections that were made before may still be about to close, and leave something.
    let mut in_a_row = 0;
    until("the last descriptor to be taken", || {
        crowd.push(connect(&gateway.callback));
        in_a_row = if get(&gateway.public).starts_with("HTTP/1.1 503") { in_a_row + 1 } else { 0 };
        in_a_row == 5
    });
    let refused = get(&gateway.public);
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("Retry-After: 10"), "{refused}");
    for _ in 0..20 {
        assert!(get(&gateway.public).starts_with("HTTP/1.1 503"));
    }
    drop(crowd);
    until("a client that is served", || get(&gateway.public).starts_with("HTTP/1.1 200"));
    assert!(gateway.metric("pollgate_connections_refused_total{bound=\"descriptors\"}") >= 21.0);
    assert_eq!(gateway.metric("pollgate_held_polls"), 1.0);
    deliver(&gateway, &mut poll, &token);
    // Once for each of the two listeners, and not for each connection.
    assert_eq!(gateway.logged("cannot accept connections"), 2);
}
