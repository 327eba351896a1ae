//! The checks, and the one list of them all.
//!
//! Each is an async function over a [`TestContext`](crate::TestContext) that panics when something is not as it must be. The list in
//! [`conformance!`](crate::conformance!) is the only one: what is not in it doesn't run anywhere, and the compiler
//! reports it as unused nowhere, so a unit test below compares it with the functions that there are.

pub mod bad_input;
pub mod compare;
pub mod crossing;
pub mod eetcd;
pub mod exclusion;
pub mod grant;
pub mod keep_alive;
pub mod lease_loss;
pub mod leases;
pub mod names;
pub mod queue;
pub mod range;
pub mod release;
pub mod timeouts;
pub mod txn;
pub mod watch;
pub mod withdrawal;

/// Makes a module of named tests for one backend. Which checks it has is the first argument:
///
/// | checks | |
/// | --- | --- |
/// | `locks` | of locks and keep-alives. They take names of their own, so that they can share an etcd. |
/// | `together` | those of `locks` in which clients of two kinds can do each other harm |
/// | `keys` | of keys, leases, watches and input, which a queue passes through: for plain transports. They look at the revisions of the whole store. |
/// | `keys_in_turn` | the same as one test, on one etcd that is emptied before each check; it reports each by name |
///
/// After that it takes the module's name, the [`Clock`](crate::Clock) that the backend lives by, and the path of an async
/// function that starts it, as they are in [`backends`](crate::backends).
#[macro_export]
macro_rules! conformance {
    (locks, $backend:ident, $clock:ident, $start:path) => {
        mod $backend {
            $crate::conformance! { @each $clock, $start;
                eetcd {
                    acquire_and_release,
                    reacquire_after_the_first_lease_expired,
                    second_session_times_out_and_the_holder_unlocks,
                }
                grant {
                    key_is_the_name_and_the_lease_in_hex,
                    key_is_attached_to_the_lease,
                    token_is_the_create_revision_of_the_key,
                    tokens_grow_from_holder_to_holder,
                    header_is_filled_in,
                    same_lease_twice_is_one_acquisition,
                    great_lease_number_works,
                }
                names {
                    different_names_are_independent,
                    one_connection_two_leases_exclude_each_other,
                    name_that_begins_like_another_is_independent,
                    longest_name_works,
                    names_of_any_bytes_work_and_do_not_clash,
                    name_with_a_slash_does_not_wait_for_its_parent,
                    parent_waits_for_a_nested_name_or_not_as_promised,
                    foreign_key_below_the_name_blocks_or_not_as_promised,
                }
                queue {
                    waiters_are_granted_in_order_of_arrival,
                    waiters_of_one_connection_are_granted_in_order,
                    waiter_that_leaves_does_not_let_the_next_one_in,
                    entry_of_another_client_is_waited_for,
                    entry_of_another_client_behind_ours_is_not_waited_for,
                    unlock_while_many_wait_on_one_connection,
                }
                timeouts {
                    least_timeout_ends,
                    greatest_timeout_works,
                    endless_wait_is_granted,
                }
                release {
                    unlock_of_an_unknown_key_is_fine,
                    unlock_twice_is_fine,
                    another_client_can_unlock_with_the_key,
                    unlock_of_exactly_this_hold_releases_it,
                    late_unlock_spares_a_newer_hold,
                    hold_with_a_changed_value_can_be_released,
                }
                withdrawal {
                    timeout_leaves_no_key,
                    dropped_wait_leaves_no_key,
                    drop_at_every_poll_of_a_free_lock_leaves_no_key,
                    drop_at_every_poll_of_a_wait_leaves_no_key,
                    waits_dropped_at_random_moments_leave_no_key,
                    endless_wait_can_be_dropped,
                    refused_lock_leaves_no_key,
                    waiting_again_with_the_same_lease_is_granted_for_good,
                }
                crossing {
                    timeout_that_crosses_the_grant_is_one_or_the_other,
                    drop_that_crosses_the_grant_leaves_no_key,
                    revoked_lease_that_crosses_the_grant_leaves_no_key,
                    giving_up_after_an_earlier_hold_leaves_no_key,
                }
                lease_loss {
                    unknown_lease_is_refused,
                    revoked_lease_is_refused,
                    lease_revoked_while_holding_frees_the_lock,
                    lease_that_expires_while_holding_frees_the_lock,
                    lease_revoked_while_waiting_ends_the_wait,
                    lease_that_expires_while_waiting_ends_the_wait,
                    waiter_without_a_lease_is_never_granted,
                    entry_deleted_while_waiting_ends_the_wait,
                    new_lease_can_lock_after_the_old_one_was_lost,
                }
                exclusion {
                    counter_under_the_lock_loses_nothing,
                    counter_without_a_lock_loses_updates,
                    never_two_holders_at_once,
                }
                keep_alive {
                    keep_alive_renews,
                    keep_alives_are_answered_in_order,
                    keep_alive_of_an_unknown_lease_answers_none,
                    keep_alive_of_a_lease_that_ended_answers_none,
                }
            }
        }
    };
    (together, $backend:ident, $clock:ident, $start:path) => {
        mod $backend {
            $crate::conformance! { @each $clock, $start;
                names {
                    different_names_are_independent,
                    one_connection_two_leases_exclude_each_other,
                    name_that_begins_like_another_is_independent,
                    longest_name_works,
                    names_of_any_bytes_work_and_do_not_clash,
                    name_with_a_slash_does_not_wait_for_its_parent,
                    parent_waits_for_a_nested_name_or_not_as_promised,
                    foreign_key_below_the_name_blocks_or_not_as_promised,
                }
                queue {
                    waiters_are_granted_in_order_of_arrival,
                    waiters_of_one_connection_are_granted_in_order,
                    waiter_that_leaves_does_not_let_the_next_one_in,
                    entry_of_another_client_is_waited_for,
                    entry_of_another_client_behind_ours_is_not_waited_for,
                    unlock_while_many_wait_on_one_connection,
                }
                crossing {
                    timeout_that_crosses_the_grant_is_one_or_the_other,
                    drop_that_crosses_the_grant_leaves_no_key,
                    revoked_lease_that_crosses_the_grant_leaves_no_key,
                    giving_up_after_an_earlier_hold_leaves_no_key,
                }
                exclusion {
                    counter_under_the_lock_loses_nothing,
                    counter_without_a_lock_loses_updates,
                    never_two_holders_at_once,
                }
            }
        }
    };
    (keys, $backend:ident, $clock:ident, $start:path) => {
        mod $backend {
            $crate::conformance! { @keys each $clock, $start }
        }
    };
    (keys_in_turn, $backend:ident, $clock:ident, $start:path) => {
        mod $backend {
            $crate::conformance! { @keys in_turn $clock, $start }
        }
    };
    (@keys $how:ident $clock:ident, $start:path) => {
        $crate::conformance! { @$how $clock, $start;
            bad_input {
                empty_name_is_refused,
                name_of_2_mib_is_refused,
                lease_zero_is_refused,
                negative_lease_is_refused,
                missing_parts_are_named,
                empty_key_is_refused,
                zero_timeout_is_refused,
                unknown_connection_is_refused,
                connection_name_is_opened_once,
                impossible_times_to_live_are_refused,
            }
            range {
                one_key_is_read_with_its_numbers,
                key_that_comes_back_starts_over,
                prefix_is_read_in_order,
                ends_of_ranges_are_etcds,
                limit_cuts_and_counts_all,
                sorts_by_every_target,
                values_and_keys_can_be_left_out,
                serializable_reads_answer,
                past_revisions_can_be_read,
                newer_keys_can_be_left_out,
                empty_key_is_refused,
            }
            compare {
                compares_every_target_with_every_operator,
                missing_key_compares_as_zero,
                missing_key_has_no_value_to_compare,
                all_conditions_must_hold,
            }
            txn {
                only_one_branch_is_done,
                operations_see_those_before_them,
                what_changes_nothing_makes_no_revision,
                previous_values_are_told,
                key_written_twice_is_refused,
                too_many_operations_are_refused,
                empty_key_is_refused,
                unknown_lease_undoes_all_of_it,
                too_large_requests_are_refused,
            }
            leases {
                short_time_to_live_is_raised,
                own_number_is_taken_once,
                numbers_of_the_server_differ,
                time_to_live_tells_what_is_left_and_the_keys,
                time_to_live_leaves_keys_out_unless_asked,
                time_to_live_of_an_unknown_lease_is_none,
                leases_are_listed,
                revoke_deletes_the_keys_in_one_revision,
                revoke_without_keys_makes_no_revision,
                revoke_of_an_unknown_lease_is_refused,
                expiry_deletes_the_keys_and_not_too_early,
                key_put_again_leaves_its_lease,
            }
            watch {
                watch_is_on_and_then_tells_events,
                watch_of_a_key_is_of_that_key,
                watch_of_a_prefix_is_of_all_below,
                watch_tells_previous_values,
                watch_leaves_out_what_is_not_wanted,
                two_watches_share_a_stream,
                cancelled_watch_falls_silent,
                id_in_use_is_refused,
                watch_from_the_past_catches_up,
                watch_from_the_future_waits_for_it,
                events_of_one_revision_come_together,
                revoked_lease_is_told_as_deletes,
                expired_lease_is_told_as_a_delete,
                progress_is_told_when_asked_for,
                stream_outlives_another_of_its_client,
            }
        }
    };
    (@each $clock:ident, $start:path; $($module:ident { $($check:ident,)+ })+) => {
        $(mod $module {
            $(#[test]
            fn $check() {
                let clock = $crate::Clock::$clock;
                $crate::test_context::run(clock, $start, $crate::conformance::$module::$check);
            })+
        })+
    };
    (@in_turn $clock:ident, $start:path; $($module:ident { $($check:ident,)+ })+) => {
        #[test]
        fn all_checks_in_turn() {
            let checks: &[$crate::test_context::NamedCheck] = &[$($((
                concat!(stringify!($module), "::", stringify!($check)),
                |test| Box::pin($crate::conformance::$module::$check(test)),
            ),)+)+];
            $crate::test_context::run_in_turn($crate::Clock::$clock, $start, checks);
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// A check that is written and not listed would never run.
    #[test]
    fn every_check_is_listed() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
        let list = fs::read_to_string(dir.join("mod.rs")).unwrap();
        let listed: BTreeSet<_> = list
            .lines()
            .map(|line| line.trim().trim_end_matches(','))
            .collect();
        for file in fs::read_dir(dir).unwrap() {
            let source = fs::read_to_string(file.unwrap().path()).unwrap();
            for line in source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn "))
            {
                let check = line.split('(').next().unwrap();
                assert!(listed.contains(check), "{check} is not in the list");
            }
        }
    }
}
