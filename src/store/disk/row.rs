//! The rows beside the bodies: what is needed to know every mailbox without reading a body.

use std::time::Duration;

use super::codec::{Damage, Decoder, Encoder};
use super::elapsed::{Seen, StoreClock};
use super::record::{Place, read_class, write_class};
use crate::clock::{Boot, Reading};
use crate::mailbox::{
    Buffered, CallbackToken, ConnectionSettings, DeliveryMode, DropReason, DroppedMessage, EventId, Incoming,
    MailboxId, PollKey, PollingPeriod, Ports, Snapshot, Subscription, Timestamp,
};

/// A message that waits: all that its mailbox decides by.
#[derive(Clone, Debug)]
pub(super) struct IndexRow {
    pub(super) mailbox: MailboxId,
    pub(super) message: Buffered<Place>,
    /// When its mailbox began to fill, as was known when the message came.
    pub(super) first_submitted: Option<Timestamp>,
}

impl IndexRow {
    pub(super) fn write(
        mailbox: MailboxId,
        message: &Buffered<Place>,
        first_submitted: Option<Timestamp>,
        clock: StoreClock,
    ) -> Vec<u8> {
        let mut row = Encoder::with_capacity(64);
        Self::write_fields(&mut row, mailbox, message, first_submitted, clock);
        row.finish()
    }

    fn write_fields(
        row: &mut Encoder,
        mailbox: MailboxId,
        message: &Buffered<Place>,
        first_submitted: Option<Timestamp>,
        clock: StoreClock,
    ) {
        row.number(mailbox.0)
            .number(clock.to_stored(message.received))
            .number(clock.to_stored(message.expires))
            .option(first_submitted, |row, first| _ = row.number(clock.to_stored(first)))
            .number(message.cost)
            .number(message.message.0);
        write_class(row, message.class());
    }

    pub(super) fn read(row: &[u8], clock: StoreClock) -> Result<Self, Damage> {
        Self::read_fields(&mut Decoder::new(row)?, clock)
    }

    fn read_fields(fields: &mut Decoder<'_>, clock: StoreClock) -> Result<Self, Damage> {
        let mailbox = MailboxId(fields.number()?);
        let received = clock.restore(fields.number()?);
        let expires = clock.restore(fields.number()?);
        let first_submitted = fields.option(|fields| fields.number().map(|t| clock.restore(t)))?;
        let cost = fields.number()?;
        let message = Place(fields.number()?);
        let incoming = Incoming { class: read_class(fields)?, cost, message };
        Ok(Self { mailbox, message: Buffered::new(incoming, received, expires), first_submitted })
    }
}

/// A message that was dropped, and is kept for operators.
#[derive(Clone, Debug)]
pub(super) struct DroppedRow {
    pub(super) index: IndexRow,
    pub(super) reason: DropReason,
    pub(super) dropped_at: Timestamp,
}

impl DroppedRow {
    pub(super) fn write(
        mailbox: MailboxId,
        dropped: &DroppedMessage<Place>,
        first_submitted: Option<Timestamp>,
        clock: StoreClock,
    ) -> Vec<u8> {
        let mut row = Encoder::with_capacity(80);
        row.byte(reason_code(dropped.reason)).number(clock.to_stored(dropped.dropped_at));
        IndexRow::write_fields(&mut row, mailbox, &dropped.message, first_submitted, clock);
        row.finish()
    }

    pub(super) fn read(row: &[u8], clock: StoreClock) -> Result<Self, Damage> {
        let mut fields = Decoder::new(row)?;
        let code = fields.byte()?;
        let reason = DropReason::ALL.into_iter().find(|reason| reason_code(*reason) == code);
        let dropped_at = clock.restore(fields.number()?);
        let index = IndexRow::read_fields(&mut fields, clock)?;
        Ok(Self { index, reason: reason.ok_or(Damage::Fields)?, dropped_at })
    }

    pub(super) fn into_message(self, id: EventId) -> DroppedMessage<Place> {
        let Self { index, reason, dropped_at } = self;
        DroppedMessage { id, message: index.message, reason, dropped_at }
    }
}

/// These numbers are in files: none may ever mean another reason.
fn reason_code(reason: DropReason) -> u8 {
    match reason {
        DropReason::Overflow => 0,
        DropReason::Expired => 1,
        DropReason::TooLarge => 2,
        DropReason::Abandoned => 3,
        DropReason::Purged => 4,
        DropReason::Corrupt => 5,
    }
}

/// Whose mailbox it is, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MailboxRow {
    pub(super) token: CallbackToken,
    pub(super) poll_key: PollKey,
    pub(super) created: Timestamp,
    pub(super) lease_ends: Timestamp,
    pub(super) ended: bool,
    pub(super) subscription_id: Option<Box<str>>,
    pub(super) subscription: Subscription,
}

/// How the client is told: by polling, with nothing else set. Rows of the first versions have no other.
const POLLING: u8 = 0;

/// How the client is told stands behind this.
const CONNECTION: u8 = 1;

fn write_connection(row: &mut Encoder, connection: ConnectionSettings) {
    if connection == ConnectionSettings::default() {
        row.byte(POLLING);
        return;
    }
    let ConnectionSettings { mode, polling_period, ports } = connection;
    row.byte(CONNECTION)
        .number(mode.flag().into())
        .byte(polling_period.minutes())
        .option(ports, |row, ports| _ = row.text(&ports.to_string()));
}

fn read_connection(fields: &mut Decoder<'_>) -> Result<ConnectionSettings, Damage> {
    match fields.byte()? {
        POLLING => return Ok(ConnectionSettings::default()),
        CONNECTION => {}
        _ => return Err(Damage::Fields),
    }
    let mode = u32::try_from(fields.number()?).ok().and_then(DeliveryMode::from_flag);
    let polling_period = PollingPeriod::from_minutes(fields.byte()?.into()).map_err(|_| Damage::Fields)?;
    let range = |text: &str| Ports::parse(text).ok().and_then(Ports::range).ok_or(Damage::Fields);
    let ports = fields.option(|fields| range(fields.text()?))?;
    Ok(ConnectionSettings { mode: mode.ok_or(Damage::Fields)?, polling_period, ports })
}

impl MailboxRow {
    pub(super) fn write(&self, clock: StoreClock) -> Vec<u8> {
        let Subscription {
            node,
            principal,
            callback,
            host,
            subscriber,
            message_life_time,
            connection,
            dialect,
            upstream,
        } = &self.subscription;
        let text = |row: &mut Encoder, text: &str| _ = row.text(text);
        let mut row = Encoder::with_capacity(256);
        row.wide(self.token.bits())
            .wide(self.poll_key.bits())
            .number(clock.to_stored(self.created))
            .number(clock.to_stored(self.lease_ends))
            .byte(self.ended.into());
        write_connection(&mut row, *connection);
        row.option(self.subscription_id.as_deref(), text)
            .text(node)
            .option(principal.as_deref(), text)
            .option(callback.as_deref(), text)
            .text(host)
            .option(*subscriber, |row, address| _ = row.text(&address.to_string()))
            .option(*message_life_time, |row, wish| {
                row.number(u64::try_from(wish.as_millis()).unwrap_or(u64::MAX));
            })
            .text(dialect)
            .text(upstream);
        row.finish()
    }

    pub(super) fn read(row: &[u8], clock: StoreClock) -> Result<Self, Damage> {
        let mut fields = Decoder::new(row)?;
        let text = |fields: &mut Decoder<'_>| fields.text().map(Box::<str>::from);
        let token = CallbackToken::from_random(fields.wide()?);
        let poll_key = PollKey::from_random(fields.wide()?);
        let created = clock.restore(fields.number()?);
        let lease_ends = clock.restore(fields.number()?);
        let ended = fields.byte()? != 0;
        let connection = read_connection(&mut fields)?;
        Ok(Self {
            token,
            poll_key,
            created,
            lease_ends,
            ended,
            subscription_id: fields.option(text)?,
            subscription: Subscription {
                node: text(&mut fields)?,
                principal: fields.option(text)?,
                callback: fields.option(text)?,
                host: text(&mut fields)?,
                subscriber: fields.option(|fields| fields.text()?.parse().map_err(|_| Damage::Fields))?,
                message_life_time: fields.option(|fields| fields.number().map(Duration::from_millis))?,
                connection,
                // Rows of the first versions end here.
                dialect: fields.added(text)?,
                upstream: fields.added(text)?,
            },
        })
    }
}

/// What a mailbox knows beside its messages.
pub(super) fn write_state(state: Snapshot, clock: StoreClock) -> Vec<u8> {
    let Snapshot { explicit, shared, gap, first_submitted } = state;
    let mut row = Encoder::with_capacity(20);
    row.byte(u8::from(explicit) | u8::from(shared) << 1)
        .number(gap)
        .option(first_submitted, |row, first| _ = row.number(clock.to_stored(first)));
    row.finish()
}

pub(super) fn read_state(row: &[u8], clock: StoreClock) -> Result<Snapshot, Damage> {
    let mut fields = Decoder::new(row)?;
    let flags = fields.byte()?;
    Ok(Snapshot {
        explicit: flags & 1 != 0,
        shared: flags & 2 != 0,
        gap: fields.number()?,
        first_submitted: fields.option(|fields| fields.number().map(|t| clock.restore(t)))?,
    })
}

/// A number that must survive.
pub(super) fn write_number(number: u64) -> Vec<u8> {
    let mut row = Encoder::with_capacity(8);
    row.number(number);
    row.finish()
}

pub(super) fn read_number(row: &[u8]) -> Result<u64, Damage> {
    Decoder::new(row)?.number()
}

/// What the clocks said at a commit.
pub(super) fn write_seen(seen: Seen) -> Vec<u8> {
    let mut row = Encoder::with_capacity(64);
    row.number(seen.stored)
        .number(seen.reading.now.as_millis())
        .number(seen.reading.wall.as_millis())
        .option(seen.reading.boot, |row, boot| {
            row.wide(boot.id).number(u64::try_from(boot.up.as_millis()).unwrap_or(u64::MAX));
        });
    row.finish()
}

pub(super) fn read_seen(row: &[u8]) -> Result<Seen, Damage> {
    let mut fields = Decoder::new(row)?;
    let stored = fields.number()?;
    let now = Timestamp::from_millis(fields.number()?);
    let wall = Timestamp::from_millis(fields.number()?);
    let boot = fields
        .option(|fields| Ok(Boot { id: fields.wide()?, up: Duration::from_millis(fields.number()?) }))?;
    Ok(Seen { stored, reading: Reading { now, wall, boot } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::Class;

    const CLOCK: fn() -> StoreClock = StoreClock::default;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn buffered(class: Class) -> Buffered<Place> {
        Buffered::new(Incoming { class, cost: 77, message: Place(9) }, at(5), at(50))
    }

    #[test]
    fn an_index_row_reads_back() {
        for class in [Class::Message, Class::Presence { key: "kari".into() }] {
            let row = IndexRow::write(MailboxId(3), &buffered(class.clone()), Some(at(4)), CLOCK());
            let back = IndexRow::read(&row, CLOCK()).unwrap();
            assert_eq!((back.mailbox, back.first_submitted), (MailboxId(3), Some(at(4))));
            let message = back.message;
            assert_eq!((message.class(), message.cost, message.message), (&class, 77, Place(9)));
            assert_eq!((message.received, message.expires), (at(5), at(50)));
        }
    }

    #[test]
    fn a_dropped_row_reads_back() {
        for reason in DropReason::ALL {
            let message = buffered(Class::Message);
            let dropped = DroppedMessage { id: EventId(6), message, reason, dropped_at: at(60) };
            let row = DroppedRow::write(MailboxId(3), &dropped, None, CLOCK());
            let back = DroppedRow::read(&row, CLOCK()).unwrap();
            assert_eq!(back.index.mailbox, MailboxId(3));
            let back = back.into_message(EventId(6));
            assert_eq!((back.reason, back.dropped_at, back.message.message), (reason, at(60), Place(9)));
        }
    }

    fn bare() -> MailboxRow {
        MailboxRow {
            token: CallbackToken::from_random(1 << 100),
            poll_key: PollKey::from_random(2),
            created: at(1),
            lease_ends: at(2),
            ended: false,
            subscription_id: None,
            subscription: Subscription::default(),
        }
    }

    #[test]
    fn a_mailbox_row_reads_back() {
        let bare = bare();
        let full = MailboxRow {
            ended: true,
            subscription_id: Some("7".into()),
            subscription: Subscription {
                node: "/n".into(),
                principal: Some("http://p".into()),
                callback: Some("http://c:1".into()),
                host: "h".into(),
                subscriber: Some("2001:db8::1".parse().unwrap()),
                message_life_time: Some(Duration::from_secs(60)),
                connection: ConnectionSettings {
                    mode: DeliveryMode::FixedPorts,
                    polling_period: PollingPeriod::from_minutes(1).unwrap(),
                    ports: Ports::parse("1050-1060").unwrap().range(),
                },
                dialect: "gena".into(),
                upstream: "kitchen".into(),
            },
            ..bare.clone()
        };
        let connection = ConnectionSettings { mode: DeliveryMode::Default, ..ConnectionSettings::default() };
        let called = Subscription { connection, ..full.subscription.clone() };
        let called = MailboxRow { subscription: called, ..full.clone() };
        for row in [bare, full, called] {
            assert_eq!(MailboxRow::read(&row.write(CLOCK()), CLOCK()), Ok(row));
        }
    }

    /// As it was written before there was more than one dialect, and more than one upstream.
    #[test]
    fn a_mailbox_row_of_the_first_versions_reads_back() {
        let mut old = Encoder::with_capacity(100);
        old.wide(1 << 100).wide(2).number(1).number(2).byte(0).byte(POLLING).byte(0);
        old.text("").byte(0).byte(0).text("").byte(0).byte(0);
        assert_eq!(MailboxRow::read(&old.finish(), CLOCK()), Ok(bare()));
    }

    #[test]
    fn the_rest_reads_back() {
        for state in [
            Snapshot::default(),
            Snapshot { explicit: true, shared: true, gap: 3, first_submitted: Some(at(8)) },
        ] {
            assert_eq!(read_state(&write_state(state, CLOCK()), CLOCK()), Ok(state));
        }
        assert_eq!(read_number(&write_number(u64::MAX)), Ok(u64::MAX));
        for boot in [None, Some(Boot { id: 1 << 100, up: Duration::from_secs(3) })] {
            let seen = Seen { stored: 4, reading: Reading { now: at(5), wall: at(6), boot } };
            assert_eq!(read_seen(&write_seen(seen)), Ok(seen));
        }
    }
}
