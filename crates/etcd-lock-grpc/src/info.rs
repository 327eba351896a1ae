//! The report of a transport about itself.

use std::time::SystemTime;

pub use crate::health::EndpointState;

/// The endpoints of a transport and their states: for status pages and logs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// The cluster that all endpoints must belong to: that of the first that answered a request.
    pub cluster_id: Option<u64>,
    /// The endpoints: as they were given, or as the cluster lists its members.
    pub endpoints: Vec<EndpointInfo>,
}

/// The state of one endpoint of a transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointInfo {
    /// Its URL.
    pub name: String,
    /// How it is doing.
    pub state: EndpointState,
    /// Why it isn't healthy, in a sentence.
    pub reason: Option<String>,
    /// Since when it has been in this state.
    pub since: SystemTime,
    /// How many calls and streams are under way.
    pub calls_in_flight: usize,
    /// How many calls, and messages on streams, were sent to it that have an answer; each attempt counts.
    pub attempts: u64,
    /// How many of them failed for a reason that lies with the endpoint or on the way to it.
    pub failures: u64,
    /// The member that answers there, once it has.
    pub member_id: Option<u64>,
}
