// Go's clientv3 and its concurrency package against the etcd whose address is the first argument.
//
// Each case is a function; a line `ok NAME` or `FAILED NAME: why` is printed for each, after one of the version.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/version"
)

// No case may take longer.
const patience = 30 * time.Second

type testCase struct {
	name string
	run  func(context.Context, *clientv3.Client) error
}

var cases = []testCase{
	{"without_the_lock_updates_are_lost", withoutTheLockUpdatesAreLost},
	{"contenders_exclude_each_other", contendersExcludeEachOther},
	{"waiters_are_served_in_order", waitersAreServedInOrder},
	{"a_wait_can_be_given_up", aWaitCanBeGivenUp},
	{"an_ended_lease_frees_the_lock", anEndedLeaseFreesTheLock},
	{"an_election_passes_on", anElectionPassesOn},
	{"software_transactions_lose_nothing", softwareTransactionsLoseNothing},
	{"a_lease_ends_with_its_keys", aLeaseEndsWithItsKeys},
	{"keep_alive_outlives_the_ttl", keepAliveOutlivesTheTTL},
	{"a_revoked_lease_takes_its_keys", aRevokedLeaseTakesItsKeys},
	{"an_unknown_lease_is_refused", anUnknownLeaseIsRefused},
	{"a_watch_sees_puts_and_deletes", aWatchSeesPutsAndDeletes},
	{"a_watch_starts_in_the_past", aWatchStartsInThePast},
	{"a_compacted_watch_is_told", aCompactedWatchIsTold},
	{"a_transaction_takes_the_branch_that_holds", aTransactionTakesTheBranchThatHolds},
	{"too_large_a_request_is_refused", tooLargeARequestIsRefused},
}

func main() {
	fmt.Println("version", version.Version)
	failed := false
	for _, c := range cases {
		if err := attempt(c); err != nil {
			failed = true
			fmt.Printf("FAILED %s: %v\n", c.name, err)
		} else {
			fmt.Printf("ok %s\n", c.name)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// attempt runs a case with a client of its own.
func attempt(c testCase) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]}, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	return c.run(ctx, client)
}

// value is what a key holds, and whether it is there.
func value(ctx context.Context, client *clientv3.Client, key string) (string, bool, error) {
	reply, err := client.Get(ctx, key)
	if err != nil || len(reply.Kvs) == 0 {
		return "", false, err
	}
	return string(reply.Kvs[0].Value), true, nil
}

// expect is an error where two values differ.
func expect(what string, got, want interface{}) error {
	if got != want {
		return fmt.Errorf("%s: %v instead of %v", what, got, want)
	}
	return nil
}
