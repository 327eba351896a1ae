//! The services that `etcdctl` uses beside those for keys: `Maintenance`, `Cluster` and `Auth`.

use etcd_lock_proto::etcdserverpb as pb;
use pb::auth_server::Auth;
use pb::cluster_server::Cluster;
use pb::maintenance_server::Maintenance;
use tonic::{Request, Response, Result, Status};

use super::Served;
use crate::model::Model;

#[tonic::async_trait]
impl Maintenance for Served {
    async fn alarm(&self, _: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>> {
        Ok(Response::new(pb::AlarmResponse {
            header: self.header(),
            alarms: Vec::new(),
        }))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>> {
        let revision = self.etcd.with(|model| model.revision()).unsigned_abs();
        Ok(Response::new(pb::StatusResponse {
            header: self.header(),
            version: concat!("3.5.0-etcd-lock-", env!("CARGO_PKG_VERSION")).to_owned(),
            leader: Model::MEMBER_ID,
            raft_index: revision,
            raft_term: Model::RAFT_TERM,
            raft_applied_index: revision,
            ..pb::StatusResponse::default()
        }))
    }

    async fn hash_kv(&self, _: Request<pb::HashKvRequest>) -> Result<Response<pb::HashKvResponse>> {
        Err(Status::unimplemented(
            "etcd-lock: the in-memory etcd has no hash: there is only one of it",
        ))
    }
}

#[tonic::async_trait]
impl Cluster for Served {
    async fn member_list(
        &self,
        _: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>> {
        let member = pb::Member {
            id: Model::MEMBER_ID,
            name: "etcd-lock".to_owned(),
            client_ur_ls: vec![format!("http://{}", self.address)],
            ..pb::Member::default()
        };
        Ok(Response::new(pb::MemberListResponse {
            header: self.header(),
            members: vec![member],
        }))
    }
}

/// There are no users, and etcd's own text says so.
fn no_auth<T>() -> Result<T> {
    Err(Status::failed_precondition(
        "etcdserver: authentication is not enabled",
    ))
}

/// Users can't be made here.
fn no_users<T>() -> Result<T> {
    Err(Status::unimplemented(
        "etcd-lock: the in-memory etcd has no users: use a real one",
    ))
}

#[tonic::async_trait]
impl Auth for Served {
    async fn auth_enable(
        &self,
        _: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>> {
        no_users()
    }

    async fn auth_disable(
        &self,
        _: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>> {
        no_users()
    }

    async fn authenticate(
        &self,
        _: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>> {
        no_auth()
    }

    async fn user_add(
        &self,
        _: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>> {
        no_users()
    }

    async fn user_grant_role(
        &self,
        _: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>> {
        no_users()
    }

    async fn role_add(
        &self,
        _: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>> {
        no_users()
    }

    async fn role_grant_permission(
        &self,
        _: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>> {
        no_users()
    }
}

impl Served {
    fn header(&self) -> Option<pb::ResponseHeader> {
        self.etcd.with(|model| model.header())
    }
}
