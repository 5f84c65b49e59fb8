//! What every store must do: one suite, run on all of them.
//!
//! [`store_contract!`] makes a test of each rule, for a store that `make(caps)` makes. A rule is a function
//! of a [`Ground`]: a new store, with the steps that the rules have in common.

pub(crate) mod caps;
pub(crate) mod concurrent;
pub(crate) mod delivering;
pub(crate) mod ending;
pub(crate) mod finding;
mod ground;
pub(crate) mod operating;
pub(crate) mod random;
pub(crate) mod setting;
pub(crate) mod taking;

pub(crate) use ground::{Ground, message, new_mailbox};

/// A test for each rule of the contract.
macro_rules! store_contract {
    ($make:expr) => {
        $crate::store::contract::store_contract! { $make,
            finding::by_token_and_poll_key,
            finding::by_the_upstreams_id,
            finding::a_new_id_takes_the_place_of_the_old_one,
            finding::a_new_poll_key_takes_the_place_of_the_old_one,
            finding::a_mailbox_that_was_handed_on_is_polled_with_the_newer_one,
            finding::by_principal,
            finding::what_is_known_of_a_mailbox,
            taking::messages_leave_in_order_when_they_are_acknowledged,
            taking::an_answer_that_was_written_is_acknowledged_by_the_next_poll,
            taking::a_broken_answer_is_handed_out_again,
            taking::a_stream_goes_on_behind_what_it_carried,
            taking::a_batch_has_its_bounds,
            taking::a_newer_poll_takes_the_turn,
            taking::the_bell_rings_for_whoever_has_the_turn,
            taking::a_wake_up_is_never_lost,
            taking::with_life_time_zero_only_a_held_poll_gets_messages,
            taking::a_gap_is_told_until_an_answer_with_it_is_acknowledged,
            taking::who_waits_for_a_message_to_leave_is_told,
            delivering::messages_are_delivered_in_order_one_at_a_time,
            delivering::only_mailboxes_to_be_called_are_named,
            delivering::a_poll_takes_the_turn_from_a_deliverer,
            delivering::a_deliverer_takes_the_turn_from_no_poll,
            delivering::what_an_answer_carried_is_left_to_the_client,
            delivering::the_end_of_a_mailbox_ends_its_delivery,
            delivering::who_waits_for_a_delivered_message_is_told,
            ending::the_end_abandons_what_is_left,
            ending::a_lease_ends_and_may_be_prolonged_or_shortened,
            ending::messages_expire,
            ending::dropped_messages_are_kept_for_their_time,
            ending::an_ended_mailbox_does_nothing,
            operating::mailboxes_are_listed_page_by_page,
            operating::mailboxes_are_listed_by_principal_and_state,
            operating::a_report_says_what_is_in_a_mailbox,
            operating::to_peek_hands_nothing_out,
            operating::dropped_messages_may_be_looked_at,
            operating::a_replay_offers_dropped_messages_again,
            operating::a_replay_needs_a_live_mailbox_and_room_in_the_store,
            operating::a_purge_drops_everything_and_says_so,
            setting::a_users_setting_is_kept_until_it_is_replaced_or_removed,
            setting::users_settings_are_bounded_and_listed_page_by_page,
            setting::of_a_policy_and_a_users_setting_the_last_one_written_counts,
            setting::polls_in_vain_are_remembered_for_their_mailbox,
            caps::mailboxes_are_bounded,
            caps::a_principal_and_an_address_have_a_share_of_mailboxes,
            caps::bytes_are_bounded,
            caps::a_smaller_limit_removes_nothing,
            caps::totals_follow_every_step,
            concurrent::a_thousand_mailboxes_at_once,
            concurrent::what_was_accepted_is_taken_or_counted_as_lost,
            random::whatever_happens_the_totals_are_right,
        }
    };
    ($make:expr, $($topic:ident::$rule:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                use $crate::store::contract::{$topic, Ground};
                $topic::$rule(Ground::new(std::sync::Arc::new($make))).await;
            }
        )*
    };
}
pub(crate) use store_contract;
