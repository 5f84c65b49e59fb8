//! What was written when. Pure.

use std::collections::{BTreeMap, HashMap};

use super::ClientSetting;
use crate::mailbox::{OwnSettings, Timestamp};
use crate::store::principal_key;

/// A row, by the number of the write, as it shall be; none to be there no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Change {
    Client(u64, Option<ClientSetting>),
    Policy(u64, Option<Box<str>>),
}

/// Every setting and every policy, with the number of the write that made it.
#[derive(Debug, Default)]
pub(in crate::store) struct Book {
    newest: u64,
    clients: BTreeMap<u64, ClientSetting>,
    by_principal: HashMap<Box<str>, u64>,
    policies: HashMap<Box<str>, u64>,
}

impl Book {
    /// What was written before. Returns what is written there twice, and is to be removed.
    pub(in crate::store) fn restore(
        clients: impl IntoIterator<Item = ClientSetting>,
        policies: impl IntoIterator<Item = (u64, Box<str>)>,
    ) -> (Self, Vec<Change>) {
        let mut book = Self::default();
        let mut older = Vec::new();
        for client in clients {
            book.newest = book.newest.max(client.number);
            older.extend(book.put(client));
        }
        for (number, policy) in policies {
            book.newest = book.newest.max(number);
            book.policies.insert(policy, number);
        }
        (book, older)
    }

    /// Takes a setting in; the one before it goes.
    fn put(&mut self, client: ClientSetting) -> Option<Change> {
        let key = principal_key(&client.principal).into();
        let older = self.by_principal.insert(key, client.number);
        self.clients.insert(client.number, client);
        older.map(|older| {
            self.clients.remove(&older);
            Change::Client(older, None)
        })
    }

    fn next(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    pub(super) fn see(&mut self, now: &[String]) -> Vec<Change> {
        let mut changes = Vec::new();
        self.policies.retain(|policy, number| {
            let stays = now.iter().any(|other| **other == **policy);
            if !stays {
                changes.push(Change::Policy(*number, None));
            }
            stays
        });
        for policy in now {
            if !self.policies.contains_key(policy.as_str()) {
                let number = self.next();
                self.policies.insert(policy.as_str().into(), number);
                changes.push(Change::Policy(number, Some(policy.as_str().into())));
            }
        }
        changes
    }

    pub(super) fn write(
        &mut self,
        principal: &str,
        own: OwnSettings,
        most: u64,
        written: Timestamp,
    ) -> Option<(ClientSetting, Vec<Change>)> {
        let is_new = !self.by_principal.contains_key(&*principal_key(principal));
        if is_new && self.clients.len() as u64 >= most {
            return None;
        }
        let client = ClientSetting { number: self.next(), principal: principal.into(), own, written };
        let older = self.put(client.clone());
        let row = Change::Client(client.number, Some(client.clone()));
        Some((client, older.into_iter().chain([row]).collect()))
    }

    pub(super) fn remove(&mut self, principal: &str) -> Vec<Change> {
        let number = self.by_principal.remove(&*principal_key(principal));
        let removed = number.inspect(|number| _ = self.clients.remove(number));
        removed.into_iter().map(|number| Change::Client(number, None)).collect()
    }

    pub(super) fn get(&self, principal: &str) -> Option<ClientSetting> {
        // Most gateways have none: then nobody's key is made.
        let number = (!self.clients.is_empty()).then(|| self.by_principal.get(&*principal_key(principal)));
        self.clients.get(number??).cloned()
    }

    pub(super) fn list(&self, after: Option<u64>, most: usize) -> Vec<ClientSetting> {
        let from = after.map_or(0, |after| after.saturating_add(1));
        self.clients.range(from..).take(most).map(|(_, client)| client.clone()).collect()
    }

    pub(super) fn number_of(&self, policy: &str) -> Option<u64> {
        self.policies.get(policy).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(policies: &[&str]) -> Vec<String> {
        policies.iter().map(|policy| (*policy).to_owned()).collect()
    }

    /// A rule that rows follow must hold: who applies the changes knows what the book knows.
    #[test]
    fn the_changes_make_the_same_book() {
        let mut book = Book::default();
        let (mut clients, mut policies) = (BTreeMap::new(), BTreeMap::new());
        let at = Timestamp::from_millis;
        let own = OwnSettings::default();
        for step in 0..40_u64 {
            let who = format!("http://h/{}", step % 5);
            let changes = match step % 4 {
                0 => book.see(&texts(&["a", ["b", "c", "d"][step as usize % 3]])),
                3 => book.remove(&who),
                _ => book.write(&who, own, 100, at(step)).unwrap().1,
            };
            for change in changes {
                match change {
                    Change::Client(number, Some(client)) => _ = clients.insert(number, client),
                    Change::Client(number, None) => assert!(clients.remove(&number).is_some()),
                    Change::Policy(number, Some(policy)) => _ = policies.insert(number, policy),
                    Change::Policy(number, None) => assert!(policies.remove(&number).is_some()),
                }
            }
            let (again, older) = Book::restore(clients.values().cloned(), policies.clone());
            assert_eq!(older, []);
            assert_eq!(again.list(None, 100), book.list(None, 100));
            assert_eq!(again.policies, book.policies);
            assert_eq!(again.by_principal, book.by_principal);
        }
    }

    #[test]
    fn of_two_rows_of_one_principal_the_later_one_counts() {
        let row = |number, principal: &str| ClientSetting {
            number,
            principal: principal.into(),
            own: OwnSettings::default(),
            written: Timestamp::from_millis(number),
        };
        let (book, older) = Book::restore([row(3, "http://h/kari"), row(5, "H/Kari/")], []);
        assert_eq!(older, [Change::Client(3, None)]);
        assert_eq!(book.get("h/kari").unwrap().number, 5);
        assert_eq!(book.list(None, 10).len(), 1);
    }
}
