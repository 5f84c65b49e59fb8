//! The programs on the machines, each killed when it is dropped or when the test's process ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::tempfile;

use crate::network::{Host, Network, PATIENCE, SERVER};

/// The port that the device listens at; it takes none below 49152.
const DEVICE: u16 = 49494;

/// A program that runs, and what it said.
pub struct Program {
    process: Child,
    said: File,
}

impl Program {
    pub fn start(host: &Host, program: &str, arguments: &[&str]) -> std::io::Result<Self> {
        let said = tempfile()?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(arguments);
        command.env("HOME", "/nonexistent").stdin(Stdio::null());
        command.stdout(said.try_clone()?).stderr(said.try_clone()?);
        let process = host.run(async move { command.spawn() })?;
        Ok(Self { process, said })
    }

    /// Waits until it takes connections there. Why it does not, if it has ended.
    pub fn serves(&mut self, host: &Host, address: &str) -> Result<(), String> {
        let began = pollgate::clock::instant();
        while !host.is_open(address) {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_some() || began.elapsed() < PATIENCE, "not there: {}", self.said());
            if let Some(status) = ended {
                return Err(format!("{status}: {}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn said(&mut self) -> String {
        let mut said = String::new();
        self.said.rewind().unwrap();
        self.said.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The device, at the server's machine.
pub struct Renderer {
    pub address: String,
    _program: Program,
}

/// Starts the device; why not, where it is not installed or has not what it needs.
pub fn renderer(network: &Network) -> Result<Renderer, String> {
    let address = format!("{SERVER}:{DEVICE}");
    let arguments = ["-I", "eth0", "-p", "49494", "--gstout-audiosink", "fakesink", "--logfile", "stdout"];
    if Command::new("gmediarender").arg("--version").output().is_err() {
        return Err("there is no gmediarender".to_owned());
    }
    // It waits a second for its address of IPv6, which is not usable at once, and then some.
    let no_ipv6 =
        network.server.run(async { std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1") });
    no_ipv6.map_err(|error| format!("IPv6 cannot be turned off: {error}"))?;
    let mut program = Program::start(&network.server, "gmediarender", &arguments).unwrap();
    program
        .serves(&network.server, &address)
        .map_err(|reason| format!("gmediarender does not run: {reason}"))?;
    Ok(Renderer { address, _program: program })
}

/// The Python that has async_upnp_client, where the set-up put it.
pub fn python() -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("upnp/bin/python");
    match python.exists() {
        true => Ok(python),
        false => Err(format!("there is no async_upnp_client: no {}", python.display())),
    }
}

/// Runs a control point that knows the device by this origin, and listens here: what it sees.
pub fn control_point(
    host: &Host,
    python: &Path,
    origin: &str,
    (address, port): (&str, u16),
) -> impl Iterator<Item = Value> + use<> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upnp/control_point.py"));
    command.args([&format!("{origin}/description.xml"), address, &port.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = host.run(async move { command.spawn() }).unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    // It ends by itself: nothing takes it longer than it is patient.
    std::thread::spawn(move || process.wait());
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}
