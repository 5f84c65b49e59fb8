//! A mailbox that outlives the process: what must be known of it, and how it comes back.

use std::collections::BTreeMap;

use super::{Buffered, Change, Class, DroppedMessage, EventId, Mailbox, Timestamp};

/// What a mailbox knows beside its messages, as far as it must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the client acknowledges with `Last-Event-ID`.
    pub explicit: bool,
    /// Whether it was ever polled together with others.
    pub shared: bool,
    /// Messages lost since the client was last told.
    pub gap: u64,
    /// When the first message came since the mailbox was last empty.
    pub first_submitted: Option<Timestamp>,
}

impl<C: Clone> Mailbox<C> {
    /// A mailbox as it was before. From now on it records what [changes](Self::changes).
    ///
    /// Every message counts as possibly handed out: an acknowledgement by a client that holds them is
    /// obeyed, and none is changed in place. Dropped messages come as they were dropped.
    pub fn restore(
        snapshot: Snapshot,
        messages: impl IntoIterator<Item = (EventId, Buffered<C>)>,
        dropped: impl IntoIterator<Item = DroppedMessage<C>>,
    ) -> Self {
        let Snapshot { explicit, shared, gap, first_submitted } = snapshot;
        // Built as a whole: trees that grow at their end stay half empty.
        let messages: BTreeMap<EventId, Buffered<C>> = messages.into_iter().collect();
        let newest = messages.last_key_value().map_or(EventId(0), |(id, _)| *id);
        let others = || messages.iter().filter(|(_, message)| *message.class() != Class::Message);
        let mut mailbox = Self {
            bytes: messages.values().map(|message| message.cost).sum(),
            expiries: messages.iter().map(|(id, message)| (message.expires, *id)).collect(),
            replaceable: others().map(|(id, message)| (message.class().clone(), *id)).collect(),
            typing: others().filter(|(_, message)| message.class().is_typing()).map(|(id, _)| *id).collect(),
            newest,
            ever_handed_out: newest,
            messages,
            explicit,
            shared,
            losses: gap,
            first_submitted,
            changes: Some(Vec::new()),
            ..Self::default()
        };
        for dropped in dropped {
            let changes = &mut mailbox.changes;
            mailbox.dropped.push(dropped, |oldest| {
                changes.get_or_insert_default().push(Change::Forgotten(oldest.id, oldest.message.message));
            });
        }
        mailbox.debug_check();
        mailbox
    }

    /// No id above this one had been given to any message before the restart.
    pub fn ids_were_given_up_to(&mut self, id: EventId) {
        self.given_before = id;
    }

    /// What must be known of it beside its messages, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let Self { explicit, shared, first_submitted, .. } = *self;
        Snapshot { explicit, shared, gap: self.gap(), first_submitted }
    }

    /// What changed since it was last asked for; nothing, unless it was [restored](Self::restore).
    pub fn changes(&mut self) -> Vec<Change<C>> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{at, message, presence, s, typing, wide};
    use super::super::super::{BatchLimits, DropReason, Follower, Lost, Outcome, Take};
    use super::*;

    const ALL: BatchLimits = BatchLimits { messages: usize::MAX, bytes: u64::MAX };

    fn ids(mailbox: &Mailbox) -> Vec<u64> {
        mailbox.buffered(EventId(0)).map(|(id, ..)| id.0).collect()
    }

    /// A mailbox in the middle of its life, and the copy that followed it.
    fn lived() -> (Mailbox, Follower) {
        let mut mailbox = Mailbox::restore(Snapshot::default(), [], []);
        let offers = [message(1), presence("a", 2), message(3), presence("a", 4), typing("b", 5), message(6)];
        for (n, offered) in offers.into_iter().enumerate() {
            let wish = (n == 0).then_some(s(5));
            mailbox.offer(EventId(n as u64 + 1), offered, wish, &wide(), at(n as u64)).outcome.unwrap();
        }
        mailbox.expire(&wide(), at(6));
        mailbox.begin_poll(Some(EventId(0)).into());
        let batch = mailbox.take(Take::up_to(BatchLimits { messages: 1, ..ALL }), || None).unwrap();
        mailbox.settle(batch.handout, Outcome::Broken);
        mailbox.begin_poll(Some(batch.messages[0].id).into());
        let mut copy = Follower::default();
        copy.follow(&mut mailbox);
        (mailbox, copy)
    }

    #[test]
    fn a_mailbox_comes_back_as_it_was() {
        let (mailbox, copy) = lived();
        let back = copy.restore();
        assert_eq!(ids(&back), ids(&mailbox));
        assert_eq!(back.totals(), mailbox.totals());
        assert_eq!(back.snapshot(), mailbox.snapshot());
        assert_eq!(
            back.snapshot(),
            Snapshot { explicit: true, shared: false, gap: 1, first_submitted: Some(at(0)) }
        );
        assert_eq!(back.next_deadline(&wide()), mailbox.next_deadline(&wide()));
        let dropped: Vec<_> = back.dropped().map(|d| (d.id, d.reason, d.dropped_at)).collect();
        assert_eq!(dropped, [(EventId(1), DropReason::Expired, at(5))]);
    }

    #[test]
    fn what_came_back_counts_as_handed_out() {
        let mut back = lived().1.restore();
        let waiting = ids(&back);
        // Not replaced in place …
        back.offer(EventId(50), presence("a", 9), None, &wide(), at(7)).outcome.unwrap();
        assert_eq!(ids(&back).len(), waiting.len() + 1);
        // … and acknowledged by whoever holds it.
        assert_eq!(back.begin_poll(Some(EventId(waiting[0])).into()), 1);
        let batch = back.take(Take::up_to(ALL), || None).unwrap();
        let redelivered: Vec<bool> = batch.messages.iter().map(|m| m.redelivered).collect();
        assert_eq!(redelivered, [true, true, false], "all but the new one");
    }

    #[test]
    fn a_replay_is_followed() {
        let (mut mailbox, mut copy) = lived();
        mailbox.drop_all(DropReason::Purged, &wide(), at(8));
        copy.follow(&mut mailbox);
        let mut id = 100;
        let next = || {
            id += 1;
            EventId(id)
        };
        let (result, _) = mailbox.replay(next, None, &wide(), 4, at(9));
        assert_eq!((result.replayed, result.refused), (2, 1));
        copy.follow(&mut mailbox);
        assert_eq!(ids(&copy.restore()), [101, 102]);
        assert_eq!(copy.restore().totals(), mailbox.totals());
    }

    #[test]
    fn a_damaged_message_is_lost_and_not_kept() {
        let (mut mailbox, mut copy) = lived();
        let before = mailbox.snapshot().gap;
        let (plain, typing) = (EventId(6), EventId(5));
        assert_eq!(mailbox.lose_damaged(plain), Lost::of(DropReason::Corrupt, 1));
        assert_eq!(mailbox.lose_damaged(plain), Lost::default(), "it is gone already");
        assert_eq!(mailbox.lose_damaged(typing).total(), 0);
        assert_eq!(mailbox.snapshot().gap, before + 1);
        assert!(!mailbox.holds(plain) && mailbox.dropped().all(|d| d.id != plain));
        copy.follow(&mut mailbox);
        assert_eq!(ids(&copy.restore()), ids(&mailbox));
    }

    #[test]
    fn nothing_is_recorded_unless_somebody_follows() {
        let mut mailbox = Mailbox::default();
        mailbox.offer(EventId(1), message(1), None, &wide(), at(0)).outcome.unwrap();
        assert!(mailbox.changes().is_empty());
    }
}
