//! The client is called: one message at a time, as the courier of a mailbox does it.
//!
//! The messages of a call arrive in the order in which they are sent, since a poll that takes over breaks the
//! call off: what has not arrived by then never does.

use rand::RngExt;

use super::{Answer, EventId, Fate, HandoutId, World, number};

/// What a simulation must get to.
pub(super) const WHAT_HAPPENS: [&str; 7] = [
    "called",
    "called again",
    "delivered by a call",
    "a call was refused",
    "a poll took over from a call",
    "accepted after a poll took over",
    "accepted after it was gone",
];

/// A call that is under way.
pub(super) struct Delivery {
    handout: HandoutId,
    id: EventId,
    number: usize,
    /// Whether no poll has taken over.
    has_turn: bool,
    arrived: bool,
}

impl Delivery {
    /// Whether this message is on its way, and may not be evicted.
    pub(super) fn carries(&self, id: EventId) -> bool {
        self.has_turn && self.id == id
    }
}

impl World {
    /// The courier looks whether there is anything to deliver, and begins with it.
    pub(super) fn deliver(&mut self) {
        if self.delivery.is_some() {
            return;
        }
        let written = self.answer.as_ref().is_some_and(|a| a.settled && !self.client.has_sent);
        let waits = self.answer.is_some() && !written;
        assert_eq!(self.mailbox.awaits_word(), waits);
        let delivered = |id: &EventId| written && self.in_flight(*id);
        assert_eq!(self.mailbox.has_undelivered(), !self.buffered.keys().all(delivered));
        // Its patience with an answer to a poll is over at times.
        if waits && self.random.random_ratio(2, 3) {
            return;
        }

        if !self.mailbox.has_undelivered() {
            assert!(self.mailbox.take_to_deliver().0.is_none());
            return;
        }
        let (batch, acknowledged) = self.mailbox.take_to_deliver();
        let answer = self.answer.take();
        if written {
            self.known = self.known.max(answer.as_ref().map_or(0, |a| a.losses));
        }
        self.told = self.known;
        let expected: Vec<EventId> = answer
            .iter()
            .filter(|_| written)
            .flat_map(|a| a.messages.iter().map(|(id, _)| *id))
            .filter(|id| self.buffered.contains_key(id))
            .collect();
        assert_eq!(acknowledged, expected.len() as u64);
        expected.into_iter().for_each(|id| self.end(id, Fate::Delivered));
        if let Some(Answer { handout, settled: false, .. }) = answer {
            self.overtaken.push(handout);
        }

        let Some(batch) = batch else { return assert!(self.buffered.is_empty()) };
        let [message] = &batch.messages[..] else { panic!("one at a time") };
        let (id, number) = (message.id, number(&message.message));
        assert_eq!(self.buffered.first_key_value(), Some((&id, &number)), "the oldest one");
        assert_eq!((batch.gap, batch.pending), (0, self.buffered.len() as u64 - 1));
        assert_eq!(self.messages[number].handed_out, message.redelivered);
        self.saw(if message.redelivered { "called again" } else { "called" });
        self.messages[number].handed_out = true;
        self.proofs.insert(id, (id, 0));
        let arrived = self.random.random();
        if arrived {
            self.receive(&[(id, number)]);
        }
        self.delivery = Some(Delivery { handout: batch.handout, id, number, has_turn: true, arrived });
    }

    /// The client answers, or the call breaks.
    pub(super) fn end_delivery(&mut self) {
        let Some(mut delivery) = self.delivery.take() else { return };
        if delivery.has_turn && !delivery.arrived && self.random.random_ratio(2, 3) {
            delivery.arrived = true;
            self.receive(&[(delivery.id, delivery.number)]);
        }
        // Its 2xx may be lost.
        let accepted = delivery.arrived && self.random.random_ratio(3, 4);
        self.end_delivery_with(&delivery, accepted);
    }

    fn end_delivery_with(&mut self, delivery: &Delivery, accepted: bool) {
        let left = self.mailbox.delivery_over(delivery.handout, delivery.id, accepted);
        let is_there = self.buffered.contains_key(&delivery.id);
        assert_eq!(left, accepted && is_there);
        match (accepted, is_there) {
            (true, true) => {
                self.end(delivery.id, Fate::Delivered);
                self.saw("delivered by a call");
                if !delivery.has_turn {
                    self.saw("accepted after a poll took over");
                }
            }
            (true, false) => self.saw("accepted after it was gone"),
            (false, _) => self.saw("a call was refused"),
        }
    }

    /// A poll took the turn from whatever is being delivered.
    pub(super) fn delivery_is_overtaken(&mut self) {
        if let Some(delivery) = self.delivery.as_mut().filter(|d| d.has_turn) {
            delivery.has_turn = false;
            self.saw("a poll took over from a call");
        }
    }

    /// Half of the clients are called at the end, until nothing is left.
    pub(super) fn drain_by_calls(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            self.end_delivery_with(&delivery, false);
        }
        if self.random.random() {
            return;
        }
        while self.mailbox.has_undelivered() {
            self.deliver();
            if let Some(delivery) = self.delivery.take() {
                self.receive(&[(delivery.id, delivery.number)]);
                self.end_delivery_with(&delivery, true);
            }
        }
        assert!(!self.mailbox.has_undelivered());
    }
}
