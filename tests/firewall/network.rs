//! Three machines in a row, each a network namespace of its own: a client, an edge that routes, and a server.
//!
//! A namespace belongs to the threads of a runtime and has no name. It is gone with its threads and with the
//! processes that they started, whatever ends the test, and nothing of this machine's own network is touched.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use pollgate::http1::client::connect;
use tokio::runtime::{Builder, Runtime};

pub const CLIENT: &str = "10.77.1.2";
/// The edge as the client sees it, and as the server does.
pub const EDGE: &str = "10.77.1.1";
pub const EDGE_INSIDE: &str = "10.77.2.1";
pub const SERVER: &str = "10.77.2.2";

/// Longer than anything takes that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Said to the test's own process when it runs once more, as the root of a user namespace.
const AGAIN: &str = "POLLGATE_TEST_IN_USER_NAMESPACE";

/// Runs a test in a network with these rules, or says why it cannot.
pub fn within(name: &str, rules: &Rules, test: impl FnOnce(Network)) {
    match Network::new(rules) {
        Ok(network) => test(network),
        Err(_) if std::env::var_os(AGAIN).is_none() => again_as_root_of_a_user_namespace(name),
        Err(reason) => println!("skipped: three networks cannot be made here: {reason}"),
    }
}

/// A process with threads cannot change its own user namespace; another one can begin in a new one.
fn again_as_root_of_a_user_namespace(name: &str) {
    let this = std::env::current_exe().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user"]);
    if !unshare.args(["true"]).status().is_ok_and(|status| status.success()) {
        return println!("skipped: neither root nor allowed to make a user namespace");
    }
    let mut test = Command::new("unshare");
    test.args(["--user", "--map-root-user"]).arg(this).args(["--exact", name, "--nocapture"]);
    assert!(test.env(AGAIN, "1").status().unwrap().success(), "it failed in its user namespace");
}

/// A machine: what runs on its threads has its network.
pub struct Host(Runtime);

impl Host {
    fn new() -> Result<Self, String> {
        let (done, made) = channel();
        // A runtime's threads have the network of the thread that builds it.
        std::thread::spawn(move || {
            let host = unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|error| format!("no network namespace can be made: {error}"))
                .map(|()| Self(Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()));
            done.send(host).unwrap();
        });
        let host = made.recv().unwrap()?;
        assert_ne!(host.run(async { network() }), network(), "it must not be this machine's own");
        host.command("ip", &["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// Does something on this machine.
    pub fn run<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> T {
        self.begin(what).recv().expect("it panicked on its machine, and said so there")
    }

    /// The same, and does not wait for it.
    pub fn begin<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> Receiver<T> {
        let (done, result) = channel();
        self.0.spawn(async move {
            // Nobody waits any longer if the test has failed.
            let _ = done.send(what.await);
        });
        result
    }

    /// Whether a connection can be made from here; what does not answer soon does not answer.
    pub fn is_open(&self, address: &str) -> bool {
        let address = address.to_owned();
        self.run(async move { connect(&address, Duration::from_millis(300)).await.is_ok() })
    }

    /// Runs a program on this machine: what it prints, or why it failed.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        self.command_with(program, arguments, "")
    }

    fn command_with(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (name, input) = (program.to_owned(), input.to_owned());
        let output = self.run(async move {
            let mut child = command.spawn()?;
            child.stdin.take().expect("it is piped").write_all(input.as_bytes())?;
            child.wait_with_output()
        });
        match output {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(output) => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(format!("{name}: {error}")),
        }
    }
}

/// The network of the thread that asks (namespaces(7)).
fn network() -> std::path::PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap()
}

pub struct Network {
    pub client: Host,
    pub edge: Host,
    pub server: Host,
}

/// What the firewall at the edge lets through beside the answers to what it let through.
#[derive(Clone, Default)]
pub struct Rules {
    /// To the edge itself, from the client.
    pub polls: bool,
    /// To the server, from the client.
    pub direct: bool,
    /// To the client, from anywhere.
    pub hole: Option<u16>,
}

impl Network {
    /// Wires three machines; why not, where that is not allowed.
    pub fn new(rules: &Rules) -> Result<Self, String> {
        let network = Self { client: Host::new()?, edge: Host::new()?, server: Host::new()? };
        network.wire(&network.client, "outside", EDGE, CLIENT)?;
        network.wire(&network.server, "inside", EDGE_INSIDE, SERVER)?;
        let forward = network.edge.run(async { std::fs::write("/proc/sys/net/ipv4/ip_forward", "1") });
        forward.map_err(|error| format!("the edge cannot route: {error}"))?;
        network.firewall(rules)?;
        Ok(network)
    }

    /// A cable between the edge and another machine, which has no other way out.
    fn wire(&self, to: &Host, name: &str, at_the_edge: &str, address: &str) -> Result<(), String> {
        // The kernel takes any thread's number for the namespace that it is in.
        let thread = to.run(async { nix::unistd::gettid().to_string() });
        let there = ["type", "veth", "peer", "name", "eth0", "netns", &thread];
        self.edge.command("ip", &[&["link", "add", name], &there[..]].concat())?;
        for (host, link, own) in [(&self.edge, name, at_the_edge), (to, "eth0", address)] {
            host.command("ip", &["address", "add", &format!("{own}/24"), "dev", link])?;
            host.command("ip", &["link", "set", link, "up"])?;
        }
        to.command("ip", &["route", "add", "default", "via", at_the_edge]).map(drop)
    }

    /// Sets the firewall up anew. It drops what it does not let through, as firewalls of the time did: who
    /// knocks is not told.
    pub fn firewall(&self, rules: &Rules) -> Result<(), String> {
        let mut text = String::from(
            "flush ruleset
            table inet firewall {
                counter stopped { }
                chain to_the_client {
                    ct state established,related accept\n",
        );
        if let Some(port) = rules.hole {
            writeln!(text, "tcp dport {port} accept").unwrap();
        }
        let allowed = |allowed: bool, what| if allowed { what } else { "" };
        write!(
            text,
            "       tcp flags & (syn | ack) == syn counter name stopped
                    drop
                }}
                chain forward {{
                    type filter hook forward priority 0; policy drop;
                    oifname outside jump to_the_client
                    ct state established,related accept
                    {}
                }}
                chain output {{
                    type filter hook output priority 0; policy accept;
                    oifname outside jump to_the_client
                }}
                chain input {{
                    type filter hook input priority 0; policy drop;
                    ct state established,related accept
                    iifname != outside accept
                    {}
                }}
            }}\n",
            allowed(rules.direct, "iifname outside tcp dport 80 accept"),
            allowed(rules.polls, "iifname outside tcp dport 80 accept"),
        )
        .unwrap();
        self.edge.command_with("nft", &["-f", "-"], &text).map(drop)
    }

    /// No firewall: the edge only routes.
    pub fn without_firewall(&self) {
        self.edge.command("nft", &["flush", "ruleset"]).unwrap();
    }

    /// How many packets that would open a connection to the client the firewall has stopped.
    pub fn stopped(&self) -> u64 {
        let text = self.edge.command("nft", &["list", "counter", "inet", "firewall", "stopped"]).unwrap();
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).expect("a number of packets").parse().unwrap()
    }
}
