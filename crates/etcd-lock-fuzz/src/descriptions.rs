//! What other processes leave in entries, and hand over as text.

use etcd_lock_core::ErrorKind;
use etcd_lock_queue::EntryValue;
use etcd_lock_session::{DetachedHold, Owner};

pub(crate) fn detached_hold(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<DetachedHold>() {
        Ok(hold) => {
            assert_eq!(hold.name().key(hold.lease()), *hold.key());
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(hold.to_string(), text);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}"),
    }
}

pub(crate) fn owner(bytes: &[u8]) {
    let owner = Owner::from_bytes(bytes);
    if let Some(owner) = &owner {
        let written = owner.to_bytes();
        assert_eq!(Owner::from_bytes(&written).as_ref(), Some(owner));
    }
    let entry = EntryValue::parse(bytes).map(|value| value.owner());
    assert_eq!(Owner::from_entry(bytes), entry.and_then(Owner::from_bytes));
}
