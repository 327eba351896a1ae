package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

func aLeaseEndsWithItsKeys(ctx context.Context, client *clientv3.Client) error {
	lease, err := leased(ctx, client, "ending", 2)
	if err != nil {
		return err
	}
	left, err := client.TimeToLive(ctx, lease, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	if left.GrantedTTL != 2 || len(left.Keys) != 1 || string(left.Keys[0]) != "ending" {
		return fmt.Errorf("while it lived the lease was %+v", left)
	}
	time.Sleep(3 * time.Second)
	if left, err = client.TimeToLive(ctx, lease); err != nil {
		return err
	}
	if err := expect("seconds left after its end", left.TTL, int64(-1)); err != nil {
		return err
	}
	_, there, err := value(ctx, client, "ending")
	if err != nil {
		return err
	}
	return expect("key there", there, false)
}

func keepAliveOutlivesTheTTL(ctx context.Context, client *clientv3.Client) error {
	lease, err := leased(ctx, client, "kept", 2)
	if err != nil {
		return err
	}
	renewals, err := client.KeepAlive(ctx, lease)
	if err != nil {
		return err
	}
	count, over := 0, time.After(4*time.Second)
	for waiting := true; waiting; {
		select {
		case renewal, open := <-renewals:
			if !open || renewal.TTL != 2 {
				return fmt.Errorf("renewal %d was %v", count, renewal)
			}
			count++
		case <-over:
			waiting = false
		}
	}
	_, there, err := value(ctx, client, "kept")
	if err != nil || !there || count < 4 {
		return fmt.Errorf("after %d renewals key there %v, error %v", count, there, err)
	}
	return nil
}

func aRevokedLeaseTakesItsKeys(ctx context.Context, client *clientv3.Client) error {
	lease, err := leased(ctx, client, "revoked", 60)
	if err != nil {
		return err
	}
	all, err := client.Leases(ctx)
	if err != nil {
		return err
	}
	listed := false
	for _, one := range all.Leases {
		listed = listed || one.ID == lease
	}
	if _, err := client.Revoke(ctx, lease); err != nil {
		return err
	}
	_, there, err := value(ctx, client, "revoked")
	if err != nil || there || !listed {
		return fmt.Errorf("key there %v, lease listed %v, error %v", there, listed, err)
	}
	return nil
}

func anUnknownLeaseIsRefused(ctx context.Context, client *clientv3.Client) error {
	_, put := client.Put(ctx, "orphan", "", clientv3.WithLease(77))
	_, revoke := client.Revoke(ctx, 77)
	_, renew := client.KeepAliveOnce(ctx, 77)
	for _, err := range []error{put, revoke, renew} {
		if err != rpctypes.ErrLeaseNotFound {
			return fmt.Errorf("put %v, revoke %v, keep-alive %v", put, revoke, renew)
		}
	}
	return nil
}

func aTransactionTakesTheBranchThatHolds(ctx context.Context, client *clientv3.Client) error {
	takeOnce := func() (*clientv3.TxnResponse, error) {
		return client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision("once"), "=", 0)).
			Then(clientv3.OpPut("once", "taken")).
			Else(clientv3.OpGet("once")).
			Commit()
	}
	first, err := takeOnce()
	if err != nil {
		return err
	}
	second, err := takeOnce()
	if err != nil {
		return err
	}
	if !first.Succeeded || second.Succeeded {
		return fmt.Errorf("taken %v, then %v", first.Succeeded, second.Succeeded)
	}
	return expect("value", string(second.Responses[0].GetResponseRange().Kvs[0].Value), "taken")
}

func tooLargeARequestIsRefused(ctx context.Context, client *clientv3.Client) error {
	_, err := client.Put(ctx, "large", strings.Repeat("x", 1600*1024))
	if err != rpctypes.ErrRequestTooLarge {
		return fmt.Errorf("a value of 1600 KiB was answered with %v", err)
	}
	return nil
}

// leased puts a key with a new lease.
func leased(ctx context.Context, client *clientv3.Client, key string, ttl int64) (clientv3.LeaseID, error) {
	lease, err := client.Grant(ctx, ttl)
	if err != nil {
		return 0, err
	}
	_, err = client.Put(ctx, key, "", clientv3.WithLease(lease.ID))
	return lease.ID, err
}
