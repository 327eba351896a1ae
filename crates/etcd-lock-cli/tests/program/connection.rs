//! Where the etcd is and how to connect to it: flags, and the variables of `etcdctl`.

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

async fn with_variable(name: &str, value: &str, args: &[&str]) -> End {
    let mut command = etcd_lock();
    command.env(name, value).args(args);
    Program::start(command).end().await
}
