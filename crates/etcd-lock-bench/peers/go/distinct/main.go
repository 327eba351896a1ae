// Cycles on locks that nobody else wants, by Go's concurrency package: distinct ENDPOINT TASKS SECONDS.
//
// All tasks share a client and a session, and each has a lock of its own. After half a second of warm-up it prints what it did
// in so many seconds: cycles, the time of the median cycle and of the 99th percentile in microseconds, and the processor time of
// this process in microseconds.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

const warmUp = 500 * time.Millisecond

func main() {
	tasks, err := strconv.Atoi(os.Args[2])
	check(err)
	seconds, err := strconv.Atoi(os.Args[3])
	check(err)
	client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(os.Args[1], ","), DialTimeout: 5 * time.Second})
	check(err)
	session, err := concurrency.NewSession(client, concurrency.WithTTL(60))
	check(err)
	// 0 while it warms up, 1 while it counts, 2 once it is over.
	var phase int32
	results := make(chan []time.Duration)
	for i := 0; i < tasks; i++ {
		name := fmt.Sprintf("bench-%d-%d", session.Lease(), i)
		go func() { results <- run(session, name, &phase) }()
	}
	time.Sleep(warmUp)
	before, begun := processor(), time.Now()
	atomic.StoreInt32(&phase, 1)
	time.Sleep(time.Duration(seconds) * time.Second)
	atomic.StoreInt32(&phase, 2)
	took, used := time.Since(begun), processor()-before
	var times []time.Duration
	for i := 0; i < tasks; i++ {
		times = append(times, <-results...)
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(share float64) int64 { return times[int(float64(len(times)-1)*share)].Microseconds() }
	fmt.Println(len(times), took.Microseconds(), at(0.5), at(0.99), used.Microseconds())
	check(session.Close())
}

func run(session *concurrency.Session, name string, phase *int32) (times []time.Duration) {
	ctx := context.Background()
	mutex := concurrency.NewMutex(session, name)
	for {
		begun := time.Now()
		check(mutex.Lock(ctx))
		check(mutex.Unlock(ctx))
		switch atomic.LoadInt32(phase) {
		case 1:
			times = append(times, time.Since(begun))
		case 2:
			return times
		}
	}
}

func processor() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
