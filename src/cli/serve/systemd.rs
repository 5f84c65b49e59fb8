//! What systemd is told of the service (sd_notify(3)); nothing where no systemd asked for it.

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::Running;

/// It serves.
pub(super) fn ready(public: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving clients at {public}"))]);
}

/// It stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process goes on.
pub(super) fn handed_over(to: Option<u32>) {
    if let Some(pid) = to {
        tell(&[NotifyState::MainPid(pid), NotifyState::Status("another process has taken over")]);
    }
}

/// Says again and again that it lives, if systemd wants to know (`WatchdogSec=`). It lives as long as it does
/// what is due each second.
pub(super) async fn watchdog(running: &Running) -> Infallible {
    let Some(within) = sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) else {
        return std::future::pending().await;
    };
    let mut turns = interval(within / 3);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if running.last_tick() < within.max(Duration::from_secs(3)) {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("nothing was done for too long; systemd is not told that this process lives");
        }
    }
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}
