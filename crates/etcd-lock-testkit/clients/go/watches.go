package main

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

func aWatchSeesPutsAndDeletes(ctx context.Context, client *clientv3.Client) error {
	replies := client.Watch(ctx, "seen/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	if created := <-replies; !created.Created {
		return fmt.Errorf("the first reply was %+v", created)
	}
	if _, err := client.Put(ctx, "seen/a", "1"); err != nil {
		return err
	}
	if _, err := client.Delete(ctx, "seen/a"); err != nil {
		return err
	}
	return expectEvents(replies, "PUT seen/a", "DELETE seen/a")
}

func aWatchStartsInThePast(ctx context.Context, client *clientv3.Client) error {
	put, err := client.Put(ctx, "past", "1")
	if err != nil {
		return err
	}
	if _, err := client.Put(ctx, "past", "2"); err != nil {
		return err
	}
	if _, err := client.Delete(ctx, "past"); err != nil {
		return err
	}
	replies := client.Watch(ctx, "past", clientv3.WithRev(put.Header.Revision))
	return expectEvents(replies, "PUT past", "PUT past", "DELETE past")
}

func aCompactedWatchIsTold(ctx context.Context, client *clientv3.Client) error {
	old, err := client.Put(ctx, "compacted", "1")
	if err != nil {
		return err
	}
	last, err := client.Put(ctx, "compacted", "2")
	if err != nil {
		return err
	}
	if _, err := client.Compact(ctx, last.Header.Revision); err != nil {
		return err
	}
	reply := <-client.Watch(ctx, "compacted", clientv3.WithRev(old.Header.Revision))
	if reply.Err() != rpctypes.ErrCompacted || reply.CompactRevision != last.Header.Revision {
		return fmt.Errorf("the watch ended with %v at %d", reply.Err(), reply.CompactRevision)
	}
	return nil
}

// expectEvents reads as many events as are wanted, in one reply or several.
func expectEvents(replies clientv3.WatchChan, wanted ...string) error {
	var got []string
	for reply := range replies {
		if err := reply.Err(); err != nil {
			return err
		}
		for _, event := range reply.Events {
			got = append(got, fmt.Sprintf("%s %s", event.Type, event.Kv.Key))
		}
		if len(got) >= len(wanted) {
			break
		}
	}
	return expect("events", fmt.Sprint(got), fmt.Sprint(wanted))
}
