//! What `--version` says: what this program was built from, and with what.

/// Behind the name of the program.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("ETCD_LOCK_BUILD_COMMIT"),
    "\ncompiler: ",
    env!("ETCD_LOCK_BUILD_COMPILER"),
    "\ntarget:   ",
    env!("ETCD_LOCK_BUILD_TARGET"),
    "\nTLS:      ",
    env!("ETCD_LOCK_BUILD_TLS"),
);
