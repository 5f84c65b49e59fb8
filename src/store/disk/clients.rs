//! What users set for themselves, and the policies that were seen, as rows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::codec::{Damage, Decoder, Encoder};
use super::status::Status;
use super::tables::{Put, Table};
use super::writer::Handle;
use crate::mailbox::{DeliveryMode, OwnSettings, PollingPeriod, Ports, Timestamp};
use crate::store::ClientSetting;
use crate::store::clients::{Change, Keep};
use crate::store::engine::Receipt;

/// Follows the settings to the disk.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) writer: Handle,
    pub(super) status: Arc<Status>,
}

impl Keep for Keeper {
    fn is_able(&self) -> bool {
        !self.status.broken.load(Relaxed) && !self.status.no_space.load(Relaxed)
    }

    fn keep(&self, changes: Vec<Change>) -> Receipt {
        Receipt::when(self.writer.write_and_tell(changes.into_iter().map(client_put).collect()))
    }
}

/// What is to be written for a change.
pub(super) fn client_put(change: Change) -> Put {
    match change {
        Change::Client(number, Some(client)) => Put::row(Table::Clients, number, write_client(&client)),
        Change::Client(number, None) => Put::no_row(Table::Clients, number),
        Change::Policy(number, Some(policy)) => {
            let mut row = Encoder::with_capacity(policy.len() + 4);
            row.text(&policy);
            Put::row(Table::Policies, number, row.finish())
        }
        Change::Policy(number, None) => Put::no_row(Table::Policies, number),
    }
}

/// The time is the wall clock's, and not counted by: it is stored as it is.
fn write_client(client: &ClientSetting) -> Vec<u8> {
    let ClientSetting { number: _, principal, own, written } = client;
    let mut row = Encoder::with_capacity(principal.len() + 48);
    row.text(principal)
        .number(own.mode.flag().into())
        .byte(own.polling_period.minutes())
        .option(own.ports, |row, ports| _ = row.text(&ports.to_string()))
        .number(written.as_millis());
    row.finish()
}

pub(super) fn read_client(number: u64, row: &[u8]) -> Result<ClientSetting, Damage> {
    let mut fields = Decoder::new(row)?;
    let principal = fields.text()?.into();
    let mode =
        u32::try_from(fields.number()?).ok().and_then(DeliveryMode::from_flag).ok_or(Damage::Fields)?;
    let polling_period = PollingPeriod::from_minutes(fields.byte()?.into()).map_err(|_| Damage::Fields)?;
    let ports = fields.option(|fields| Ports::parse(fields.text()?).map_err(|_| Damage::Fields))?;
    let written = Timestamp::from_millis(fields.number()?);
    Ok(ClientSetting { number, principal, own: OwnSettings { mode, polling_period, ports }, written })
}

pub(super) fn read_policy(row: &[u8]) -> Result<Box<str>, Damage> {
    Decoder::new(row)?.text().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back() {
        for (mode, ports) in DeliveryMode::ALL.into_iter().zip([None, Some("1050-1060"), Some("80")]) {
            let ports = ports.map(|ports| Ports::parse(ports).unwrap());
            let own = OwnSettings { mode, polling_period: PollingPeriod::from_minutes(7).unwrap(), ports };
            let written = Timestamp::from_millis(8);
            let client = ClientSetting { number: 9, principal: "http://h/kari".into(), own, written };
            let put = client_put(Change::Client(9, Some(client.clone())));
            assert_eq!((put.table, put.key), (Table::Clients, 9));
            assert_eq!(read_client(9, &put.row.unwrap()), Ok(client));
        }
        let put = client_put(Change::Policy(3, Some("a policy".into())));
        assert_eq!((put.table, put.key), (Table::Policies, 3));
        assert_eq!(read_policy(&put.row.unwrap()), Ok("a policy".into()));
    }
}
