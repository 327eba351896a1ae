//! Endpoints.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::sync::mpsc;

use etcd_lock_core::{Error, ErrorKind, Result, Transport};
use etcd_lock_grpc::{Address, ConnectOptions, GrpcTransport, TlsOptions};
use http::{Request, Response};
use tokio::io::DuplexStream;
use tonic::body::Body;

use crate::server::calls::{options, read, run};

/// An endpoint is refused as given, or connections go where its name says.
pub(crate) fn endpoint(bytes: &[u8]) {
    let Ok(given) = str::from_utf8(bytes) else {
        return;
    };
    let plain = ConnectOptions::from(given);
    let with_tls = plain.clone().with_tls(TlsOptions::new());
    let with_login = plain.clone().with_login("me", "secret");
    for (options, has_login) in [(plain, false), (with_tls, false), (with_login, true)] {
        match name(options) {
            Ok(name) => is_right(&name, has_login),
            Err(error) => is_refusal(&error, given),
        }
    }
}

/// The name of an endpoint that is not refused. Nothing is connected, so that no certificates are read.
fn name(options: ConnectOptions) -> Result<String> {
    let answer = |_: Request<Body>| ready(Ok::<Response<Body>, Infallible>(Response::default()));
    let transport = GrpcTransport::builder(options)
        .channel(tower::service_fn(answer))
        .build()?;
    Ok(transport.info().endpoints[0].name.clone())
}

/// The name says where connections go, in full and with nothing else.
fn is_right(name: &str, has_login: bool) {
    let (scheme, rest) = name.split_once("://").unwrap();
    let scheme = scheme.to_ascii_lowercase();
    // Connections go to the same place without TLS, for which no certificates are read.
    let address = match scheme.as_str() {
        "https" => reached(&format!("http://{rest}")),
        _ => reached(name),
    };
    let (is_whole, is_safe) = match &address {
        Address::Unix(path) => (Some(rest) == path.to_str(), true),
        Address::Tcp { host, .. } => {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            let is_safe = scheme == "https" || is_loopback(host);
            (rest == address.to_string(), is_safe)
        }
        other => panic!("{other}"),
    };
    assert!(is_whole, "{name:?} goes to {address}");
    assert!(is_safe || !has_login, "{name:?}");
}

/// Where a connection to an endpoint goes.
fn reached(endpoint: &str) -> Address {
    let (told, asked) = mpsc::channel();
    let connector = move |address: Address| -> Ready<io::Result<DuplexStream>> {
        told.send(address).unwrap();
        ready(Err(io::ErrorKind::ConnectionRefused.into()))
    };
    let transport = GrpcTransport::builder(ConnectOptions::from(endpoint).with_max_attempts(1))
        .connector(tower::service_fn(connector))
        .build()
        .unwrap();
    let error = run(async { transport.range(read(), options()).await.unwrap_err() });
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    asked.recv().unwrap()
}

fn is_loopback(host: &str) -> bool {
    let ip = host.parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// A refusal repeats the text, unless that may hold a password.
fn is_refusal(error: &Error, given: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    // With options for TLS, an endpoint without it is refused as all of them are.
    let is_in_vain = error.to_string().contains("no endpoint with it");
    let is_repeated = error.to_string().contains(&format!("{given:?}"));
    assert!(is_in_vain || is_repeated != given.contains('@'), "{error}");
}
