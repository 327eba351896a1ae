//! Real etcds behind TLS, that want client certificates.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::path::PathBuf;
use std::time::Duration;

use etcd_lock_core::{Client, Error, ErrorKind, lease, new};
use etcd_lock_grpc::{ConnectOptions, EndpointChoice, EndpointState, GrpcTransport, TlsOptions};
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::certificates::{Authority, Pair};
use etcd_lock_testkit::real_etcd::{Setup, default_program, program_35};
use etcd_lock_testkit::test_context::PATIENCE;
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn lock_works_with_a_client_certificate() {
    for program in programs() {
        let authority = Authority::new();
        let etcd = secured(program, &authority).await;
        let tls = showing(&authority, &authority.client("worker"));
        for endpoint in endpoints(&etcd) {
            lock_and_unlock(&client(&endpoint, tls.clone()))
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn missing_client_certificate_is_asked_for_at_once() {
    for program in programs() {
        let authority = Authority::new();
        let etcd = secured(program, &authority).await;
        let error = refusal(&etcd, trusting(&authority)).await;
        says(
            &error,
            ErrorKind::Unauthenticated,
            "wants a client certificate",
        );
    }
}

#[tokio::test]
async fn client_certificate_of_another_authority_is_refused_at_once() {
    for program in programs() {
        let (authority, other) = (Authority::new(), Authority::new());
        let etcd = secured(program, &authority).await;
        for stranger in [other.client("worker"), authority.expired_client("worker")] {
            let error = refusal(&etcd, showing(&authority, &stranger)).await;
            let file = stranger.certificate_file().display().to_string();
            says(&error, ErrorKind::Unauthenticated, &file);
        }
    }
}

#[tokio::test]
async fn member_of_another_authority_is_refused_at_once() {
    let (authority, other) = (Authority::new(), Authority::new());
    let etcd = secured(default_program(), &authority).await;
    let tls = showing(&other, &authority.client("worker"));
    let error = refusal(&etcd, tls).await;
    let file = other.ca_file().display().to_string();
    says(&error, ErrorKind::Protocol, &file);
}

#[tokio::test]
async fn endpoint_with_a_wrong_certificate_beside_a_good_one_is_left() {
    let authority = Authority::new();
    let server = authority.server_for(&["127.0.0.1"]);
    let etcd = Setup::new().tls(&authority, &server).start().await;
    let [good, bad] = endpoints(&etcd);
    let options = ConnectOptions::new()
        .with_tls(showing(&authority, &authority.client("worker")))
        .with_endpoint_choice(EndpointChoice::Listed);
    let transport = GrpcTransport::connect(options.with_endpoints([bad, good])).unwrap();
    let client = Queue::new(transport.clone()).into_client();
    lock_and_unlock(&client).await.unwrap();
    let info = transport.info();
    assert_eq!(info.endpoints[0].state, EndpointState::Failed);
    let reason = info.endpoints[0].reason.as_deref().unwrap();
    assert!(reason.contains("is not for localhost"), "{reason}");
    assert_eq!(info.endpoints[1].state, EndpointState::Healthy);
}

#[tokio::test]
async fn etcd_with_tls_reached_without_it_and_the_other_way_round_are_told() {
    let authority = Authority::new();
    for program in programs() {
        let with = secured(program.clone(), &authority).await;
        let plain = with.endpoints()[0].replace("https://", "http://");
        let client = Client::new(GrpcTransport::connect([plain]).unwrap());
        let error = lock_and_unlock(&client).await.unwrap_err();
        assert!(error.to_string().contains("without TLS"), "{error:?}");

        let without = Setup::new().program(program).start().await;
        let secure = without.endpoints()[0].replace("http://", "https://");
        let client = self::client(&secure, trusting(&authority));
        let error = lock_and_unlock(&client).await.unwrap_err();
        assert!(error.to_string().contains("TLS"), "{error:?}");
    }
}

/// With authentication on, the common name is the user, and no password is needed.
#[tokio::test]
async fn user_of_a_client_certificate_has_the_grants_of_its_name() {
    for program in programs() {
        let authority = Authority::new();
        let mut etcd = secured(program, &authority).await;
        etcd.enable_auth(&[("worker", "w-secret")], "a/").await;
        let endpoint = etcd.endpoints().remove(0);
        let worker = client(&endpoint, showing(&authority, &authority.client("worker")));
        lock_and_unlock(&worker).await.unwrap();

        let nobody = client(&endpoint, showing(&authority, &authority.client("nobody")));
        let error = lock_and_unlock(&nobody).await.unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::Unauthenticated
            ),
            "{error:?}"
        );

        let options = ConnectOptions::new()
            .with_tls(showing(&authority, &authority.client("nobody")))
            .with_login("worker", "w-secret");
        let transport = GrpcTransport::connect(options.with_endpoints([endpoint])).unwrap();
        lock_and_unlock(&Queue::new(transport).into_client())
            .await
            .unwrap();
    }
}

async fn lock_and_unlock(client: &Client) -> Result<(), Error> {
    let lease = lease::grant(client, TTL).await?.id;
    let held = new(client).with_name("a").with_lease(lease).lock().await?;
    etcd_lock_core::unlock(client, &held.key).await?;
    let session = Session::open(client, TTL).await?;
    Mutex::new(&session, "a")?.lock().await?.unlock().await?;
    session.close().await?;
    lease::revoke(client, lease).await?;
    Ok(())
}

/// Why a client with these options isn't let in. It learns so long before its calls time out.
async fn refusal(etcd: &RealEtcd, tls: TlsOptions) -> Error {
    let began = Instant::now();
    let client = client(&etcd.endpoints()[0], tls);
    let error = lease::grant(new(&client).with_timeout(PATIENCE), TTL).await;
    assert!(began.elapsed() < PATIENCE / 2);
    error.unwrap_err()
}

#[track_caller]
fn says(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.to_string().contains(text), "{error:?}");
}

fn client(endpoint: &str, tls: TlsOptions) -> Client {
    let options = ConnectOptions::new().with_tls(tls);
    Queue::new(GrpcTransport::connect(options.with_endpoints([endpoint])).unwrap()).into_client()
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions::new().with_ca_file(authority.ca_file())
}

fn showing(authority: &Authority, client: &Pair) -> TlsOptions {
    trusting(authority).with_identity_files(client.certificate_file(), client.key_file())
}

/// By address and by name.
fn endpoints(etcd: &RealEtcd) -> [String; 2] {
    let by_address = etcd.endpoints().remove(0);
    let by_name = by_address.replace("127.0.0.1", "localhost");
    [by_address, by_name]
}

async fn secured(program: PathBuf, authority: &Authority) -> RealEtcd {
    let setup = Setup::new().program(program);
    setup.tls(authority, &authority.server()).start().await
}

/// etcd 3.4 as it is installed, and 3.5.
fn programs() -> [PathBuf; 2] {
    [default_program(), program_35()]
}
