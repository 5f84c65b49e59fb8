//! Delivering: one message at a time, the oldest first, to a client that is called rather than waited for.
//!
//! A delivery is a handout of one message. It is never *written* as an answer to a poll is, so neither the
//! next poll nor the end of a life time takes its message for delivered: only the client's 2xx does.

use super::{Batch, EventId, Handout, HandoutId, Mailbox, TakenMessage};

impl<C: Clone> Mailbox<C> {
    /// Whether the client has still to say what became of an answer to a poll: it is being written, or it
    /// was written to a client that acknowledges explicitly.
    pub fn awaits_word(&self) -> bool {
        self.handout.as_ref().is_some_and(|handout| !handout.written || self.explicit)
    }

    /// Whether there would be something to deliver: what an answer to a poll carried to its end, to a client
    /// that acknowledges by going on, counts as delivered.
    pub fn has_undelivered(&self) -> bool {
        self.messages.last_key_value().is_some_and(|(newest, _)| *newest > self.delivered())
    }

    /// Hands the oldest message out, to be delivered. What an answer to a poll carried to its end is
    /// acknowledged, as by a client's next poll, unless the client acknowledges explicitly; what else was
    /// handed out is waiting again. Also says how many messages were acknowledged. Nothing changes if there is
    /// nothing to deliver.
    pub fn take_to_deliver(&mut self) -> (Option<Batch<C>>, u64) {
        if !self.has_undelivered() {
            return (None, 0);
        }
        let handout = self.handout.take();
        if !self.explicit
            && let Some(Handout { written: true, losses, .. }) = handout
        {
            self.acknowledge_losses(losses);
        }
        self.losses_told = self.losses_acknowledged;
        let delivered = handout.filter(|h| h.written && !self.explicit).map_or(EventId(0), |h| h.up_to);
        let acknowledged = self.release(delivered);
        let oldest = self.messages.first_key_value().map(|(id, oldest)| TakenMessage {
            id: *id,
            received: oldest.received,
            redelivered: *id <= self.ever_handed_out,
            message: oldest.message.clone(),
        });
        let batch = oldest.map(|oldest| {
            let up_to = oldest.id;
            let fresh = up_to > self.ever_handed_out;
            self.ever_handed_out = self.ever_handed_out.max(up_to);
            self.handouts.0 += 1;
            self.receipts.carried_again(up_to);
            // The client is told of no loss by it.
            let behind = EventId(0);
            self.handout =
                Some(Handout { id: self.handouts, up_to, behind, losses: 0, fresh, written: false });
            let pending = self.messages.len() as u64 - 1;
            Batch { handout: self.handouts, messages: vec![oldest], pending, gap: 0, answer: None }
        });
        self.debug_check();
        (batch, acknowledged)
    }

    /// The delivery is over: a message that was `accepted` leaves, if it is still there, and even if a poll
    /// took over meanwhile; another one is waiting again. Returns whether the message left by this.
    pub fn delivery_over(&mut self, handout: HandoutId, id: EventId, accepted: bool) -> bool {
        self.handout.take_if(|latest| latest.id == handout);
        let left = accepted && self.remove(id).is_some();
        self.debug_check();
        left
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{at, message, presence, s, wide};
    use super::super::super::{Acknowledgement, BatchLimits, Outcome, Take};
    use super::*;

    const ALL: BatchLimits = BatchLimits { messages: usize::MAX, bytes: u64::MAX };

    fn with(messages: u64) -> Mailbox {
        let mut mailbox = Mailbox::default();
        for id in 1..=messages {
            mailbox.offer(EventId(id), message(id), None, &wide(), at(0)).outcome.unwrap();
        }
        mailbox
    }

    /// Which message is being delivered, and by which handout.
    fn begin(mailbox: &mut Mailbox) -> Option<(HandoutId, EventId)> {
        let batch = mailbox.take_to_deliver().0?;
        Some((batch.handout, batch.messages[0].id))
    }

    fn delivered(mailbox: &mut Mailbox) -> Option<u64> {
        let (handout, id) = begin(mailbox)?;
        assert!(mailbox.delivery_over(handout, id, true));
        Some(id.0)
    }

    fn answer(mailbox: &mut Mailbox, last_event_id: Option<u64>) -> HandoutId {
        mailbox.begin_poll(last_event_id.map(EventId).into());
        mailbox.take(Take::up_to(ALL), || None).unwrap().handout
    }

    #[test]
    fn messages_are_delivered_one_by_one_in_order() {
        let mut mailbox = with(3);
        assert_eq!([1, 2, 3].map(|_| delivered(&mut mailbox)), [Some(1), Some(2), Some(3)]);
        assert!(!mailbox.has_undelivered());
        assert_eq!(delivered(&mut mailbox), None);
    }

    #[test]
    fn what_was_not_accepted_waits_again() {
        let mut mailbox = with(2);
        for redelivered in [false, true, true] {
            let batch = mailbox.take_to_deliver().0.unwrap();
            let taken = &batch.messages[0];
            assert_eq!((taken.id, taken.redelivered, batch.pending), (EventId(1), redelivered, 1));
            assert!(!mailbox.delivery_over(batch.handout, taken.id, false));
        }
        mailbox.begin_poll(Acknowledgement::default());
        assert_eq!(mailbox.take(Take::up_to(ALL), || None).unwrap().messages.len(), 2);
    }

    #[test]
    fn a_poll_does_not_acknowledge_what_is_being_delivered() {
        let mut mailbox = with(2);
        let (handout, id) = begin(&mut mailbox).unwrap();
        assert_eq!(mailbox.begin_poll(Acknowledgement::default()), 0);
        let batch = mailbox.take(Take::up_to(ALL), || None).unwrap();
        assert_eq!(batch.messages.len(), 2);
        // Its 2xx comes although a poll has taken over: then the client has it.
        assert!(mailbox.delivery_over(handout, id, true));
        assert_eq!(mailbox.totals().messages, 1);
        mailbox.settle(batch.handout, Outcome::Written);
        assert_eq!(
            mailbox.begin_poll(Acknowledgement::default()),
            1,
            "the poll's own word counts for the rest"
        );
    }

    #[test]
    fn what_a_poll_carried_to_its_end_is_not_delivered_again() {
        let mut mailbox = with(2);
        let handout = answer(&mut mailbox, None);
        assert!(mailbox.awaits_word(), "it is being written");
        mailbox.settle(handout, Outcome::Written);
        assert!(!mailbox.awaits_word() && !mailbox.has_undelivered());
        mailbox.offer(EventId(3), message(3), None, &wide(), at(1)).outcome.unwrap();
        assert!(mailbox.has_undelivered());
        let (batch, acknowledged) = mailbox.take_to_deliver();
        assert_eq!((batch.unwrap().messages[0].id, acknowledged), (EventId(3), 2));
    }

    #[test]
    fn a_client_that_acknowledges_explicitly_is_waited_for() {
        let mut mailbox = with(2);
        let handout = answer(&mut mailbox, Some(0));
        mailbox.settle(handout, Outcome::Written);
        assert!(mailbox.awaits_word() && mailbox.has_undelivered());
        let (batch, acknowledged) = mailbox.take_to_deliver();
        let first = batch.unwrap().messages[0].id;
        assert_eq!((first, acknowledged), (EventId(1), 0), "it never said that it has them");
    }

    #[test]
    fn what_is_being_delivered_is_not_changed_in_place() {
        let mut mailbox = Mailbox::default();
        mailbox.offer(EventId(1), presence("kari", 1), None, &wide(), at(0)).outcome.unwrap();
        let (handout, id) = begin(&mut mailbox).unwrap();
        let newer = mailbox.offer(EventId(2), presence("kari", 2), None, &wide(), at(0));
        assert_eq!(newer.outcome, Ok(EventId(2)));
        assert!(mailbox.delivery_over(handout, id, true));
        assert_eq!(delivered(&mut mailbox), Some(2));
    }

    #[test]
    fn what_is_not_delivered_in_its_time_expires() {
        let mut mailbox = with(0);
        mailbox.offer(EventId(1), message(1), Some(s(5)), &wide(), at(0)).outcome.unwrap();
        let (handout, id) = begin(&mut mailbox).unwrap();
        assert_eq!(mailbox.expire(&wide(), at(5)).total(), 1);
        assert!(!mailbox.delivery_over(handout, id, true), "it is too late");
    }
}
