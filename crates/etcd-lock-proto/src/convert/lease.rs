//! Leases.

use std::time::Duration;

use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::{Error, LeaseId, Result, Ttl};

use super::{header, lease_id, odd};
use crate::etcdserverpb as pb;

impl From<LeaseGrantRequest> for pb::LeaseGrantRequest {
    fn from(request: LeaseGrantRequest) -> Self {
        Self {
            ttl: request.ttl.as_secs(),
            id: request.id.map_or(0, LeaseId::get),
        }
    }
}

impl TryFrom<pb::LeaseGrantResponse> for LeaseGrantResponse {
    type Error = Error;

    fn try_from(reply: pb::LeaseGrantResponse) -> Result<Self> {
        Ok(Self::new(
            header(reply.header)?,
            lease_id(reply.id)?,
            ttl(reply.ttl)?,
        ))
    }
}

impl From<LeaseId> for pb::LeaseRevokeRequest {
    fn from(lease: LeaseId) -> Self {
        Self { id: lease.get() }
    }
}

impl TryFrom<pb::LeaseRevokeResponse> for LeaseRevokeResponse {
    type Error = Error;

    fn try_from(reply: pb::LeaseRevokeResponse) -> Result<Self> {
        Ok(Self::new(header(reply.header)?))
    }
}

impl From<LeaseId> for pb::LeaseKeepAliveRequest {
    fn from(lease: LeaseId) -> Self {
        Self { id: lease.get() }
    }
}

impl TryFrom<pb::LeaseKeepAliveResponse> for LeaseKeepAliveResponse {
    type Error = Error;

    fn try_from(reply: pb::LeaseKeepAliveResponse) -> Result<Self> {
        // etcd says that a lease is gone by a time to live of 0.
        let left = if reply.ttl > 0 {
            Some(ttl(reply.ttl)?)
        } else {
            None
        };
        Ok(Self::new(header(reply.header)?, lease_id(reply.id)?, left))
    }
}

impl From<LeaseTimeToLiveRequest> for pb::LeaseTimeToLiveRequest {
    fn from(request: LeaseTimeToLiveRequest) -> Self {
        Self {
            id: request.id.get(),
            keys: request.keys,
        }
    }
}

impl TryFrom<pb::LeaseTimeToLiveResponse> for LeaseTimeToLiveResponse {
    type Error = Error;

    fn try_from(reply: pb::LeaseTimeToLiveResponse) -> Result<Self> {
        // etcd says that a lease is gone by a time to live of -1.
        let left = u64::try_from(reply.ttl).ok().map(Duration::from_secs);
        let granted = match reply.granted_ttl {
            0 => None,
            secs => Some(ttl(secs)?),
        };
        Ok(Self::new(
            header(reply.header)?,
            lease_id(reply.id)?,
            left,
            granted,
            reply.keys,
        ))
    }
}

impl TryFrom<pb::LeaseLeasesResponse> for LeaseLeasesResponse {
    type Error = Error;

    fn try_from(reply: pb::LeaseLeasesResponse) -> Result<Self> {
        let leases = reply
            .leases
            .iter()
            .filter_map(|lease| LeaseId::new(lease.id).ok());
        Ok(Self::new(header(reply.header)?, leases.collect()))
    }
}

fn ttl(secs: i64) -> Result<Ttl> {
    Ttl::from_secs(secs).map_err(|error| odd("an impossible time to live").with_source(error))
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::ErrorKind;

    use super::*;

    #[test]
    fn a_lease_that_is_gone_has_no_time() {
        let header = Some(pb::ResponseHeader::default());
        let reply = pb::LeaseKeepAliveResponse {
            header,
            id: 5,
            ttl: 0,
        };
        assert_eq!(LeaseKeepAliveResponse::try_from(reply).unwrap().ttl, None);
        let reply = pb::LeaseTimeToLiveResponse {
            header,
            id: 5,
            ttl: -1,
            ..Default::default()
        };
        assert_eq!(
            LeaseTimeToLiveResponse::try_from(reply).unwrap().remaining,
            None
        );
        let reply = pb::LeaseTimeToLiveResponse {
            header,
            id: 5,
            ttl: 0,
            ..Default::default()
        };
        assert_eq!(
            LeaseTimeToLiveResponse::try_from(reply).unwrap().remaining,
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn what_no_etcd_says_is_an_error() {
        let header = Some(pb::ResponseHeader::default());
        for (id, ttl) in [(0, 5), (-7, 5), (7, 0), (7, -1), (7, i64::MAX)] {
            let reply = pb::LeaseGrantResponse {
                header,
                id,
                ttl,
                error: String::new(),
            };
            let error = LeaseGrantResponse::try_from(reply).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{id} {ttl}");
        }
    }
}
