//! Sequences of steps, made up by chance: few keys, few leases and small numbers, so that steps have to do with each other.

mod keys;
mod large;
mod leases;
mod locks;
mod txn;
mod watches;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy};
use proptest::sample::select;
use proptest::strategy::Union;

use super::call::{Call, Start, Step};
use super::numbers::PICKED;

/// How many steps a sequence has at most.
const LONGEST: usize = 30;

/// Names of which some are below others, and some are those of locks that our own leases take.
const KEYS: [&str; 8] = ["a", "a/", "a/x", "a0", "b", "l/", "l/ffff1", "l/ffff2"];

/// The numbers that the `enum`s of etcd's messages have, one below and some above.
const ENUM_NUMBERS: std::ops::Range<i32> = -1..7;

/// A sequence of steps, and what was before it: mostly other sequences, since etcd starts anew for each that has no past.
pub(super) fn sequence() -> impl Strategy<Value = (Start, Vec<Step>)> {
    let start = proptest::prop_oneof![30 => Just(Start::Compacted), 1 => Just(Start::New)];
    (start, steps())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let steps = vec(step(), 1..LONGEST);
    // A lease that expires takes seconds, so few sequences have one, and none has two.
    let expiring = (
        vec(step(), 0..5),
        leases::expiring(step()),
        vec(step(), 0..5),
    )
        .prop_map(|(mut before, brief, after)| {
            before.push(brief);
            before.extend(after);
            before
        });
    proptest::prop_oneof![60 => steps, 1 => expiring]
}

fn step() -> impl Strategy<Value = Step> + Clone {
    let plain = Union::new_weighted(vec![
        (8, calls(keys::range().prop_map(Call::Range))),
        (8, calls(keys::put().prop_map(Call::Put))),
        (4, calls(keys::delete().prop_map(Call::Delete))),
        (8, calls(txn::txn().prop_map(Call::Txn))),
        (2, calls(keys::compact().prop_map(Call::Compact))),
        (8, calls(leases::call())),
        (8, watches::step().boxed()),
        (10, locks::step().boxed()),
    ]);
    let brief = leases::brief(plain.clone());
    proptest::prop_oneof![200 => plain, 8 => brief, 1 => large::step()]
}

fn calls(
    strategy: impl Strategy<Value = Call> + 'static,
) -> proptest::strategy::BoxedStrategy<Step> {
    strategy.prop_map(Step::Call).boxed()
}

fn key() -> impl Strategy<Value = Bytes> + Clone {
    proptest::prop_oneof![20 => select(&KEYS[..]).prop_map(Bytes::from), 1 => Just(Bytes::new())]
}

/// The first key and the end of a range.
fn range() -> impl Strategy<Value = (Bytes, Bytes)> + Clone {
    let whole = Bytes::from_static(b"\0");
    proptest::prop_oneof![
        4 => key().prop_map(|key| (key, Bytes::new())),
        3 => key().prop_map(|key| (key.clone(), etcd_lock_core::kv::prefix_end(&key))),
        2 => (key(), key()),
        1 => key().prop_map({ let whole = whole.clone(); move |key| (key, whole.clone()) }),
        1 => Just((whole.clone(), whole)),
    ]
}

fn value() -> impl Strategy<Value = Bytes> + Clone {
    select(&["", "1", "2"][..]).prop_map(Bytes::from)
}

/// See [`numbers`](super::numbers).
fn revision() -> impl Strategy<Value = i64> + Clone {
    proptest::prop_oneof![1 => Just(0), 8 => 1_i64..16, 1 => select(&[-1, i64::MIN, i64::MAX][..])]
}

fn lease() -> impl Strategy<Value = i64> + Clone {
    proptest::prop_oneof![4 => 1_i64..4, 1 => PICKED..PICKED + 3, 1 => Just(-5)]
}

fn lease_or_none() -> impl Strategy<Value = i64> + Clone {
    proptest::prop_oneof![2 => Just(0), 3 => lease()]
}

/// True once in a while.
fn seldom() -> impl Strategy<Value = bool> + Clone {
    proptest::prop_oneof![5 => Just(false), 1 => Just(true)]
}
