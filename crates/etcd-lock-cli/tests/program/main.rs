//! The real program, on an etcd inside of itself, on `etcd-lock serve`, and on a real etcd.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

mod etcd;
mod program;
mod terminal;

mod bench;
mod connection;
mod doctor;
mod etcdctl;
mod inspect;
mod keys;
mod no_etcd;
mod pages;
mod run_busy;
mod run_clock;
mod run_killed;
mod run_lost;
mod run_options;
mod run_rough;
mod run_signals;
mod run_status;
mod run_terminal;
mod serve;
mod settings;
mod usage;

/// Makes a module of tests for each kind of etcd, or for one kind only, from functions that take one.
macro_rules! tests_on {
    ([$($etcd:ident)+] $tests:tt) => {
        $(mod $etcd { $crate::tests_on!($etcd $tests); })+
    };
    (only $etcd:ident $tests:tt) => {
        mod only { $crate::tests_on!($etcd $tests); }
    };
    ($etcd:ident { $($test:ident)+ }) => {
        $(#[tokio::test]
        async fn $test() {
            super::$test(&$crate::etcd::Etcd::$etcd().await).await;
        })+
    };
}
use tests_on;
