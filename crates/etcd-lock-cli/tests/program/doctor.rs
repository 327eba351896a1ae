//! `etcd-lock doctor`.

use std::fs;
use std::time::{Duration, SystemTime};

use etcd_lock::Owner;
use etcd_lock::kv::PutRequest;
use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::certificates::Authority;
use etcd_lock_testkit::real_etcd::{Setup, default_program, program_35};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::etcd::Etcd;
use crate::program::{End, end_of};

crate::tests_on!([served real] {
    all_is_well_and_nothing_is_left
});

crate::tests_on!(only served {
    owner_with_a_clock_ahead_of_ours_is_warned_of
});

async fn all_is_well_and_nothing_is_left(etcd: &Etcd) {
    let end = etcd.end_of(["doctor", "jobs/nightly"]).await.with(0);
    for line in [
        format!("ok    endpoint {}: member ", etcd.endpoint()),
        "ok    TLS: none".to_owned(),
        "ok    login: none is given".to_owned(),
        "ok    permission to read: keys below jobs/nightly/".to_owned(),
        "ok    permission to write".to_owned(),
        "ok    permission to delete".to_owned(),
        "ok    lease: granted and revoked".to_owned(),
    ] {
        has_line(&end, &line);
    }
    etcd.nothing_is_left("jobs/nightly").await;
}

async fn owner_with_a_clock_ahead_of_ours_is_warned_of(etcd: &Etcd) {
    let owner = Owner::current().with_since(SystemTime::now() + Duration::from_secs(60));
    let value = [b"etcd-lock/1 000000000000001f ", &*owner.to_bytes()].concat();
    etcd.commit(PutRequest::new("name/1f", value)).await;
    let end = etcd.end_of(["doctor", "name"]).await.with(0);
    has_line(
        &end,
        &format!("warn  clock: that of {} is at least", owner.host),
    );
}

#[tokio::test]
async fn embedded_etcd_is_well() {
    let end = end_of(["--embedded", "doctor", "name"]).await.with(0);
    has_line(&end, "ok    endpoint embedded: member ");
    has_line(&end, "ok    permission to write");
}

#[tokio::test]
async fn silent_and_closed_endpoints_fail_beside_a_good_one() {
    let etcd = Etcd::served().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_at = silent.local_addr().unwrap().to_string();
    let endpoints = format!("127.0.0.1:1,{silent_at},{}", etcd.endpoint());
    let args = [
        "doctor",
        "name",
        "--endpoints",
        &endpoints,
        "--command-timeout",
        "1s",
    ];
    let end = end_of(args).await.with(69);
    has_line(&end, "FAIL  endpoint 127.0.0.1:1: can't connect");
    has_line(&end, &format!("FAIL  endpoint {silent_at}: no answer"));
    has_line(
        &end,
        &format!("ok    endpoint {}: member ", etcd.endpoint()),
    );
    has_line(&end, "ok    permission to write");
    for line in end.stdout.lines().filter(|line| line.starts_with("FAIL")) {
        assert!(line.contains(". To do: "), "{line}");
    }
}

#[tokio::test]
async fn endpoints_of_two_clusters_end_with_64() {
    let (one, other) = (Etcd::served().await, Etcd::real().await);
    let endpoints = format!("{},{}", one.endpoint(), other.endpoint());
    let end = end_of(["doctor", "--endpoints", &endpoints]).await.with(64);
    has_line(&end, "FAIL  cluster: the endpoints are of several clusters");
}

#[tokio::test]
async fn login_and_permissions_are_told_apart() {
    for program in [default_program(), program_35()] {
        login_and_permissions(Setup::new().program(program).start().await).await;
    }
}

async fn login_and_permissions(mut etcd: RealEtcd) {
    etcd.enable_auth(&[("worker", "w-secret")], "a/").await;
    let endpoint = etcd.endpoints().remove(0);
    let doctor = async |flags: &[&str]| {
        let args = [&["doctor", "--endpoints", &endpoint], flags].concat();
        let end = end_of(args).await;
        assert!(!end.stdout.contains("secret"), "{end:?}");
        end
    };

    let right = doctor(&["a", "--user", "worker:w-secret"]).await.with(0);
    has_line(
        &right,
        "ok    login: worker is let in, and nobody is without",
    );
    has_line(&right, "ok    permission to write: keys below a/");
    let elsewhere = doctor(&["b", "--user", "worker:w-secret"]).await.with(77);
    has_line(&elsewhere, "ok    login: worker is let in");
    for what in ["read", "write", "delete"] {
        has_line(
            &elsewhere,
            &format!("FAIL  permission to {what}: keys below b/"),
        );
    }
    assert!(
        elsewhere
            .stdout
            .contains("grant-permission ROLE readwrite --prefix=true b/")
    );
    let wrong = doctor(&["a", "--user", "worker:wrong"]).await.with(77);
    has_line(&wrong, "FAIL  login: worker is not let in");
    let nobody = doctor(&["a"]).await.with(77);
    has_line(&nobody, "FAIL  login: etcd wants a user");
    let leases = etcd.etcdctl(0, &["lease", "list"]).await;
    assert_eq!(leases.trim(), "found 0 leases");
}

#[tokio::test]
async fn members_of_one_cluster_are_told_and_without_a_quorum_it_ends_with_69() {
    let mut etcd = RealEtcd::cluster(3).await;
    let endpoints = etcd.endpoints();
    let list = endpoints.join(",");
    let end = end_of(["doctor", "--endpoints", &list]).await.with(0);
    has_line(&end, "ok    cluster: 3 endpoints are 3 members of cluster ");
    assert_eq!(end.stdout.matches("; etcd 3.").count(), 3, "{end:?}");
    assert_eq!(end.stdout.matches(", led by ").count(), 3, "{end:?}");

    etcd.members()[1..]
        .iter_mut()
        .for_each(|member| member.kill());
    let end = end_of(["doctor", "name", "--endpoints", &list])
        .await
        .with(69);
    for endpoint in endpoints {
        has_line(&end, &format!("FAIL  endpoint {endpoint}: "));
    }
}

#[tokio::test]
async fn full_database_ends_with_70() {
    let flags = ["--quota-backend-bytes=1"];
    let etcd = RealEtcd::with_flags(&flags).await;
    let endpoint = etcd.endpoints().remove(0);
    let end = end_of(["doctor", "name", "--endpoints", &endpoint])
        .await
        .with(70);
    has_line(&end, "ok    permission to read");
    has_line(&end, "FAIL  lease: can't be granted");
    assert!(end.stdout.contains("etcdctl alarm disarm"), "{end:?}");
}

#[tokio::test]
async fn login_that_is_not_needed_is_told() {
    let etcd = Etcd::real().await;
    let end = etcd.end_of(["doctor", "--user", "me:secret"]).await.with(0);
    has_line(
        &end,
        "ok    login: me is let in, and so is this machine without",
    );
}

#[tokio::test]
async fn certificates_are_checked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (worker, stranger) = (authority.client("worker"), other.client("worker"));
    let etcd = Setup::new()
        .tls(&authority, &authority.server())
        .start()
        .await;
    let endpoint = etcd.endpoints().remove(0);
    let doctor = async |pair: &etcd_lock_testkit::certificates::Pair| {
        let files = [
            authority.ca_file(),
            pair.certificate_file(),
            pair.key_file(),
        ];
        let [ca, cert, key] = files.map(|file| file.to_str().unwrap());
        let tls = ["--cacert", ca, "--cert", cert, "--key", key];
        end_of([&["doctor", "--endpoints", &endpoint][..], &tls].concat()).await
    };

    has_line(&doctor(&worker).await.with(0), "ok    TLS: trusted is ");
    let refused = doctor(&stranger).await.with(77);
    has_line(&refused, &format!("FAIL  endpoint {endpoint}: "));
}

#[tokio::test]
async fn wrong_setting_ends_with_64_before_etcd_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.pem");
    fs::write(&file, "no certificate").unwrap();
    for (flags, line) in [
        (["--user", "me"], "FAIL  settings: "),
        (["--endpoints", "ftp://a:1"], "FAIL  settings: "),
        (["--cacert", file.to_str().unwrap()], "FAIL  TLS: "),
    ] {
        let end = end_of([&["doctor"], &flags[..]].concat()).await.with(64);
        has_line(&end, line);
        assert!(!end.stdout.contains("endpoint http"), "{end:?}");
    }
}

#[tokio::test]
async fn plain_connection_to_another_machine_is_warned_of() {
    let args = [
        "doctor",
        "--endpoints",
        "192.0.2.1:1",
        "--command-timeout",
        "300ms",
    ];
    let end = end_of(args).await.with(69);
    has_line(&end, "warn  TLS: http://192.0.2.1:1 without it");
}

#[tokio::test]
async fn json_has_verdicts_and_the_exit_status() {
    let etcd = Etcd::served().await;
    let endpoints = format!("{},127.0.0.1:1", etcd.endpoint());
    let end = end_of(["doctor", "-o", "json", "--endpoints", &endpoints])
        .await
        .with(69);
    let report: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!(report["status"], 69);
    let checks = report["checks"].as_array().unwrap();
    let of = |subject: String| {
        checks
            .iter()
            .find(|check| check["subject"] == *subject)
            .unwrap()
    };
    let well = of(format!("endpoint {}", etcd.endpoint()));
    assert_eq!(
        (&well["verdict"], &well["status"]),
        (&"ok".into(), &0.into())
    );
    assert!(well["details"]["median_ms"].as_f64() <= well["details"]["worst_ms"].as_f64());
    assert!(well["details"]["member_id"].is_string(), "{well}");
    let ill = of("endpoint 127.0.0.1:1".to_owned());
    assert_eq!(
        (&ill["verdict"], &ill["status"]),
        (&"fail".into(), &69.into())
    );
    assert!(ill["advice"].is_string(), "{ill}");
}

#[track_caller]
fn has_line(end: &End, start: &str) {
    let found = end.stdout.lines().any(|line| line.starts_with(start));
    assert!(found, "no line {start:?} in {end:?}");
}
