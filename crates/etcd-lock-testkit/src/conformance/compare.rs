//! The conditions of transactions.

use std::cmp::Ordering;

use etcd_lock_core::kv::{Compare, CompareOp, CompareTarget, PutRequest, TxnRequest};
use etcd_lock_core::{Client, LeaseId, Revision};

use crate::TestContext;
use crate::store::{self, run, txn};

const OPS: [CompareOp; 4] = [
    CompareOp::Equal,
    CompareOp::Greater,
    CompareOp::Less,
    CompareOp::NotEqual,
];

/// Every target is compared with every operator, the store's side on the left.
pub async fn compares_every_target_with_every_operator(test: &TestContext) {
    let contender = test.contender().await;
    let (client, lease) = (contender.client(), contender.lease().get());
    let created = store::put(client, "k", "m").await;
    let put = PutRequest::new("k", "m").with_lease(contender.lease());
    let (_, modified) = run(client, put).await;

    let number = |revision: Revision, by: i64| Revision::new(revision.get() + by).unwrap();
    for by in [-1, 0, 1] {
        let value = ["l", "m", "n"][usize::try_from(by + 1).unwrap()];
        for right in [
            CompareTarget::CreateRevision(number(created, by)),
            CompareTarget::ModRevision(number(modified, by)),
            CompareTarget::Version(2 + by),
            CompareTarget::Lease(LeaseId::of_stored_key(lease.saturating_add(by))),
            CompareTarget::Value(value.into()),
        ] {
            compares(client, "k", &right, 0.cmp(&by)).await;
        }
    }
}

/// A key that isn't there has zero for every number.
pub async fn missing_key_compares_as_zero(test: &TestContext) {
    let client = test.client().await;
    for right in [
        CompareTarget::CreateRevision(Revision::ZERO),
        CompareTarget::ModRevision(Revision::ZERO),
        CompareTarget::Version(0),
        CompareTarget::Lease(None),
    ] {
        compares(&client, "none", &right, Ordering::Equal).await;
    }
}

/// A key that isn't there has no value: whatever is said of it is false.
pub async fn missing_key_has_no_value_to_compare(test: &TestContext) {
    let client = test.client().await;
    for op in OPS {
        let request =
            TxnRequest::new().when(Compare::new("none", op, CompareTarget::Value("".into())));
        assert!(!txn(&client, request).await.succeeded, "{op:?}");
    }
}

/// All conditions must hold; without any, they do.
pub async fn all_conditions_must_hold(test: &TestContext) {
    let client = test.client().await;
    store::put(&client, "k", "v").await;
    let (yes, no) = (Compare::value("k", "v"), Compare::value("k", "w"));
    for (conditions, expected) in [
        (vec![], true),
        (vec![yes.clone(), yes.clone()], true),
        (vec![yes.clone(), no.clone()], false),
        (vec![no, yes], false),
    ] {
        let mut request = TxnRequest::new();
        request.compare = conditions;
        assert_eq!(txn(&client, request).await.succeeded, expected);
    }
}

/// `left` is how the store's side compares to `right`.
async fn compares(client: &Client, key: &'static str, right: &CompareTarget, left: Ordering) {
    for op in OPS {
        let expected = match op {
            CompareOp::Equal => left.is_eq(),
            CompareOp::Greater => left.is_gt(),
            CompareOp::Less => left.is_lt(),
            CompareOp::NotEqual => left.is_ne(),
        };
        let request = TxnRequest::new().when(Compare::new(key, op, right.clone()));
        assert_eq!(
            txn(client, request).await.succeeded,
            expected,
            "{op:?} {right:?}"
        );
    }
}
