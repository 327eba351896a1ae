//! Who we are to the server, and the token that proves it.

use std::sync::Arc;
use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, Result};
use etcd_lock_proto::etcdserverpb as pb;
use pb::auth_client::AuthClient;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::options::Login;

/// A token of less than this age was good when its stream was opened.
const FRESH: Duration = Duration::from_secs(2);

/// Logs in when a request needs it. A login costs the server some 50 ms of its processor, so a token is used until it is
/// refused, and fetched once however many wait for it.
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

    /// What a request has to show, fetched over `channel` where there is none yet.
    ///
    /// # Errors
    /// What the server answers to the login.
    pub(crate) async fn pass(&self, channel: Channel) -> Result<Pass, Status> {
        let Some(login) = &self.login else {
            return Ok(Pass::default());
        };
        let mut known = self.pass.lock().await;
        if let Some(pass) = &*known {
            return Ok(pass.clone());
        }
        let request = pb::AuthenticateRequest {
            name: login.name.clone(),
            password: login.password.expose_secret().to_owned(),
        };
        let token = match AuthClient::new(channel).authenticate(request).await {
            Ok(reply) => Some(token(&reply.into_inner().token)?),
            Err(status) if is_off(&status) => None,
            Err(status) => return Err(status),
        };
        let pass = Pass(Some(Arc::new(Issued {
            token,
            at: Instant::now(),
        })));
        *known = Some(pass.clone());
        Ok(pass)
    }

    /// Whether an error means that another token may be better; the one that was refused is forgotten then.
    pub(crate) async fn is_over(&self, pass: &Pass, error: &Error) -> bool {
        let over = error.kind() == ErrorKind::Unauthenticated && self.login.is_some();
        if over {
            self.forget(pass).await;
        }
        over
    }

    /// Whether a stream that now isn't permitted something was opened so long ago that its token may have ended since:
    /// etcd says the same to a user who may not do it and to one whom it has forgotten.
    pub(crate) async fn is_over_on_stream(&self, pass: &Pass) -> bool {
        let over = pass.0.as_ref().is_some_and(|it| it.at.elapsed() > FRESH);
        if over {
            self.forget(pass).await;
        }
        over
    }

    async fn forget(&self, pass: &Pass) {
        let mut known = self.pass.lock().await;
        if known.as_ref().is_some_and(|known| known.is(pass)) {
            *known = None;
        }
    }
}

/// What a request shows of who sends it: nothing where nobody logs in.
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

fn token(text: &str) -> Result<AsciiMetadataValue, Status> {
    let token = AsciiMetadataValue::try_from(text);
    let mut token = token.map_err(|_| Status::internal("the token can't be sent in a header"))?;
    token.set_sensitive(true);
    Ok(token)
}

fn is_off(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
        && status.message().contains("authentication is not enabled")
}
