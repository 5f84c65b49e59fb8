//! The real process, an upstream for it, and a client of one mailbox.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A gateway in a process of its own.
pub struct Gateway {
    process: Child,
    pub public: String,
    pub callback: String,
    pub admin: String,
}

impl Gateway {
    /// With its store in `state`, and these settings.
    pub fn start(state: &Path, upstream: &str, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pollgate"))
            .args(["serve", "--upstream", upstream, "--log-format", "json", "--state-dir"])
            .arg(state)
            .args(["--public", "127.0.0.1:0", "--callback", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env_clear()
            .env("POLLGATE_CONFIG", "")
            .env("POLLGATE_POLLING_POLL_LIFE_TIME_DEFAULT", "1")
            .env("POLLGATE_POLLING_POLL_LIFE_TIME_MINIMUM", "1")
            .env("POLLGATE_POLLING_POLL_LIFE_TIME_MAXIMUM", "1")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let serving = lines
            .by_ref()
            .map_while(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
            .find(|line| line["public"].is_string())
            .expect("a gateway that serves");
        // What it says later is not waited for.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |name: &str| serving[name].as_str().unwrap().to_owned();
        Self { public: address("public"), callback: address("callback"), admin: address("admin"), process }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What the admin listener says: the status and the text.
    pub fn admin(&self, path: &str) -> (u16, String) {
        let mut stream = connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let (head, body) = read_message(&mut stream).unwrap();
        (status(&head), String::from_utf8(body).unwrap())
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.admin("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One HTTP message: the head's lines, and the body.
pub fn read_message(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..read]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut body = bytes[end..].to_vec();
    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        body.extend_from_slice(&buffer[..read]);
    }
    Ok((head, body))
}

pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

pub fn connect(address: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Grants every subscription, and passes on the path of each callback address that it is given.
pub fn upstream() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tokens, given) = channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let Ok((head, _)) = read_message(&mut stream) else { continue };
            let token = field(&head, "call-back").unwrap().rsplit('/').next().unwrap().to_owned();
            let granted = format!(
                "HTTP/1.1 200 Successful\r\nSubscription-Id: {n}\r\nSubscription-Lifetime: 14400\r\n\
                 Connection: close\r\nContent-Length: 0\r\n\r\n"
            );
            stream.write_all(granted.as_bytes()).unwrap();
            tokens.send(token).unwrap();
        }
    });
    (address, given)
}

/// A mailbox, and what its client has.
pub struct Mailbox {
    pub token: String,
    pub poll: String,
    /// What came, by id.
    pub received: BTreeMap<u64, String>,
}

impl Mailbox {
    pub fn subscribe(gateway: &Gateway, tokens: &Receiver<String>, n: usize) -> Self {
        let mut stream = connect(&gateway.public).unwrap();
        let request = format!(
            "SUBSCRIBE /instmsg/aliases/u{n} HTTP/1.1\r\nHost: h\r\nNotification-Type: pragma/notify\r\n\
             Subscription-Lifetime: 14400\r\nCall-Back: http://10.1.2.3:{}\r\nContent-Length: 0\r\n\r\n",
            2000 + n
        );
        stream.write_all(request.as_bytes()).unwrap();
        let (head, _) = read_message(&mut stream).unwrap();
        assert_eq!(status(&head), 200, "{head}");
        let poll = field(&head, "content-location").unwrap().strip_prefix("http://h").unwrap().to_owned();
        Self { token: tokens.recv_timeout(Duration::from_secs(10)).unwrap(), poll, received: BTreeMap::new() }
    }

    /// One poll: how many messages came.
    pub fn poll(&mut self, stream: &mut TcpStream, wait: u64) -> std::io::Result<usize> {
        let last = self.received.last_key_value().map_or(0, |(id, _)| *id);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: h\r\nPrefer: wait={wait}\r\nAccept: application/json\r\n\
             Last-Event-ID: {last}\r\n\r\n",
            self.poll
        );
        stream.write_all(request.as_bytes())?;
        let (head, body) = read_message(stream)?;
        match status(&head) {
            200 => {}
            // Nothing, or something that cannot be read just now: it comes later.
            204 | 503 => return Ok(0),
            _ => panic!("{head}"),
        }
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["dropped"], 0);
        let messages = answer["messages"].as_array().unwrap();
        let mut newest = last;
        for message in messages {
            let id = message["id"].as_u64().unwrap();
            assert!(id > newest, "{id} comes behind {newest}, and {last} was acknowledged");
            newest = id;
            self.received.insert(id, message["body"].as_str().unwrap().to_owned());
        }
        Ok(messages.len())
    }
}
