//! The program, and gateways for it to ask: in this process or in one of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use pollgate::app::{self, Listeners, Running};
use pollgate::config::{Config, Listen, StoreKind};
use pollgate::demo::bodies;
use pollgate::demo::rvp_server::RvpServer;
use pollgate::http1::client::{Answer, Call, call, connect};
use pollgate::http1::{Headers, accept};
use serde_json::Value;

/// Longer than anything takes that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const KARI: &str = "http://h/instmsg/aliases/kari";
pub const ALAN: &str = "http://h/instmsg/aliases/alan";

/// `pollgate …`, with no width of a terminal and no configuration of the machine.
pub fn pollgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollgate"));
    command.args(arguments).env_clear().env("POLLGATE_CONFIG", "");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same for one that is awaited, or ends with the test.
pub fn awaited(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::from(pollgate(arguments));
    command.kill_on_drop(true);
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

/// Exit code, stdout, stderr.
pub fn ended(output: &Output) -> (i32, String, String) {
    (code(output), text(&output.stdout), text(&output.stderr))
}

/// Asks on a connection of its own.
pub async fn ask(address: &str, request: Call, body: &str) -> Answer {
    let mut connection = connect(address, PATIENCE).await.unwrap();
    let request = request.with("Host", "h").with("Content-Length", body.len());
    call(&mut connection, request, body.as_bytes(), 1 << 20, PATIENCE).await.unwrap()
}

/// The same where nothing else is awaited: the request as it is, and the answer until the connection ends.
pub fn exchange(address: &str, request: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// What a page of metrics says of this one.
pub fn sample(page: &str, name: &str) -> f64 {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

/// Sends a signal, as an operator would.
pub fn signal(process: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

/// A gateway in this process, with the demo's server, that of kari and alan, behind it.
pub struct Stage {
    pub running: Running,
    pub server: RvpServer,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = accept::bind(any).unwrap();
        let server = RvpServer::start(listener, &["kari", "alan"], Arc::new(|_| ())).unwrap();
        let mut config = Config {
            listen: Listen { public: vec![any], callback: any, admin: any, ..Listen::default() },
            ..Config::default()
        };
        config.store.kind = StoreKind::Memory;
        config.upstreams[0].address = server.address().to_string();
        config.callback.url = "http://127.0.0.1:0".to_owned();
        change(&mut config);
        let listeners = Listeners::bind(&config.listen).unwrap();
        Self { running: app::start(config, listeners).unwrap(), server }
    }

    /// The URL of the mailbox.
    pub async fn subscribes(&self, user: &str) -> String {
        let gateway = self.running.public_address().to_string();
        let request = Call::new("SUBSCRIBE", &format!("/instmsg/aliases/{user}"))
            .with("Notification-Type", "pragma/notify")
            .with("RVP-From-Principal", format_args!("http://h/instmsg/aliases/{user}"))
            .with("Call-Back", "http://10.1.2.3:4");
        let answer = ask(&gateway, request, "").await;
        assert_eq!(answer.head.status, 200);
        let location = answer.head.fields.text("content-location").unwrap();
        location.replace("http://h/", &format!("http://{gateway}/"))
    }

    /// Alan, to kari.
    pub async fn says(&self, text: &str) {
        let request = Call::new("NOTIFY", "/instmsg/aliases/kari").with("RVP-From-Principal", ALAN);
        let body = bodies::instant_message(ALAN, KARI, text);
        assert_eq!(ask(&self.server.address().to_string(), request, &body).await.head.status, 200);
    }

    /// `pollgate …` about this gateway: exit code, stdout, stderr.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let admin = self.running.admin_address().to_string();
        ended(&awaited(&[arguments, &["--admin", &admin]].concat()).output().await.unwrap())
    }

    /// What it prints when all is well.
    pub async fn said(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments).await;
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        out
    }

    pub async fn json(&self, arguments: &[&str]) -> Value {
        let out = self.said(&[arguments, &["--json"]].concat()).await;
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).unwrap()
    }
}

/// A gateway in a process of its own; killed when dropped, if it still runs.
pub struct Serving {
    pub process: Child,
    /// What it logged when it began to serve.
    began: Value,
    /// Each line that it logs after that.
    log: Receiver<String>,
}

impl Serving {
    /// What this command starts, which must log JSON.
    pub fn start(command: &mut Command) -> Self {
        // Nobody would read the rest.
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| sender.send(line).unwrap_or_default()));
        let mut serving = Self { process, began: Value::Null, log };
        serving.began = serving.next(|line| line["public"].is_string());
        serving
    }

    /// Where it listens.
    pub fn address(&self, listener: &str) -> &str {
        self.began[listener].as_str().unwrap()
    }

    /// The next line that says so; those before it are passed over.
    pub fn says(&mut self, message: &str) -> Value {
        self.next(|line| line["message"].as_str().is_some_and(|text| text.contains(message)))
    }

    fn next(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.log.recv_timeout(PATIENCE).expect("a line that says so");
            let line = serde_json::from_str(&line).unwrap();
            if wanted(&line) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: &str) {
        self::signal(self.process.id(), signal);
    }

    /// Stops it as an operator would; what it logged that was not read before.
    pub fn stop(mut self) -> Vec<String> {
        self.signal("-TERM");
        assert!(self.process.wait().unwrap().success());
        self.log.iter().collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
