//! Where the etcd is and how to connect to it: flags, and the variables of `etcdctl`.

use std::path::Path;
use std::time::Duration;

use etcd_lock_testkit::certificates::Authority;
use etcd_lock_testkit::real_etcd::Setup;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::etcd::Etcd;
use crate::program::{End, Program, end_of, etcd_lock};

#[tokio::test]
async fn flags_that_dont_go_together_end_with_64() {
    for (flags, reason) in [
        (&["--cert", "a.pem"][..], "--key"),
        (&["--key", "a.pem"], "--cert"),
        (
            &["--cacert", "a.pem", "--endpoints", "http://a:1"],
            "no endpoint with it",
        ),
        (
            &["--server-name", "a", "--endpoints", "http://a:1"],
            "no endpoint with it",
        ),
        (&["--user", "me"], "without a password"),
        (
            &["--user", "me", "--password-file", "/no/such/file"],
            "/no/such/file",
        ),
        (&["--password-file", "/dev/null"], "without a user"),
        (
            &["--user", "me:secret", "--endpoints", "10.0.0.1:1"],
            "plain TCP",
        ),
        (
            &["--endpoints", "http://me:secret@127.0.0.1:1"],
            "a user in it",
        ),
        (&["--dial-timeout", "0s"], "longer than zero"),
        (&["--command-timeout", "soon"], "soon"),
        (&["--embedded", "--cacert", "a.pem"], "--embedded"),
    ] {
        let end = end_of(flags.iter().chain(&["lock", "name"])).await;
        assert!(!end.stderr.contains("secret"), "{end:?}");
        end.with(64).saying(reason);
    }
}

#[tokio::test]
async fn variables_that_cant_be_obeyed_end_with_64() {
    for (name, value, reason) in [
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true", "not supported"),
        ("ETCDCTL_DISCOVERY_SRV", "example.org", "not supported"),
        ("ETCDCTL_KEEPALIVE_TIME", "2s", "below 10 s"),
        ("ETCDCTL_CERT", "a.pem", "ETCDCTL_KEY"),
        ("ETCDCTL_PASSWORD", "secret", "without a user"),
        ("ETCDCTL_COMMAND_TIMEOUT", "soon", "ETCDCTL_COMMAND_TIMEOUT"),
    ] {
        let end = with_variable(name, value, &["lock", "name"]).await;
        assert!(!end.stderr.contains("secret"), "{end:?}");
        end.with(64).saying(reason);
    }
}

#[tokio::test]
async fn endpoints_may_have_blanks_between_them() {
    let etcd = Etcd::served().await;
    let endpoint = etcd.endpoint();
    let bare = endpoint.strip_prefix("http://").unwrap();
    let list = format!(" {bare} , {endpoint}");
    end_of(["--endpoints", &list, "lock", "a"]).await.with(0);
    let end = with_variable("ETCDCTL_ENDPOINTS", &list, &["lock", "b"]).await;
    end.with(0);
}

#[tokio::test]
async fn flag_counts_more_than_its_variable() {
    let etcd = Etcd::served().await;
    let flags = ["--command-timeout", "5s", "--endpoints", &etcd.endpoint()];
    let args: Vec<_> = flags.into_iter().chain(["lock", "name"]).collect();
    let end = with_variable("ETCDCTL_COMMAND_TIMEOUT", "soon", &args).await;
    end.with(0);
}

#[tokio::test]
async fn password_on_the_command_line_works_and_is_warned_of() {
    let etcd = Etcd::served().await;
    let flags = [
        "--endpoints",
        &etcd.endpoint(),
        "--user",
        "me:secret",
        "-vv",
    ];
    let end = end_of(flags.into_iter().chain(["lock", "name"])).await;
    assert!(!end.stderr.contains("secret"), "{end:?}");
    end.with(0).saying("list of processes");
}

/// The guarantee: a member that accepts and says nothing costs less than two seconds, wherever it stands in the list.
#[tokio::test]
async fn hung_endpoint_beside_a_good_one_costs_less_than_two_seconds() {
    let etcd = Etcd::real().await;
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (hung_at, good) = (hung.local_addr().unwrap().to_string(), etcd.endpoint());
    for endpoints in [format!("{hung_at},{good}"), format!("{good},{hung_at}")] {
        for _ in 0..3 {
            let began = Instant::now();
            let args = ["--endpoints", &endpoints, "run", "name", "--", "true"];
            end_of(args).await.with(0);
            let took = began.elapsed();
            assert!(took < Duration::from_secs(2), "{endpoints}: {took:?}");
        }
    }
}

#[tokio::test]
async fn etcd_with_tls_and_authentication_lets_the_right_ones_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (worker, stranger) = (authority.client(""), other.client(""));
    let setup = Setup::new().tls(&authority, &authority.server());
    let mut etcd = setup.start().await;
    etcd.enable_auth(&[("worker", "w-secret")], "a/").await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "w-secret\n").unwrap();
    let password = password.path().to_str().unwrap();
    let file = |path: &Path| path.to_str().unwrap().to_owned();
    let variables = [
        (
            "ETCDCTL_ENDPOINTS",
            etcd.endpoints()[0].replace("https://", ""),
        ),
        ("ETCDCTL_CACERT", file(authority.ca_file())),
        ("ETCDCTL_CERT", file(worker.certificate_file())),
        ("ETCDCTL_KEY", file(worker.key_file())),
        ("ETCDCTL_USER", "worker:w-secret".to_owned()),
    ];
    let run = async |flags: &[&str]| {
        let mut command = etcd_lock();
        command.envs(variables.clone()).args(flags);
        command.args(["-vv", "run", "a", "true"]);
        let end = Program::start(command).end().await;
        assert!(!end.stderr.contains("w-secret"), "{end:?}");
        end
    };

    run(&[]).await.with(0);
    run(&["--user", "worker", "--password-file", password])
        .await
        .with(0);
    let wrong = run(&["--user", "worker:wrong"]).await;
    wrong.with(77).saying("authentication failed");
    let key = file(stranger.key_file());
    let certificate = file(stranger.certificate_file());
    let wrong = run(&["--cert", &certificate, "--key", &key]).await;
    wrong.with(77).saying(&certificate);
    let missing = run(&["--cacert", "/no/such/file"]).await;
    missing.with(64).saying("can't read /no/such/file");
    let ca = file(other.ca_file());
    run(&["--cacert", &ca]).await.with(69).saying(&ca);
    run(&["--server-name", "other"])
        .await
        .with(69)
        .saying("is not for other");
}

async fn with_variable(name: &str, value: &str, args: &[&str]) -> End {
    let mut command = etcd_lock();
    command.env(name, value).args(args);
    Program::start(command).end().await
}
