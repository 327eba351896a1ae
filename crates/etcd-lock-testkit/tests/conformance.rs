//! Every check on every backend. A test's name is `BACKEND::SUBJECT::CHECK`.

use etcd_lock_testkit::conformance;

conformance!(memory, Paused, etcd_lock_testkit::backends::memory);
conformance!(layered, Paused, etcd_lock_testkit::backends::layered);
conformance!(served, Real, etcd_lock_testkit::backends::served);
conformance!(etcd, Real, etcd_lock_testkit::backends::etcd);
conformance!(cluster, Real, etcd_lock_testkit::backends::cluster);

conformance!(
    queue_on_memory,
    Paused,
    etcd_lock_testkit::backends::queue_on_memory
);
conformance!(
    queue_on_layered,
    Paused,
    etcd_lock_testkit::backends::queue_on_layered
);
conformance!(
    queue_on_served,
    Real,
    etcd_lock_testkit::backends::queue_on_served
);
conformance!(
    queue_on_etcd,
    Real,
    etcd_lock_testkit::backends::queue_on_etcd
);
conformance!(
    queue_on_cluster,
    Real,
    etcd_lock_testkit::backends::queue_on_cluster
);

conformance!(
    mixed_on_memory,
    Paused,
    etcd_lock_testkit::backends::mixed_on_memory
);
conformance!(
    mixed_on_etcd,
    Real,
    etcd_lock_testkit::backends::mixed_on_etcd
);
