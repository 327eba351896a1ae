"""Python's aetcd against the etcd whose address is the first argument.

Each case is a function; a line `ok name` or `FAILED name: why` is printed for each, after one of the version.
"""

import asyncio
import importlib.metadata
import sys
import time

import aetcd

CONTENDERS = 5
ROUNDS = 4
# Each case may not take longer.
PATIENCE = 30


async def without_the_lock_updates_are_lost(etcd):
    """The counterpart of the next: the same updates without the lock must be noticed."""

    async def bare(update):
        await update()

    assert await count(etcd, b"bare", bare) != CONTENDERS * ROUNDS


async def contenders_exclude_each_other(etcd):
    async def guarded(update):
        async with etcd.lock(b"count", ttl=10):
            await update()

    assert await count(etcd, b"locked", guarded) == CONTENDERS * ROUNDS


async def count(etcd, key, guarded):
    """Has several contenders read a number, wait, and write it back greater by one."""

    async def update():
        found = await etcd.get(key)
        number = int(found.value) if found else 0
        await asyncio.sleep(0.005)
        await etcd.put(key, str(number + 1).encode())

    async def contender():
        for _ in range(ROUNDS):
            await guarded(update)

    await asyncio.gather(*(contender() for _ in range(CONTENDERS)))
    return int((await etcd.get(key)).value)


async def a_wait_can_be_given_up(etcd):
    holder = etcd.lock(b"up", ttl=60)
    assert await holder.acquire()
    assert not await etcd.lock(b"up", ttl=60).acquire(timeout=0.5)
    assert await holder.is_acquired()
    assert await holder.release()


async def a_stranger_cannot_release(etcd):
    holder, stranger = etcd.lock(b"mine"), etcd.lock(b"mine")
    assert await holder.acquire()
    assert not await stranger.release()
    assert await holder.release()


async def an_ended_lease_frees_the_lock(etcd):
    assert await etcd.lock(b"dead", ttl=2).acquire()
    began = time.monotonic()
    assert await etcd.lock(b"dead", ttl=10).acquire(timeout=10)
    assert time.monotonic() - began > 1


async def refreshing_outlives_the_ttl(etcd):
    lock = etcd.lock(b"kept", ttl=2)
    assert await lock.acquire()
    for _ in range(8):
        await asyncio.sleep(0.5)
        await lock.refresh()
    assert await lock.is_acquired()


async def a_lease_ends_with_its_keys(etcd):
    lease = await etcd.lease(2)
    await etcd.put(b"ending", b"", lease=lease)
    assert await lease.granted_ttl() == 2 and list(await lease.keys()) == [b"ending"]
    while await etcd.get(b"ending"):
        await asyncio.sleep(0.1)
    assert await lease.remaining_ttl() == -1


async def a_revoked_lease_takes_its_keys(etcd):
    lease = await etcd.lease(60)
    await etcd.put(b"revoked", b"", lease=lease)
    await lease.revoke()
    assert await etcd.get(b"revoked") is None


async def a_watch_sees_puts_and_deletes(etcd):
    watch = await etcd.watch_prefix(b"seen/")
    await etcd.put(b"seen/a", b"1")
    await etcd.delete(b"seen/a")
    seen = await first(watch, 2)
    assert [event.kind for event in seen] == [aetcd.EventKind.PUT, aetcd.EventKind.DELETE], seen


async def a_watch_starts_in_the_past(etcd):
    put = await etcd.put(b"past", b"1")
    await etcd.put(b"past", b"2")
    watch = await etcd.watch(b"past", start_revision=put.header.revision)
    seen = [event.kv.value for event in await first(watch, 2)]
    assert seen == [b"1", b"2"], seen


async def first(watch, wanted):
    events = []
    async for event in watch:
        events.append(event)
        if len(events) == wanted:
            await watch.cancel()
            return events


async def a_transaction_takes_the_branch_that_holds(etcd):
    async def take(value):
        return await etcd.transaction(
            compare=[etcd.transactions.version(b"once") == 0],
            success=[etcd.transactions.put(b"once", value)],
            failure=[etcd.transactions.get(b"once")],
        )

    assert (await take(b"first"))[0]
    succeeded, replies = await take(b"second")
    assert not succeeded and replies[0][0][0] == b"first", replies


async def it_knows_the_cluster(etcd):
    status = await etcd.status()
    members = [member async for member in etcd.members()]
    assert len(members) == 1 and status.leader.id == members[0].id


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


async def main():
    print("version", importlib.metadata.version("aetcd"))
    host, port = sys.argv[1].split(":")
    failed = 0
    for case in CASES:
        try:
            async with aetcd.Client(host, int(port), timeout=20) as etcd:
                await asyncio.wait_for(case(etcd), PATIENCE)
            print("ok", case.__name__, flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED {case.__name__}: {type(error).__name__} {error}".replace("\n", " "), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    asyncio.run(main())
