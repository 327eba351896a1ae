//! TLS in a build without it: an error that says how to get it.

use std::convert::Infallible;

use etcd_lock_core::{Error, ErrorKind, Result};

use super::TlsOptions;
use crate::connector::BoxIo;

/// A client of TLS, of which there is none in this build.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Infallible);

impl Tls {
    /// # Errors
    /// `Unsupported`, always.
    pub(crate) fn new(_: TlsOptions) -> Result<Self> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "this program was built without TLS: build it with the feature tls-ring or tls-aws-lc of etcd-lock",
        ))
    }

    pub(crate) async fn connect(&self, _: &str, _: BoxIo) -> Result<BoxIo> {
        match self.0 {}
    }
}
