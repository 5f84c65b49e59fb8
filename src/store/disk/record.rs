//! The records of message bodies: written once, under the number with which the message arrived.

use bytes::Bytes;
use crc32fast::Hasher;

use super::codec::{Damage, Decoder, Encoder, seal_with};
use crate::mailbox::{Class, MailboxId, Message};

/// Where a message's body is: under its arrival number, which no other body ever gets. A state that replaces
/// another in place takes over its id, and not its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(pub(super) u64);

/// Mailbox and place: known only under the mailbox's lock.
const OWNER: usize = 16;

/// A record whose owner is not known yet: everything that takes time is done before the lock.
#[derive(Debug)]
pub(super) struct Draft {
    row: Vec<u8>,
    payload: Hasher,
}

impl Draft {
    pub(super) fn new(message: &Message) -> Self {
        let Message { method, header_lines, body, class } = message;
        let size = OWNER + 3 * 4 + 32 + method.len() + header_lines.len() + body.len();
        let mut row = Encoder::with_capacity(size);
        row.number(0).number(0).text(method);
        write_class(&mut row, class);
        row.bytes(header_lines).bytes(body);
        let (row, payload) = row.unsealed(OWNER);
        Self { row, payload }
    }

    /// The record of this mailbox, for this place.
    pub(super) fn finish(mut self, mailbox: MailboxId, place: Place) -> Vec<u8> {
        let mut owner = [0; OWNER];
        owner[..8].copy_from_slice(&mailbox.0.to_le_bytes());
        owner[8..].copy_from_slice(&place.0.to_le_bytes());
        seal_with(&mut self.row, &owner, &self.payload);
        self.row
    }
}

/// The message of a record that must belong to this mailbox and stand in this place.
pub(super) fn read(record: &[u8], mailbox: MailboxId, place: Place) -> Result<Message, Damage> {
    let mut fields = Decoder::new(record)?;
    if (fields.number()?, fields.number()?) != (mailbox.0, place.0) {
        return Err(Damage::Fields);
    }
    Ok(Message {
        method: fields.text()?.into(),
        class: read_class(&mut fields)?,
        header_lines: Bytes::copy_from_slice(fields.bytes()?),
        body: Bytes::copy_from_slice(fields.bytes()?),
    })
}

/// Whose record it is, if that can be read.
pub(super) fn owner(record: &[u8]) -> Option<MailboxId> {
    Decoder::new(record).and_then(|mut fields| fields.number()).ok().map(MailboxId)
}

pub(super) fn write_class(row: &mut Encoder, class: &Class) {
    match class {
        Class::Message => row.byte(0),
        Class::Presence { key } => row.byte(1).text(key),
        Class::Typing { key } => row.byte(2).text(key),
    };
}

pub(super) fn read_class(fields: &mut Decoder<'_>) -> Result<Class, Damage> {
    Ok(match fields.byte()? {
        0 => Class::Message,
        1 => Class::Presence { key: fields.text()?.into() },
        2 => Class::Typing { key: fields.text()?.into() },
        _ => return Err(Damage::Fields),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(class: Class) -> Message {
        Message {
            method: "NOTIFY".into(),
            header_lines: Bytes::from_static(b"A: b\r\n"),
            body: Bytes::from_static(b"\0\xffbody"),
            class,
        }
    }

    #[test]
    fn a_message_reads_back_in_its_place_and_in_no_other() {
        let (mailbox, place) = (MailboxId(3), Place(1 << 50));
        for class in [Class::Message, Class::Presence { key: "a".into() }, Class::Typing { key: "".into() }] {
            let message = message(class);
            let record = Draft::new(&message).finish(mailbox, place);
            assert_eq!(read(&record, mailbox, place).as_ref(), Ok(&message));
            assert_eq!(read(&record, MailboxId(4), place), Err(Damage::Fields));
            assert_eq!(read(&record, mailbox, Place(1)), Err(Damage::Fields));
        }
    }

    #[test]
    fn a_flipped_bit_in_a_body_is_damage() {
        let mut record = Draft::new(&message(Class::Message)).finish(MailboxId(1), Place(1));
        *record.last_mut().unwrap() ^= 1;
        assert_eq!(read(&record, MailboxId(1), Place(1)), Err(Damage::Checksum));
    }
}
