//! A server's process: started, watched, stopped, and never left behind.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use pollgate::http1::client::connect;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// How long a server with processes of its own may take to end, before it is killed.
const LEAVE: Duration = Duration::from_secs(2);

/// How long a server must have used no CPU time to be done with what it was given.
const QUIET: Duration = Duration::from_millis(300);

/// A server in a process of its own, with the processes that it starts; killed when dropped.
pub struct Server(Child);

impl Server {
    /// Runs a program with these arguments, its output thrown away.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        Self::spawn(guarded(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// Runs this very program in another role, and reads from it where it listens.
    pub fn start_self(arguments: &[&str]) -> (Self, SocketAddr) {
        let this = std::env::current_exe().unwrap();
        let mut command = guarded(this.to_str().unwrap());
        let mut server = Self::spawn(command.args(arguments).stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().expect("a server that says where it listens");
        (server, address)
    }

    fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Waits until it listens there; `false` if it ended instead, or takes too long.
    pub async fn listens_on(&mut self, address: SocketAddr) -> bool {
        let began = Instant::now();
        while began.elapsed() < START && self.0.try_wait().unwrap().is_none() {
            if connect(&address.to_string(), START).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// CPU time used so far, in user and kernel mode.
    pub fn cpu(&self) -> Duration {
        self.processes().into_iter().map(cpu).sum()
    }

    /// Memory of its own in KiB (proc(5): `Pss` of `smaps_rollup`).
    pub fn memory_kib(&self) -> u64 {
        self.rollup("Pss:")
    }

    /// All memory that it has in use in KiB, what it shares with others too (proc(5): `Rss`).
    pub fn resident_kib(&self) -> u64 {
        self.rollup("Rss:")
    }

    fn rollup(&self, field: &str) -> u64 {
        let of = |pid: Pid| -> u64 {
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let line = rollup.lines().find(|line| line.starts_with(field)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        self.processes().into_iter().map(of).sum()
    }

    /// Waits until it has nothing left to do: it uses no CPU time.
    pub async fn settled(&self) {
        let mut used = self.cpu();
        loop {
            tokio::time::sleep(QUIET).await;
            let now = self.cpu();
            if now == used {
                return;
            }
            used = now;
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap())
    }

    /// Itself first, then whatever descends from it.
    fn processes(&self) -> Vec<Pid> {
        let all: Vec<(Pid, Pid)> = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok().map(Pid::from_raw))
            .filter_map(|pid| Some((pid, Pid::from_raw(stat(pid)?[1].parse().ok()?))))
            .collect();
        let mut found = vec![self.pid()];
        let mut seen = 0;
        while seen < found.len() {
            let of = found[seen];
            found.extend(all.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
            seen += 1;
        }
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Any of them may have ended by itself; either way they are gone after this.
        let descendants = self.processes().split_off(1);
        if !descendants.is_empty() {
            // It ends those that it started, and sees them end.
            let _ = kill(self.pid(), Signal::SIGTERM);
            let asked = Instant::now();
            while asked.elapsed() < LEAVE && matches!(self.0.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // The first one first: it could start the others again. All are of one process group, its own.
        let _ = self.0.kill();
        let group = self.pid().to_string();
        for pid in descendants {
            if stat(pid).is_some_and(|fields| fields[2] == group) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        let _ = self.0.wait();
    }
}

/// The fields of a process' `stat`, from its state (the third) on; `None` if there is no such process.
fn stat(pid: Pid) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

/// The CPU time that a process used so far (proc(5): fields 14 and 15 of `stat`, in ticks of which Linux tells
/// programs that a second has 100).
fn cpu(pid: Pid) -> Duration {
    let fields = stat(pid).expect("a process that runs");
    Duration::from_millis([11, 12].map(|n| fields[n].parse::<u64>().unwrap() * 10).iter().sum())
}

/// The CPU time that this program used so far.
pub fn own_cpu() -> Duration {
    cpu(Pid::this())
}

/// A gateway in a process of its own.
pub struct Gateway {
    process: Server,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Gateway {
    pub fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, &[])
    }

    /// On as many worker threads, if given; otherwise on as many as it chooses.
    pub fn with_threads(upstream: SocketAddr, threads: Option<usize>) -> Self {
        let threads = threads.map(|threads| threads.to_string());
        let threads = threads.as_deref().map(|threads| ("TOKIO_WORKER_THREADS", threads));
        Self::with(upstream, threads.as_slice())
    }

    /// With these variables in its environment.
    pub fn with(upstream: SocketAddr, environment: &[(&str, &str)]) -> Self {
        let mut command = guarded(env!("CARGO_BIN_EXE_pollgate"));
        // All clients are one address here.
        command.env("POLLGATE_LIMITS_REQUESTS_PER_SECOND_PER_ADDRESS", "1000000");
        command.env("POLLGATE_LIMITS_REQUEST_BURST_PER_ADDRESS", "1000000");
        command.env("POLLGATE_POLLING_MIN_POLL_INTERVAL", "0");
        command.args(["serve", "--upstream", &upstream.to_string(), "--public", "127.0.0.1:0"]).args([
            "--callback",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ]);
        // As its peers do, which keep what they hold in memory.
        command.env("POLLGATE_STORE_KIND", "memory").envs(environment.iter().copied());
        let mut process = Server::spawn(command.stderr(Stdio::piped()));
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let addresses = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(&line).ok()?;
            let address = |name| Some(entry[name].as_str()?.parse().unwrap());
            address("public").zip(address("admin"))
        });
        // Whatever it has to say later is read and thrown away, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let (public, admin) = addresses.expect("a gateway that serves");
        Self { process, public, admin }
    }

    pub fn process(&self) -> &Server {
        &self.process
    }
}

/// A command that is told to end when this program ends, however that comes about. Signals from the terminal
/// do not reach it: this program answers them, and ends it.
fn guarded(program: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.process_group(0).args(["guarded", &std::process::id().to_string(), program]);
    command
}

/// What runs in the child of a guarded command: it asks for the signal, and becomes the program.
pub fn run_guarded(parent: &str, program: &str, arguments: &[&str]) -> ! {
    set_pdeathsig(Signal::SIGTERM).unwrap();
    // If the parent ended before this, nobody sends a signal any more.
    if getppid().to_string() != parent {
        std::process::exit(1);
    }
    panic!("cannot run {program}: {}", Command::new(program).args(arguments).exec());
}

/// A port that was free a moment ago, for servers that bind by themselves.
pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
