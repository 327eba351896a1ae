//! Every check on every backend that it is about. A test's name is `BACKEND::SUBJECT::CHECK`.

use etcd_lock_testkit::conformance;

conformance!(
    keys,
    keys_on_memory,
    Paused,
    etcd_lock_testkit::backends::memory
);
conformance!(
    keys,
    keys_on_layered,
    Paused,
    etcd_lock_testkit::backends::layered
);
conformance!(
    keys,
    keys_on_served,
    Real,
    etcd_lock_testkit::backends::served
);
conformance!(
    keys_in_turn,
    keys_on_etcd,
    Real,
    etcd_lock_testkit::backends::etcd
);
conformance!(locks, layered, Paused, etcd_lock_testkit::backends::layered);
conformance!(locks, served, Real, etcd_lock_testkit::backends::served);
conformance!(locks, etcd, Real, etcd_lock_testkit::backends::etcd);
conformance!(
    locks,
    queue_on_memory,
    Paused,
    etcd_lock_testkit::backends::queue_on_memory
);
conformance!(
    locks,
    queue_on_layered,
    Paused,
    etcd_lock_testkit::backends::queue_on_layered
);
conformance!(
    locks,
    queue_on_served,
    Real,
    etcd_lock_testkit::backends::queue_on_served
);
conformance!(
    locks,
    queue_on_etcd,
    Real,
    etcd_lock_testkit::backends::queue_on_etcd
);
conformance!(
    locks,
    queue_on_cluster,
    Real,
    etcd_lock_testkit::backends::queue_on_cluster
);
conformance!(
    locks,
    mixed_on_layered,
    Paused,
    etcd_lock_testkit::backends::mixed_on_layered
);
conformance!(
    together,
    mixed_on_etcd,
    Real,
    etcd_lock_testkit::backends::mixed_on_etcd
);
