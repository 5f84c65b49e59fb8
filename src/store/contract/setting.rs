//! What users set for themselves, and the policies beside it.

use super::Ground;
use super::ground::s;
use crate::mailbox::{DeliveryMode, OwnSettings, Pace, PollingPeriod, Ports, Timestamp};
use crate::store::{EndedBy, Lookup, WriteError};

const KARI: &str = "http://im.example/instmsg/aliases/kari";
const ALAN: &str = "http://im.example/instmsg/aliases/alan";
const AT: Timestamp = Timestamp::from_millis(5);

fn fixed(ports: &str) -> OwnSettings {
    OwnSettings {
        mode: DeliveryMode::FixedPorts,
        polling_period: PollingPeriod::from_minutes(3).unwrap(),
        ports: Some(Ports::parse(ports).unwrap()),
    }
}

impl Ground {
    async fn sets(&self, principal: &str, own: OwnSettings) -> u64 {
        self.store.clients().write(principal, own, 100, AT).await.unwrap().number
    }

    fn sees(&self, policies: &[&str]) {
        let policies = policies.iter().map(|policy| (*policy).to_owned()).collect();
        self.store.clients().see_policies(|| policies);
    }

    /// Whether kari's own setting counts where this policy applies.
    fn own_counts(&self, policy: &str) -> bool {
        let clients = self.store.clients();
        !clients.is_overruled(&clients.get(KARI).unwrap(), policy)
    }
}

pub(crate) async fn a_users_setting_is_kept_until_it_is_replaced_or_removed(ground: Ground) {
    let clients = ground.store.clients();
    assert_eq!(clients.get(KARI), None);
    let first = ground.sets(KARI, fixed("80-90")).await;
    let found = clients.get("HTTP://im.example:80/instmsg/aliases/Kari/").unwrap();
    assert_eq!((found.number, &*found.principal, found.written), (first, KARI, AT));
    assert_eq!(found.own, fixed("80-90"), "as it was typed");
    assert_eq!(clients.get(ALAN), None);
    let second = ground.sets("im.example/instmsg/aliases/KARI", fixed("1050")).await;
    assert!(second > first);
    assert_eq!(clients.get(KARI).unwrap().own, fixed("1050"));
    assert_eq!(clients.list(None, 10).len(), 1);
    assert_eq!(clients.remove(KARI).await, Ok(true));
    assert_eq!(clients.remove(KARI).await, Ok(false));
    assert_eq!((clients.get(KARI), clients.list(None, 10)), (None, vec![]));
}

pub(crate) async fn users_settings_are_bounded_and_listed_page_by_page(ground: Ground) {
    let clients = ground.store.clients();
    let kari = ground.sets(KARI, fixed("1050")).await;
    let alan = ground.sets(ALAN, fixed("1051")).await;
    let write = async |principal| clients.write(principal, fixed("1052"), 2, AT).await;
    assert_eq!(write("http://im.example/third").await, Err(WriteError::TooMany));
    let again = write(KARI).await.unwrap().number;
    let numbers = |after, most| clients.list(after, most).iter().map(|one| one.number).collect::<Vec<_>>();
    assert!(again > alan && alan > kari);
    assert_eq!(numbers(None, 10), [alan, again]);
    assert_eq!(numbers(None, 1), [alan]);
    assert_eq!(numbers(Some(alan), 1), [again]);
    assert_eq!(numbers(Some(u64::MAX), 1), [0; 0]);
    clients.remove(ALAN).await.unwrap();
    assert!(write("http://im.example/third").await.is_ok());
}

pub(crate) async fn of_a_policy_and_a_users_setting_the_last_one_written_counts(ground: Ground) {
    ground.sees(&["a", "b"]);
    ground.sets(KARI, fixed("1050")).await;
    assert!(ground.own_counts("a") && ground.own_counts("b"));
    // Again the same, in another order: nothing was written.
    ground.sees(&["b", "a"]);
    assert!(ground.own_counts("a") && ground.own_counts("b"));
    ground.sees(&["b", "a changed"]);
    assert!(!ground.own_counts("a changed") && ground.own_counts("b"));
    assert!(!ground.own_counts("never seen"));
    ground.sets(KARI, fixed("1051")).await;
    assert!(ground.own_counts("a changed"));
    // One that went away and comes back is written then.
    ground.sees(&["a changed"]);
    ground.sees(&["a changed", "b"]);
    assert!(ground.own_counts("a changed") && !ground.own_counts("b"));
}

pub(crate) async fn polls_in_vain_are_remembered_for_their_mailbox(ground: Ground) {
    let (one, other) = (ground.mailbox().await, ground.mailbox().await);
    let pace = async |n| {
        let found = ground.store.find(Lookup::Principal(&format!("http://im.example/people/{n}")));
        found[0].pace
    };
    for _ in 0..2 {
        ground.store.polled_in_vain(one, s(7), ground.now);
    }
    let twice = Pace::default().after_a_vain_poll(s(7), ground.now).after_a_vain_poll(s(7), ground.now);
    assert_eq!((pace(1).await, pace(2).await), (twice, Pace::default()));
    ground.store.end(other, EndedBy::Other, &ground.limits, ground.now).await.unwrap();
    ground.store.polled_in_vain(other, s(7), ground.now);
}
