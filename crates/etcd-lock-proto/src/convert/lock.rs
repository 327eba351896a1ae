//! The `Lock` service. Its reply lacks the create revision that `LockResponse` has, so there is no conversion of it: who
//! calls the RPC has to read the key back anyway.

use etcd_lock_core::{Error, LockRequest, Result, UnlockRequest, UnlockResponse};

use super::header;
use crate::v3lockpb as pb;

impl From<LockRequest> for pb::LockRequest {
    fn from(request: LockRequest) -> Self {
        Self {
            name: request.name.as_bytes().clone(),
            lease: request.lease.get(),
        }
    }
}

impl From<UnlockRequest> for pb::UnlockRequest {
    fn from(request: UnlockRequest) -> Self {
        Self {
            key: request.key.as_bytes().clone(),
        }
    }
}

impl TryFrom<pb::UnlockResponse> for UnlockResponse {
    type Error = Error;

    fn try_from(reply: pb::UnlockResponse) -> Result<Self> {
        Ok(Self::new(header(reply.header)?))
    }
}
