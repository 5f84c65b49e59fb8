//! Where it was measured, and beside what.

use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use memchr::memmem;

use crate::nginx::NCHAN;

/// Each peer's version, or why it cannot be measured.
pub struct Installed {
    pub nginx: Result<String, String>,
    pub nchan: Result<String, String>,
    pub haproxy: Result<String, String>,
    pingora: String,
}

impl Installed {
    pub fn look() -> Self {
        let nginx = version("nginx", &["-v"]);
        let nchan = nginx.clone().and_then(|_| {
            if !Path::new(NCHAN).exists() {
                return Err(format!("there is no {NCHAN} (Debian: libnginx-mod-nchan)"));
            }
            let query = ["-W", "-f", "${Version}\n", "libnginx-mod-nchan"];
            Ok(version("dpkg-query", &query).unwrap_or_else(|_| "of unknown version".to_owned()))
        });
        Self { nginx, nchan, haproxy: version("haproxy", &["-v"]), pingora: locked("pingora") }
    }

    pub fn say_what_is_missing(&self) {
        for (name, version) in self.optional() {
            if let Err(reason) = version {
                println!("{name} is left out: {reason}");
            }
        }
    }

    fn optional(&self) -> [(&'static str, &Result<String, String>); 3] {
        [("nginx", &self.nginx), ("nchan", &self.nchan), ("HAProxy", &self.haproxy)]
    }
}

impl Display for Installed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let threads = std::thread::available_parallelism().unwrap();
        write!(f, "Servers: pollgate {} ({}, ", env!("CARGO_PKG_VERSION"), allocator())?;
        write!(
            f,
            "{threads} worker threads); pingora {} (glibc's allocator, {threads} threads)",
            self.pingora
        )?;
        for (name, version) in self.optional() {
            match version {
                Ok(version) => write!(f, "; {name} {version}")?,
                Err(_) => write!(f, "; {name} not installed")?,
            }
        }
        write!(f, "; nginx and HAProxy with one worker each.")
    }
}

pub struct Machine(String);

impl Machine {
    pub fn look() -> Self {
        let cores = std::thread::available_parallelism().unwrap();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let about = read("/proc/cpuinfo");
        let model = about.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or(std::env::consts::ARCH);
        let (kernel, load) = (read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
        let date = humantime::format_rfc3339_seconds(SystemTime::now());
        Self(format!(
            "Machine: {cores} cores ({model}), Linux {}, load when it began {}; {date}",
            kernel.trim(),
            load.split(' ').next().unwrap_or_default()
        ))
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first line that a program says about its version.
fn version(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} fails: {}", output.status));
    }
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
    let version = line.split([' ', '/']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Ok(version.unwrap_or(&line).to_owned())
}

/// The version of a crate that was built in.
fn locked(name: &str) -> String {
    let lock: toml::Table = include_str!("../../../Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"].as_str() == Some(name)).unwrap();
    package["version"].as_str().unwrap().to_owned()
}

/// Which one the gateway has, by what its program says of itself.
fn allocator() -> &'static str {
    let program = std::fs::read(env!("CARGO_BIN_EXE_pollgate")).unwrap();
    match memmem::find(&program, b"mimalloc") {
        Some(_) => "mimalloc",
        None => "glibc's allocator",
    }
}
