//! The process that comes after this one: it takes the sockets over, and then the store.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::app::Running;
use crate::app::handover::{Handover, Successor, meeting_place};
use crate::config::StoreKind;

/// A successor that was started by somebody else looks for its predecessor all the time.
const WAITS_ALREADY: Duration = Duration::from_secs(2);

/// How this process was started.
pub(super) struct Started {
    /// Its program; another version may have taken the place of the file since.
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Started {
    pub(super) fn now() -> std::io::Result<Self> {
        let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--upgrade");
        Ok(Self { program: std::env::current_exe()?, arguments: arguments.collect() })
    }

    /// Hands the sockets over to a successor that waits already, or to one that is started as this process was. It is
    /// ready for the store then. With an error nothing has changed.
    pub(super) async fn find_successor(&self, running: &Running) -> anyhow::Result<Successor> {
        let config = running.gateway().config().clone();
        if config.store.kind == StoreKind::Memory {
            bail!("messages that are kept in memory cannot change hands");
        }
        let place = meeting_place(&config);
        let handover =
            Handover::open(place.clone()).with_context(|| format!("cannot open {}", place.display()))?;
        let mut handing = std::pin::pin!(handover.hand_over(running.listeners()));
        if let Ok(handed) = timeout(WAITS_ALREADY, &mut handing).await {
            return handed;
        }
        let ended = self.start_successor()?;
        tokio::select! {
            handed = handing => handed,
            Ok(status) = ended => bail!("the new process ended ({status}); its log says why"),
        }
    }

    /// Starts a process like this one, and tells when it ends.
    fn start_successor(&self) -> anyhow::Result<oneshot::Receiver<ExitStatus>> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("--upgrade");
        // It names the process that systemd watches: from now on, the new one.
        command.env_remove("WATCHDOG_PID");
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        tracing::info!(process = child.id(), program = %self.program.display(), "started the next process");
        let (tell, ended) = oneshot::channel();
        std::thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let _ = tell.send(status);
            }
        });
        Ok(ended)
    }
}
