// Lock cycles by Go's concurrency package, until standard input ends: main ENDPOINTS NAME CALLERS.
//
// Each caller has a client and a session of 10 s. It prints "cycle" for each whole cycle, "lost" for a session that ended,
// and "error" with the reason for a call that failed.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

const (
	ttl = 10
	// No call may take longer. The client itself has no bound.
	bound = 5 * time.Second
	pause = 20 * time.Millisecond
)

func main() {
	endpoints, name := strings.Split(os.Args[1], ","), os.Args[2]
	callers, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	for i := 0; i < callers; i++ {
		go func() {
			for {
				if err := session(endpoints, name); err != nil {
					fmt.Println("error", err)
				}
				time.Sleep(pause)
			}
		}()
	}
	bufio.NewReader(os.Stdin).ReadString('\n')
}

// session runs cycles for as long as a session lives.
func session(endpoints []string, name string) error {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		DialTimeout:          2 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	grant, err := client.Grant(ctx, ttl)
	if err != nil {
		return err
	}
	session, err := concurrency.NewSession(client, concurrency.WithLease(grant.ID))
	if err != nil {
		return err
	}
	for {
		select {
		case <-session.Done():
			fmt.Println("lost")
			return nil
		default:
		}
		if err := cycle(session, name); err != nil {
			fmt.Println("error", err)
			time.Sleep(pause)
		} else {
			fmt.Println("cycle")
		}
	}
}

func cycle(session *concurrency.Session, name string) error {
	mutex := concurrency.NewMutex(session, name)
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	if err := mutex.Lock(ctx); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(context.Background(), bound)
	defer cancel()
	return mutex.Unlock(ctx)
}
