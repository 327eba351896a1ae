//! The parts that the scenarios share.

mod caller;
mod fault;
mod history;
mod load;
mod report;
mod stage;
mod through;

pub(crate) use caller::Caller;
pub(crate) use fault::Fault;
pub(crate) use history::History;
pub(crate) use load::Load;
pub(crate) use report::Report;
pub(crate) use stage::{PATIENCE, Stage, Version, connect};
pub(crate) use through::{hold_through, release_through, wait_through, write_until_success};

/// Makes a test of each scenario for each version of etcd. A scenario is an async function of the [`Version`].
macro_rules! scenarios {
    ($($scenario:ident)+) => {
        mod etcd_3_4 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::Version::V3_4).await;
            })+
        }
        mod etcd_3_5 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::Version::V3_5).await;
            })+
        }
    };
}
