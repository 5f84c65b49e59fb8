//! What one operation changed in a mailbox, for whoever keeps a copy of it elsewhere.

use super::{Buffered, DroppedMessage, EventId};

/// One change. In the order in which they happened they lead a copy from one state to the next; each says
/// what is so from now on, so that to follow it twice does no harm.
#[derive(Clone, Debug)]
pub enum Change<C> {
    /// The message waits under this id. A state that replaces another in place comes under its id, after
    /// the other one has [left](Change::Left).
    Added(EventId, Buffered<C>),
    /// The message waits no longer. What is [kept](Change::Kept) of it comes next; else nothing is.
    Left(EventId, C),
    /// The message was dropped, and is kept for operators.
    Kept(DroppedMessage<C>),
    /// The dropped message is kept no longer.
    Forgotten(EventId, C),
    /// The dropped message waits again; it is [added](Change::Added) next, under another id.
    Revived(EventId),
    /// What is known of the client, of its losses, or of the time when the mailbox began to fill is no
    /// longer what it was.
    State,
}
