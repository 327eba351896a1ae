// node's etcd3 against the etcd whose address is the first argument.
//
// Each case is a function; a line `ok name` or `FAILED name: why` is printed for each, after one of the version.
'use strict';

const assert = require('assert');
const { once } = require('events');
const { setTimeout: sleep } = require('timers/promises');
const { Etcd3, EtcdLockFailedError } = require('etcd3');

const CONTENDERS = 5;
const ROUNDS = 4;
// No case may take longer.
const PATIENCE = 30_000;

// The counterpart of the next: the same updates without the lock must be noticed.
async function without_the_lock_updates_are_lost(etcd) {
  const total = await count(etcd, 'bare', update => update());
  assert.notStrictEqual(total, CONTENDERS * ROUNDS);
}

async function contenders_exclude_each_other(etcd) {
  const total = await count(etcd, 'locked', update => underLock(etcd, 'lock/count', update));
  assert.strictEqual(total, CONTENDERS * ROUNDS);
}

// Several contenders read a number, wait, and write it back greater by one.
async function count(etcd, key, guarded) {
  const update = async () => {
    const number = Number(await etcd.get(key));
    await sleep(5);
    await etcd.put(key).value(number + 1);
  };
  const contender = async () => {
    for (let round = 0; round < ROUNDS; round++) await guarded(update);
  };
  await Promise.all(Array.from({ length: CONTENDERS }, contender));
  return Number(await etcd.get(key));
}

// This client's lock doesn't wait, so it is tried until it is had.
async function underLock(etcd, name, work) {
  for (;;) {
    const lock = etcd.lock(name);
    try {
      await lock.acquire();
    } catch (error) {
      if (!(error instanceof EtcdLockFailedError)) throw error;
      await sleep(5);
      continue;
    }
    await work();
    return lock.release();
  }
}

async function a_held_lock_is_refused(etcd) {
  const held = await etcd.lock('lock/held').acquire();
  await assert.rejects(etcd.lock('lock/held').acquire(), EtcdLockFailedError);
  await held.release();
  await (await etcd.lock('lock/held').acquire()).release();
}

async function an_ended_lease_frees_the_lock(etcd) {
  const dead = etcd.lease(2, { autoKeepAlive: false });
  await dead.put('lock/dead').value('');
  const began = Date.now();
  await underLock(etcd, 'lock/dead', () => {});
  const waited = Date.now() - began;
  assert(waited > 1000 && waited < 5000, `a lease of 2 s held the lock for ${waited} ms`);
}

async function keep_alive_outlives_the_ttl(etcd) {
  const lease = etcd.lease(2);
  await lease.put('kept').value('yes');
  await sleep(4000);
  assert.strictEqual(await etcd.get('kept').string(), 'yes');
  await lease.revoke();
}

async function a_revoked_lease_takes_its_keys(etcd) {
  const lease = etcd.lease(60);
  await lease.put('revoked').value('no');
  await lease.revoke();
  assert.strictEqual(await etcd.get('revoked').string(), null);
}

async function a_lost_lease_is_told(etcd) {
  const lease = etcd.lease(5);
  const lost = once(lease, 'lost');
  await etcd.leaseClient.leaseRevoke({ ID: await lease.grant() });
  await lost;
}

async function a_watch_sees_puts_and_deletes(etcd) {
  const watcher = await etcd.watch().prefix('seen/').create();
  const put = once(watcher, 'put');
  await etcd.put('seen/a').value('1');
  assert.strictEqual((await put)[0].value.toString(), '1');
  const deleted = once(watcher, 'delete');
  await etcd.delete().key('seen/a');
  assert.strictEqual((await deleted)[0].key.toString(), 'seen/a');
  await watcher.cancel();
}

async function a_cancelled_watch_sees_nothing(etcd) {
  const [cancelled, other] = [await etcd.watch().key('silent').create(), await etcd.watch().key('silent').create()];
  let seen = 0;
  cancelled.on('put', () => seen++);
  await cancelled.cancel();
  const put = once(other, 'put');
  await etcd.put('silent').value('1');
  await put;
  assert.strictEqual(seen, 0);
}

async function a_transaction_takes_the_branch_that_holds(etcd) {
  const take = value =>
    etcd
      .if('once', 'Create', '==', 0)
      .then(etcd.put('once').value(value))
      .else(etcd.get('once'))
      .commit();
  assert.strictEqual((await take('first')).succeeded, true);
  const second = await take('second');
  assert.strictEqual(second.succeeded, false);
  assert.strictEqual(second.responses[0].response_range.kvs[0].value.toString(), 'first');
}

async function software_transactions_lose_nothing(etcd) {
  await etcd.put('stm').value(0);
  const total = await count(etcd, 'stm', () =>
    etcd.stm({ retries: 100 }).transact(async stm => stm.put('stm').value(Number(await stm.get('stm')) + 1)),
  );
  assert.strictEqual(total, CONTENDERS * ROUNDS);
}

async function an_election_passes_on(etcd) {
  const elections = ['first', 'second'].map(() => etcd.election('election', 10));
  const campaigns = [];
  for (const [index, name] of ['first', 'second'].entries()) {
    campaigns.push(elections[index].campaign(name));
    // The second stands behind the first only when the first has won.
    if (index === 0) await once(campaigns[0], 'elected');
  }
  const won = once(campaigns[1], 'elected');
  await campaigns[0].resign();
  await won;
  assert.strictEqual(await elections[0].leader(), 'second');
  await campaigns[1].resign();
}

const CASES = [
  without_the_lock_updates_are_lost,
  contenders_exclude_each_other,
  a_held_lock_is_refused,
  an_ended_lease_frees_the_lock,
  keep_alive_outlives_the_ttl,
  a_revoked_lease_takes_its_keys,
  a_lost_lease_is_told,
  a_watch_sees_puts_and_deletes,
  a_cancelled_watch_sees_nothing,
  a_transaction_takes_the_branch_that_holds,
  software_transactions_lose_nothing,
  an_election_passes_on,
];

async function main() {
  console.log(`version ${require('etcd3/package.json').version}`);
  let failed = 0;
  for (const run of CASES) {
    const etcd = new Etcd3({ hosts: `http://${process.argv[2]}` });
    const late = sleep(PATIENCE, null, { ref: false }).then(() => {
      throw new Error(`not done after ${PATIENCE} ms`);
    });
    try {
      await Promise.race([run(etcd), late]);
      console.log(`ok ${run.name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${run.name}: ${String(error.message).split('\n')[0]}`);
    }
    etcd.close();
  }
  process.exit(failed ? 1 : 0);
}

main();
