//! What Pollgate is for, shown in two acts on one machine.
//!
//! In reading order:
//! - [`play`]: both acts, and whether they went as they should.
//! - [`rvp_server`]: a small legacy server that can only call back; tests use it too.
//! - [`bodies`]: what the server and its clients say to each other.
//! - `client`: a client of the demo; `acts`: the acts; [`Trace`]: what the audience sees.
//!
//! Everything runs on loopback addresses and ports that were free; nothing is read from or written to
//! the machine's configuration or disks.

mod acts;
pub mod bodies;
mod client;
pub mod rvp_server;
mod trace;

pub use trace::{Audience, Trace};

/// What came of the demo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that were sent to the client, without and with the gateway.
    pub sent: [usize; 2],
    /// Messages that reached the client, in the order in which they were sent.
    pub arrived: [usize; 2],
}

impl Tally {
    /// Whether the demo showed what it is there to show: nothing passes without the gateway, and
    /// everything with it.
    pub fn is_as_it_should_be(&self) -> bool {
        let [without, with] = self.arrived;
        without == 0 && self.sent[0] > 0 && with > 0 && with == self.sent[1]
    }
}

/// Plays both acts. An error is something that neither of them should meet.
pub async fn play(trace: &std::sync::Arc<Trace>) -> anyhow::Result<Tally> {
    let without = acts::without_the_gateway(trace).await?;
    let with = acts::with_the_gateway(trace).await?;
    let tally = Tally { sent: [without.sent, with.sent], arrived: [without.arrived, with.arrived] };
    trace.summary(&tally);
    Ok(tally)
}
