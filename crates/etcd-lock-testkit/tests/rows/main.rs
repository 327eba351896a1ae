//! etcd's measured answers, row by row: each row of the tables that the model was written from is a test, on the small etcd
//! and on real ones. A test's name is `ETCD::TEST`.
//!
//! The table below is the only list: it makes the tests, and the compiler reports a test that is not in it as unused.
//! Numbers are those of the tables: 3.0 is what is said of all replies, 3.1 the `Lock` service, 3.2 `Lease`, 3.3 `KV`,
//! 3.4 `Watch`, 4.1 what known clients send, 4.2 what they must be answered.
//!
//! These rows are left out, since the small etcd has no members, users, disk or log to do it with: no quorum, no leader,
//! `hasleader` without one, a change of leader, authentication other than its being off, the alarm for no space, too many
//! requests in the log, and how a watch stream ends when a server goes (`etcd-lock-memory`'s own tests look at that).
//! That reads alone are answered without the log shows only in their size.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

mod clients;
mod etcd;
mod kv;
mod lease;
mod lock;
mod stream;
mod txn;
mod watch;
mod watch_start;

/// Makes a module of tests of all rows for each etcd.
macro_rules! rows {
    ($($row:literal => $file:ident::$test:ident;)+) => {
        rows!(@ small_like_3_4 small_like_3_5 real_3_4 real_3_5; [$($row => $file::$test;)+]);
    };
    (@ $($etcd:ident)+; $rows:tt) => {
        $(rows!(@@ $etcd; $rows);)+
    };
    (@@ $etcd:ident; [$($row:literal => $file:ident::$test:ident;)+]) => {
        mod $etcd {
            use crate::etcd::{Etcd, run};
            $(
                #[doc = $row]
                #[test]
                fn $test() {
                    run(Etcd::$etcd, crate::$file::$test);
                }
            )+
        }
    };
}

rows! {
    "3.0 the header; what makes a revision" => lease::what_changes_no_key_makes_no_revision;

    "3.1 Lock, free" => lock::a_free_lock_is_the_name_and_the_lease_in_hex;
    "3.1 name empty, NUL and 0xFF, lease -5; 4.2 empty name" => lock::a_name_is_any_bytes_or_none;
    "3.1 lease 0; 4.2 Lock without lease" => lock::a_lock_without_a_lease_hides_one_that_stays;
    "3.1 same name and lease again, held" => lock::the_same_lease_again_is_granted_again;
    "3.1 same, while the first call still waits"
        => lock::giving_up_deletes_the_key_of_another_wait_with_the_lease;
    "3.1 unknown lease at entry; 4.2 Lock with unknown lease" => lock::an_unknown_lease_is_refused;
    "3.1 lease ends or key deleted while waiting; 4.2 waiter's lease expires"
        => lock::a_waiter_learns_of_its_key_when_its_turn_comes;
    "3.1 contended" => lock::a_wait_ends_when_the_one_before_goes;
    "3.1 caller cancels, deadline passes; 4.2 the same" => lock::who_gives_up_loses_the_key_at_once;
    "3.1 name of 1 MB, of 2 MB" => lock::a_name_that_is_too_large_is_refused;
    "3.1 Unlock of any existing key" => lock::unlock_deletes_any_key;
    "3.1 Unlock of an unknown or empty key; 4.2 the same"
        => lock::unlock_of_no_key_is_fine_and_of_an_empty_one_is_not;

    "3.2 Grant of one second or less; 4.2 the same" => lease::the_least_time_to_live_is_two_seconds;
    "3.2 Grant of nine billion and more; 4.2 the same"
        => lease::the_greatest_time_to_live_is_nine_billion_seconds;
    "3.2 Grant with id 0, given, in use, negative; 4.2 same ID twice"
        => lease::a_number_is_picked_or_taken_once;
    "3.2 Revoke, known" => lease::a_revoke_deletes_all_keys_at_one_revision;
    "3.2 Revoke, unknown or 0; 4.2 the same" => lease::a_revoke_of_no_lease_is_not_found;
    "3.2 KeepAlive, known" => lease::a_keep_alive_tells_the_time_granted;
    "3.2 KeepAlive, unknown, ended, 0; 4.2 the same" => lease::a_keep_alive_of_no_lease_tells_zero;
    "3.2 TimeToLive, known" => lease::time_to_live_tells_what_is_left_and_the_keys;
    "3.2 TimeToLive, unknown; 4.2 the same" => lease::time_to_live_of_no_lease_is_below_zero;
    "3.2 Leases" => lease::leases_are_listed_by_number_alone;
    "3.2 expiry" => lease::an_end_takes_the_keys_and_not_too_early;
    "3.2 re-put with another lease or none" => lease::a_key_put_again_leaves_its_lease;

    "3.3 empty key; 4.2 put of an empty key" => kv::an_empty_key_is_refused;
    "3.3 range_end" => kv::the_end_of_a_range_says_what_it_is_of;
    "3.3 limit with sort or filter; 4.2 range reply" => kv::a_limit_cuts_last_and_the_count_is_of_all;
    "3.3 sort target without an order, bad order" => kv::a_target_without_an_order_sorts_upwards;
    "3.3 revision in the future, compacted; 4.2 range at a future revision"
        => kv::a_read_knows_the_past_and_not_the_future;
    "3.3 the same, of a store that is not compacted yet" => kv::the_first_compaction_may_be_at_zero;
    "3.3 put with unknown lease; 4.2 the same" => kv::a_put_with_no_such_lease_is_not_found;
    "3.3 too large" => kv::a_request_that_is_too_large_is_refused;

    "3.3 put with unknown lease inside a branch" => txn::an_unknown_lease_undoes_the_branch_taken;
    "3.3 compare on a missing key" => txn::a_missing_key_compares_as_zero;
    "3.3 compare over a range" => txn::a_comparison_of_a_range_is_of_all_its_keys;
    "3.3 two puts of a key, put inside a deleted range; 4.2 the same" => txn::a_key_is_not_written_twice;
    "3.3 more than 128 compares or operations" => txn::more_than_128_operations_are_too_many;
    "3.3 empty operation" => txn::an_operation_that_is_none_is_refused;
    "3.3 nested responses" => txn::an_operation_sees_those_before_it;
    "3.3 transaction with only ranges" => txn::a_transaction_that_only_reads_may_be_large;

    "3.4 create" => watch::a_watch_tells_what_comes_after_its_revision;
    "3.4 duplicate id, key ≥ range_end" => watch::an_id_twice_and_an_empty_range_are_refused;
    "3.4 start compacted, start -1" => watch_start::a_start_that_is_compacted_ends_the_watch;
    "3.4 start -1, of a store that is not compacted yet"
        => watch_start::a_start_below_zero_is_now_before_the_first_compaction;
    "3.4 start in the past" => watch_start::a_start_in_the_past_catches_up;
    "3.4 start in the future" => watch_start::a_start_in_the_future_is_waited_for;
    "3.4 cancel of a known or unknown id" => watch::a_cancel_is_answered_if_there_is_such_a_watch;
    "3.4 progress request" => watch::progress_is_told_of_the_whole_stream;
    "3.4 events of one revision" => watch::events_of_one_revision_come_together;
    "3.4 delete event, prev_kv; 4.2 DELETE event" => watch::a_delete_is_told_by_name_and_revision;
    "3.4 filters" => watch::filters_leave_out_puts_or_deletes;
    "3.4 fragment" => watch::a_large_reply_comes_in_pieces_where_they_are_taken;
    "3.4 revoke of a lease" => watch::a_revoked_lease_is_told_at_one_revision;

    "4.1 etcdctl and Go's mutex" => clients::gos_mutex_enters_and_looks_ahead;
    "4.1 Python's etcd3 and aetcd" => clients::pythons_lock_is_taken_and_released_by_value;
    "4.1 node's etcd3" => clients::nodes_lock_is_taken_once;
    "4.1 etcdctl elect, resign" => clients::an_election_is_left_by_revision;
    "4.1 Status, MemberList" => clients::the_one_member_leads;
    "4.1 metadata" => clients::what_clients_tell_of_themselves_is_taken;
    "4.2 Authenticate with auth off" => clients::a_login_is_refused_where_there_are_none;
    "4.2 Health/Check, unknown service" => clients::it_is_healthy_and_knows_no_other_service;
}
