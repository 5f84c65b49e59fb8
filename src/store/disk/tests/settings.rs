//! What users set is there after a restart, with its place in the order of writes.

use super::simulated::Disk;
use super::*;
use crate::mailbox::OwnSettings;
use crate::store::{ClientSetting, WriteError};

const CAPS: Caps = Caps { mailboxes: 100, bytes: 1 << 30 };
const KARI: &str = "http://h/kari";

fn open(disk: &Disk) -> DiskStore {
    disk.open(options(CAPS))
}

/// The process is killed; a new one opens the store.
fn kill(disk: &Disk, store: DiskStore) -> DiskStore {
    disk.cut(0);
    drop(store);
    open(disk)
}

fn sees(store: &DiskStore, policies: &[&str]) {
    let policies = policies.iter().map(|policy| (*policy).to_owned()).collect();
    store.clients().see_policies(|| policies);
}

async fn write(store: &DiskStore, principal: &str) -> Result<ClientSetting, WriteError> {
    store.clients().write(principal, OwnSettings::default(), 100, Timestamp::from_millis(7)).await
}

fn is_overruled(store: &DiskStore, policy: &str) -> bool {
    store.clients().is_overruled(&store.clients().get(KARI).unwrap(), policy)
}

#[tokio::test]
async fn a_setting_is_there_after_a_power_cut_as_soon_as_it_is_answered() {
    let disk = Disk::default();
    let store = open(&disk);
    write(&store, "http://h/alan").await.unwrap();
    let written = write(&store, KARI).await.unwrap();
    let replaced = write(&store, "http://h/ALAN").await.unwrap();
    let store = kill(&disk, store);
    assert_eq!(store.clients().list(None, 10), [written.clone(), replaced.clone()]);
    assert_eq!(store.clients().remove(KARI).await, Ok(true));
    let store = kill(&disk, store);
    assert_eq!(store.clients().list(None, 10), std::slice::from_ref(&replaced));
    assert!(write(&store, KARI).await.unwrap().number > replaced.number);
}

#[tokio::test]
async fn the_order_of_policies_and_settings_outlives_the_process() {
    let disk = Disk::default();
    let store = open(&disk);
    sees(&store, &["a", "b"]);
    write(&store, KARI).await.unwrap();
    let store = kill(&disk, store);
    sees(&store, &["a", "c"]);
    assert!(!is_overruled(&store, "a") && is_overruled(&store, "c"));
    store.close().await;
    drop(store);
    let store = open(&disk);
    sees(&store, &["a", "c"]);
    assert!(!is_overruled(&store, "a") && is_overruled(&store, "c"), "nothing was written since");
    write(&store, KARI).await.unwrap();
    let store = kill(&disk, store);
    sees(&store, &["a", "c"]);
    assert!(!is_overruled(&store, "a") && !is_overruled(&store, "c"));
}

#[tokio::test]
async fn a_file_from_before_there_were_settings_opens() {
    let disk = Disk::default();
    let store = open(&disk);
    let mailbox = store.create(crate::store::contract::new_mailbox(1, Timestamp::MAX)).await.unwrap();
    store.close().await;
    drop(store);
    // As an older version left it: nothing makes these tables before there is something in them.
    let database = disk.mount(&redb::Builder::new());
    let tables: Vec<String> = {
        use redb::{ReadableDatabase, TableHandle};
        let transaction = database.begin_read().unwrap();
        transaction.list_tables().unwrap().map(|table| table.name().to_owned()).collect()
    };
    assert!(
        !tables.iter().any(|name| [Table::Clients.name(), Table::Policies.name()].contains(&name.as_str()))
    );
    drop(database);
    let store = open(&disk);
    assert_eq!(store.report(mailbox).unwrap().id, mailbox);
    assert_eq!(store.clients().list(None, 10), []);
    write(&store, KARI).await.unwrap();
}

#[tokio::test]
async fn a_setting_that_cannot_be_read_is_put_aside() {
    let disk = Disk::default();
    let store = open(&disk);
    let (first, second) = (write(&store, "http://h/alan").await.unwrap(), write(&store, KARI).await.unwrap());
    store.close().await;
    drop(store);
    let database = disk.mount(&redb::Builder::new());
    let mut staged = tables::Staged::default();
    staged.put(Put::row(Table::Clients, first.number, b"nonsense".to_vec()));
    staged.commit(&database).unwrap();
    drop(database);
    let store = open(&disk);
    assert_eq!(store.clients().list(None, 10), [second]);
    assert_eq!(store.status().disk.quarantined, 1);
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_promised() {
    let disk = Disk::default();
    let store = open(&disk);
    disk.fail_syncs(1000);
    assert_eq!(write(&store, KARI).await, Err(WriteError::Unavailable));
    assert_eq!(write(&store, KARI).await, Err(WriteError::Unavailable));
    assert_eq!(store.clients().remove(KARI).await, Err(WriteError::Unavailable));
}
