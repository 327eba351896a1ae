//! etcd's answers as they are on the wire: what locks can be caught by, the codes and texts of refusals, where watches start.
//! Each is asked of the in-memory etcd and of real ones. A test's name is `ETCD::FACTS`, and it prints the name of each.
//!
//! The answers that every transport must give are asked for by `conformance`, and the rest by the differential test, at
//! random. The table below is the only list: it makes the tests, and the compiler reports a fact that is not in it as unused.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

mod etcd;
mod kv;
mod lease;
mod lock;
mod services;
mod stream;
mod txn;
mod watch;
mod watch_start;

/// Makes a module of tests of all facts for each etcd. Facts that leave nothing behind share an etcd, one after the other.
macro_rules! facts {
    ($($test:ident: $($file:ident::$fact:ident),+;)+) => {
        facts!(@ memory_like_3_4 memory_like_3_5 real_3_4 real_3_5; [$($test: $($file::$fact),+;)+]);
    };
    (@ $($etcd:ident)+; $facts:tt) => {
        $(facts!(@@ $etcd; $facts);)+
    };
    (@@ $etcd:ident; [$($test:ident: $($file:ident::$fact:ident),+;)+]) => {
        mod $etcd {
            use crate::etcd::{Etcd, run};
            $(
                #[test]
                fn $test() {
                    run(Etcd::$etcd, async |etcd| {
                        $(
                            println!("{}", stringify!($fact));
                            crate::$file::$fact(etcd).await;
                        )+
                    });
                }
            )+
        }
    };
}

facts! {
    lock_with_a_hidden_lease: lock::a_lock_without_a_lease_hides_one_that_stays;
    lock_twice_with_a_lease: lock::giving_up_deletes_the_key_of_another_wait_with_the_lease;
    lock_whose_key_is_gone: lock::a_waiter_learns_of_its_key_when_its_turn_comes;
    lock_that_is_given_up: lock::who_gives_up_loses_the_key_at_once;
    locks_without_waiting:
        lock::a_name_is_any_bytes_or_none,
        lock::the_same_lease_again_is_granted_again,
        lock::an_unknown_lease_is_refused,
        lock::a_name_that_is_too_large_is_refused,
        lock::unlock_deletes_any_key,
        lock::unlock_of_no_key_is_fine_and_of_an_empty_one_is_not;
    leases:
        lease::the_greatest_time_to_live_is_nine_billion_seconds,
        lease::a_number_is_picked_or_taken_once,
        lease::a_revoke_of_no_lease_is_not_found,
        lease::a_keep_alive_of_no_lease_tells_zero,
        lease::time_to_live_of_no_lease_is_below_zero;
    keys:
        kv::a_put_with_no_such_lease_is_not_found,
        kv::a_request_that_is_too_large_is_refused,
        txn::a_key_is_not_written_twice,
        txn::more_than_128_operations_are_too_many,
        kv::a_read_knows_the_past_and_not_the_future;
    watches:
        watch::an_id_twice_and_an_empty_range_are_refused,
        watch::a_cancel_is_answered_if_there_is_such_a_watch,
        watch::progress_is_told_of_the_whole_stream,
        watch::a_large_reply_comes_in_pieces_where_they_are_taken;
    watch_from_the_compacted: watch_start::a_start_that_is_compacted_ends_the_watch;
    watch_from_below_zero: watch_start::a_start_below_zero_is_now_before_the_first_compaction;
    services:
        services::a_login_is_refused_where_there_are_none,
        services::it_is_healthy_and_knows_no_other_service;
}
