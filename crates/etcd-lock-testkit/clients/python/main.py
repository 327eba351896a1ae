"""Python's etcd3 against the etcd whose address is the first argument.

Each case is a function; a line `ok name` or `FAILED name: why` is printed for each, after one of the version.
"""

import faulthandler
import importlib.metadata
import sys
import threading
import time

import etcd3

CONTENDERS = 5
ROUNDS = 4
# All cases together may not take longer.
PATIENCE = 120


def without_the_lock_updates_are_lost(etcd):
    """The counterpart of the next: the same updates without the lock must be noticed."""
    assert count(etcd, "bare", lambda update: update()) != CONTENDERS * ROUNDS


def contenders_exclude_each_other(etcd):
    def guarded(update):
        with etcd.lock("count", ttl=10):
            update()

    assert count(etcd, "locked", guarded) == CONTENDERS * ROUNDS


def count(etcd, key, guarded):
    """Has several contenders read a number, wait, and write it back greater by one."""

    def update():
        number = int(etcd.get(key)[0] or 0)
        time.sleep(0.005)
        etcd.put(key, str(number + 1))

    def contender():
        for _ in range(ROUNDS):
            guarded(update)

    threads = [threading.Thread(target=contender) for _ in range(CONTENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return int(etcd.get(key)[0])


def a_wait_can_be_given_up(etcd):
    holder = etcd.lock("up", ttl=60)
    assert holder.acquire()
    assert not etcd.lock("up", ttl=60).acquire(timeout=0.5)
    assert holder.is_acquired()
    assert holder.release()


def a_stranger_cannot_release(etcd):
    holder, stranger = etcd.lock("mine"), etcd.lock("mine")
    assert holder.acquire()
    assert not stranger.release()
    assert holder.release()


def an_ended_lease_frees_the_lock(etcd):
    assert etcd.lock("dead", ttl=2).acquire()
    began = time.monotonic()
    assert etcd.lock("dead", ttl=10).acquire(timeout=10)
    waited = time.monotonic() - began
    assert 1 < waited < 5, f"a lease of 2 s held the lock for {waited:.1f} s"


def refreshing_outlives_the_ttl(etcd):
    lock = etcd.lock("kept", ttl=2)
    assert lock.acquire()
    for _ in range(8):
        time.sleep(0.5)
        assert lock.refresh()[0].TTL == 2
    assert lock.is_acquired()


def a_lease_ends_with_its_keys(etcd):
    lease = etcd.lease(2)
    etcd.put("ending", "", lease=lease)
    assert lease.granted_ttl == 2 and list(lease.keys) == [b"ending"]
    time.sleep(3)
    assert etcd.get("ending") == (None, None)
    assert lease.remaining_ttl == -1


def a_revoked_lease_takes_its_keys(etcd):
    lease = etcd.lease(60)
    etcd.put("revoked", "", lease=lease)
    lease.revoke()
    assert etcd.get("revoked") == (None, None)


def a_watch_sees_puts_and_deletes(etcd):
    events, cancel = etcd.watch_prefix("seen/")
    etcd.put("seen/a", "1")
    etcd.delete("seen/a")
    seen = [(type(next(events)).__name__) for _ in range(2)]
    cancel()
    assert seen == ["PutEvent", "DeleteEvent"], seen


def a_watch_starts_in_the_past(etcd):
    put = etcd.put("past", "1")
    etcd.put("past", "2")
    events, cancel = etcd.watch("past", start_revision=put.header.revision)
    seen = [next(events).value for _ in range(2)]
    cancel()
    assert seen == [b"1", b"2"], seen


def a_transaction_takes_the_branch_that_holds(etcd):
    def take(value):
        return etcd.transaction(
            compare=[etcd.transactions.version("once") == 0],
            success=[etcd.transactions.put("once", value)],
            failure=[etcd.transactions.get("once")],
        )

    assert take("first")[0]
    succeeded, replies = take("second")
    assert not succeeded and replies[0][0][0] == b"first", replies


def it_knows_the_cluster(etcd):
    status, members = etcd.status(), list(etcd.members)
    assert len(members) == 1 and status.leader.id == members[0].id
    assert list(etcd.list_alarms()) == []


CASES = [
    without_the_lock_updates_are_lost,
    contenders_exclude_each_other,
    a_wait_can_be_given_up,
    a_stranger_cannot_release,
    an_ended_lease_frees_the_lock,
    refreshing_outlives_the_ttl,
    a_lease_ends_with_its_keys,
    a_revoked_lease_takes_its_keys,
    a_watch_sees_puts_and_deletes,
    a_watch_starts_in_the_past,
    a_transaction_takes_the_branch_that_holds,
    it_knows_the_cluster,
]


def main():
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    print("version", importlib.metadata.version("etcd3"), flush=True)
    host, port = sys.argv[1].split(":")
    failed = 0
    for case in CASES:
        try:
            with etcd3.client(host, int(port), timeout=20) as etcd:
                case(etcd)
            print("ok", case.__name__, flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED {case.__name__}: {type(error).__name__} {error}".replace("\n", " "), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
