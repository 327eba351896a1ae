//! Certificates and keys as PEM text.

use etcd_lock_core::ErrorKind;
use etcd_lock_grpc::{ConnectOptions, GrpcTransport, TlsOptions};

/// A NUL character stands between the authority's certificate, the client's, and its key.
pub(crate) fn certificates(bytes: &[u8]) {
    let mut texts = str::from_utf8(bytes)
        .into_iter()
        .flat_map(|text| text.split('\0'));
    let (Some(ca), Some(certificate), Some(key)) = (texts.next(), texts.next(), texts.next())
    else {
        return;
    };
    let tls = TlsOptions::new()
        .with_ca_pem(ca)
        .with_identity_pem(certificate, key);
    let options = ConnectOptions::from(["https://a:1"]).with_tls(tls);
    if let Err(error) = GrpcTransport::connect(options) {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
        let said = format!("{error:?} {error}");
        let mut secret = key.lines().filter(|line| line.len() > 32);
        assert!(!secret.any(|line| said.contains(line)), "{said}");
    }
}
