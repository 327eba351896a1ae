//! Each target, tried with its corpus and with inputs made of it by chance.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use etcd_lock_fuzz::{TARGETS, check};
use etcd_lock_testkit::seeds;

/// One test for each target.
macro_rules! targets {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                let name = stringify!($name);
                let target = TARGETS.iter().find(|target| target.name == name).unwrap();
                check(&corpora().join(name), seeds::fresh(), target.run);
            }
        )*
    };
}

targets! {
    certificates detached_hold duration endpoint entry_value fencing_token_from_bytes fencing_token_from_text frames lease_id
    lease_reply lock_key lock_name model owner range_reply reply_to_a_request stream_replies txn_reply unary_reply variables
    watch_reply
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora")
}

#[test]
fn each_target_has_a_test_and_each_corpus_a_target() {
    let targets: BTreeSet<_> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    let tested: BTreeSet<_> = TESTED.iter().map(ToString::to_string).collect();
    assert_eq!(targets, tested);
    let folders = corpora().read_dir().unwrap();
    let folders = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    assert_eq!(targets, folders.collect());
}
