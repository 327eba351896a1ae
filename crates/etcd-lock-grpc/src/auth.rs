//! The user that requests are sent as, and the token that proves it.
//!
//! The token belongs to the cluster: one that any member issued is shown to all. A simple token ends on each member by
//! itself, though, when it wasn't used there for a while, so after a failover `invalid auth token` is to be expected, and
//! leads to a new login. A login costs the server some 50 ms of its processor, so a token is used until it is refused. At
//! each endpoint one login is under way at a time; one that hangs doesn't keep anybody from another endpoint's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, Result};
use etcd_lock_proto::etcdserverpb as pb;
use pb::auth_client::AuthClient;
use secrecy::ExposeSecret;
use tokio::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status};

use crate::endpoint::Endpoint;
use crate::options::Login;
use crate::pool::Purpose;
use crate::status;

/// A token of less than this age was good when its stream was opened.
const FRESH: Duration = Duration::from_secs(2);

/// The token, fetched when a request needs it.
#[derive(Debug)]
pub(crate) struct Auth {
    login: Option<Login>,
    pass: Mutex<Option<Pass>>,
}

impl Auth {
    pub(crate) fn new(login: Option<Login>) -> Self {
        Self {
            login,
            pass: Mutex::default(),
        }
    }

    /// Whether there is a user to log in as.
    pub(crate) const fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// The token for a request to an endpoint, fetched from there where there is none yet.
    ///
    /// # Errors
    /// The error that the server answers the login with.
    ///
    /// # Cancel safety
    /// A task that waits for the same login logs in itself.
    pub(crate) async fn pass(&self, endpoint: &Arc<Endpoint>) -> Result<Pass> {
        let Some(login) = &self.login else {
            return Ok(Pass::default());
        };
        if let Some(pass) = &*self.known() {
            return Ok(pass.clone());
        }
        let _alone = endpoint.login.lock().await;
        if let Some(pass) = &*self.known() {
            return Ok(pass.clone());
        }
        let pass = log_in(login, endpoint).await?;
        *self.known() = Some(pass.clone());
        Ok(pass)
    }

    /// Whether an error means that another token may be better. The one that was refused is forgotten then.
    pub(crate) fn is_over(&self, pass: &Pass, error: &Error) -> bool {
        let over = error.kind() == ErrorKind::Unauthenticated && self.login.is_some();
        if over {
            self.forget(pass);
        }
        over
    }

    /// As [`is_over`](Self::is_over), for what was said on a stream: etcd says "permission denied" both to a user who may
    /// not do it and to one whose token has ended since the stream was opened. A token of little age is good.
    pub(crate) fn is_over_on_stream(&self, pass: &Pass, error: &Error) -> bool {
        let is_old = || pass.0.as_ref().is_some_and(|it| it.at.elapsed() > FRESH);
        let over = match error.kind() {
            ErrorKind::Unauthenticated => self.login.is_some(),
            ErrorKind::PermissionDenied => is_old(),
            _ => false,
        };
        if over {
            self.forget(pass);
        }
        over
    }

    fn forget(&self, pass: &Pass) {
        let mut known = self.known();
        if known.as_ref().is_some_and(|known| known.is(pass)) {
            *known = None;
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Pass>> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn log_in(login: &Login, endpoint: &Arc<Endpoint>) -> Result<Pass> {
    let slot = endpoint.slot(Purpose::Short).await?;
    let request = pb::AuthenticateRequest {
        name: login.name.clone(),
        password: login.password.expose_secret().to_owned(),
    };
    let question = endpoint.ask();
    let reply = AuthClient::new(slot.channel).authenticate(request).await;
    let token = match reply {
        Ok(reply) => {
            question.answered();
            Some(token(&reply.into_inner().token)?)
        }
        Err(status) if is_off(&status) => {
            question.answered();
            None
        }
        Err(status) => return Err(status::note(status, endpoint, Some(&question), true)),
    };
    let at = Instant::now();
    Ok(Pass(Some(Arc::new(Issued { token, at }))))
}

/// The token of a request: none where there is no login.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass(Option<Arc<Issued>>);

impl Pass {
    pub(crate) fn show<T>(&self, mut request: tonic::Request<T>) -> tonic::Request<T> {
        if let Some(token) = self.0.as_ref().and_then(|issued| issued.token.clone()) {
            request.metadata_mut().insert("token", token);
        }
        request
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Issued {
    /// Nothing from a server that has authentication off.
    token: Option<AsciiMetadataValue>,
    at: Instant,
}

fn token(text: &str) -> Result<AsciiMetadataValue> {
    let token = AsciiMetadataValue::try_from(text);
    let mut token = token.map_err(|_| {
        Error::new(
            ErrorKind::Protocol,
            "the token that the server issued can't be sent in a header",
        )
    })?;
    token.set_sensitive(true);
    Ok(token)
}

fn is_off(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
        && status.message().contains("authentication is not enabled")
}
