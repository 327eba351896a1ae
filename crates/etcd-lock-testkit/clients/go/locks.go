package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

const (
	contenders = 5
	rounds     = 4
)

// The counterpart of the next: the same updates without the lock must be noticed.
func withoutTheLockUpdatesAreLost(ctx context.Context, client *clientv3.Client) error {
	total, err := count(ctx, client, "bare", func(update func() error) error { return update() })
	if err == nil && total == contenders*rounds {
		err = errors.New("no update was lost: the count can't tell whether a lock excludes")
	}
	return err
}

func contendersExcludeEachOther(ctx context.Context, client *clientv3.Client) error {
	total, err := count(ctx, client, "locked", func(update func() error) error {
		return underLock(ctx, client, "lock/count", update)
	})
	if err != nil {
		return err
	}
	return expect("updates", total, contenders*rounds)
}

// count has several contenders read a number, wait, and write it back greater by one.
func count(ctx context.Context, client *clientv3.Client, key string, guarded func(func() error) error) (int, error) {
	update := func() error {
		text, _, err := value(ctx, client, key)
		if err != nil {
			return err
		}
		number, _ := strconv.Atoi(text)
		time.Sleep(5 * time.Millisecond)
		_, err = client.Put(ctx, key, strconv.Itoa(number+1))
		return err
	}
	failures := make(chan error, contenders*rounds)
	var running sync.WaitGroup
	for i := 0; i < contenders; i++ {
		running.Add(1)
		go func() {
			defer running.Done()
			for round := 0; round < rounds; round++ {
				if err := guarded(update); err != nil {
					failures <- err
				}
			}
		}()
	}
	running.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return 0, err
	}
	text, _, err := value(ctx, client, key)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

func underLock(ctx context.Context, client *clientv3.Client, name string, work func() error) error {
	session, err := concurrency.NewSession(client, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer session.Close()
	mutex := concurrency.NewMutex(session, name)
	if err := mutex.Lock(ctx); err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	return mutex.Unlock(ctx)
}

func waitersAreServedInOrder(ctx context.Context, client *clientv3.Client) error {
	holder, err := held(ctx, client, "lock/order")
	if err != nil {
		return err
	}
	served := make(chan int, contenders)
	failures := make(chan error, contenders)
	for i := 0; i < contenders; i++ {
		i := i
		go func() {
			failures <- underLock(ctx, client, "lock/order", func() error { served <- i; return nil })
		}()
		if err := queueHas(ctx, client, "lock/order/", int64(i+2)); err != nil {
			return err
		}
	}
	if err := holder.Unlock(ctx); err != nil {
		return err
	}
	for i := 0; i < contenders; i++ {
		if err := <-failures; err != nil {
			return err
		}
		if err := expect("turn", <-served, i); err != nil {
			return err
		}
	}
	return nil
}

func aWaitCanBeGivenUp(ctx context.Context, client *clientv3.Client) error {
	if _, err := held(ctx, client, "lock/up"); err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	err := underLock(short, client, "lock/up", func() error { return nil })
	if err != context.DeadlineExceeded {
		return fmt.Errorf("the wait ended with %v", err)
	}
	return queueHas(ctx, client, "lock/up/", 1)
}

// The holder stops keeping its lease alive, as if it had died.
func anEndedLeaseFreesTheLock(ctx context.Context, client *clientv3.Client) error {
	session, err := concurrency.NewSession(client, concurrency.WithTTL(2))
	if err != nil {
		return err
	}
	if err := concurrency.NewMutex(session, "lock/dead").Lock(ctx); err != nil {
		return err
	}
	session.Orphan()
	began := time.Now()
	if err := underLock(ctx, client, "lock/dead", func() error { return nil }); err != nil {
		return err
	}
	if waited := time.Since(began); waited < time.Second || waited > 5*time.Second {
		return fmt.Errorf("a lease of 2 s held the lock for %v", waited)
	}
	return nil
}

func anElectionPassesOn(ctx context.Context, client *clientv3.Client) error {
	var elections []*concurrency.Election
	for i := 0; i < 2; i++ {
		session, err := concurrency.NewSession(client)
		if err != nil {
			return err
		}
		elections = append(elections, concurrency.NewElection(session, "election"))
	}
	if err := elections[0].Campaign(ctx, "first"); err != nil {
		return err
	}
	won := make(chan error, 1)
	go func() { won <- elections[1].Campaign(ctx, "second") }()
	if err := queueHas(ctx, client, "election/", 2); err != nil {
		return err
	}
	if err := elections[0].Resign(ctx); err != nil {
		return err
	}
	if err := <-won; err != nil {
		return err
	}
	leader, err := elections[0].Leader(ctx)
	if err != nil {
		return err
	}
	return expect("leader", string(leader.Kvs[0].Value), "second")
}

func softwareTransactionsLoseNothing(ctx context.Context, client *clientv3.Client) error {
	total, err := count(ctx, client, "stm", func(func() error) error {
		_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
			number, _ := strconv.Atoi(stm.Get("stm"))
			stm.Put("stm", strconv.Itoa(number+1))
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	return expect("updates", total, contenders*rounds)
}

// held takes a lock in a session of its own.
func held(ctx context.Context, client *clientv3.Client, name string) (*concurrency.Mutex, error) {
	session, err := concurrency.NewSession(client)
	if err != nil {
		return nil, err
	}
	mutex := concurrency.NewMutex(session, name)
	return mutex, mutex.Lock(ctx)
}

// queueHas waits until so many keys have a prefix.
func queueHas(ctx context.Context, client *clientv3.Client, prefix string, keys int64) error {
	for {
		reply, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil || reply.Count == keys {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
