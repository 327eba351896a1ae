//! The target that `ETCD_LOCK_FUZZ_TARGET` names, for libFuzzer: `cargo xtask fuzz` runs it.

#![no_main]

use std::env;
use std::sync::LazyLock;

use etcd_lock_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("ETCD_LOCK_FUZZ_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    *target.unwrap_or_else(|| panic!("there is no target {name:?}"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
