//! One poll, held as long as a poll may be, by the release binary, with curl as the client.

use std::process::{Command, ExitCode, Stdio};

use super::client::Client;
use super::process::Gateway;
use super::upstream::Upstream;

/// The longest that a client may ask for.
const SECONDS: f64 = 600.0;

pub async fn run() -> ExitCode {
    let (upstream, address) = Upstream::start();
    let gateway = Gateway::start(address);
    let client = Client::of_pollgate(gateway.public, &upstream, 0).await;
    let url = format!("http://{}{}", gateway.public, client.path());
    drop(client);
    println!("long-poll: curl -H 'Prefer: wait={SECONDS}' http://{}/.pollgate/KEY", gateway.public);
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "660", "--output", "/dev/null"])
        .args(["--write-out", "%{http_code} %{time_total}", "-H", "Prefer: wait=600", &url])
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    // The upstream answers meanwhile.
    let output = tokio::task::spawn_blocking(|| curl.wait_with_output().unwrap()).await.unwrap();
    let measured = String::from_utf8(output.stdout).unwrap();
    let (status, seconds) = measured.split_once(' ').unwrap();
    println!("long-poll: status {status} after {seconds} s");
    let as_asked = (seconds.parse::<f64>().unwrap() - SECONDS).abs() <= 1.0;
    if status == "204" && as_asked {
        return ExitCode::SUCCESS;
    }
    eprintln!("long-poll: it should have been 204 after {SECONDS} s");
    ExitCode::FAILURE
}
