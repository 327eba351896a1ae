//! Environment variables and the options that they become.

use std::time::Duration;

use etcd_lock_core::{ErrorKind, Result};
use secrecy::ExposeSecret;

use super::ConnectOptions;

#[test]
fn without_any_variable_the_defaults_count() {
    let options = options(&[]).unwrap();
    assert_eq!(options.endpoints(), ["127.0.0.1:2379"]);
    assert_eq!(options.command_timeout(), None);
    let default = ConnectOptions::new();
    assert_eq!(format!("{options:?}"), format!("{default:?}"));
}

#[test]
fn each_variable_reaches_its_option() {
    let options = options(&[
        ("ETCDCTL_ENDPOINTS", "a:1, https://b:2 ,unix:///c"),
        ("ETCDCTL_CACERT", "/ca.pem"),
        ("ETCDCTL_CERT", "/cert.pem"),
        ("ETCDCTL_KEY", "/key.pem"),
        ("ETCD_LOCK_SERVER_NAME", "etcd.example.org"),
        ("ETCDCTL_DIAL_TIMEOUT", "3s"),
        ("ETCDCTL_COMMAND_TIMEOUT", "2m"),
        ("ETCDCTL_KEEPALIVE_TIME", "20"),
        ("ETCDCTL_KEEPALIVE_TIMEOUT", " 4s "),
    ]);
    let options = options.unwrap();
    assert_eq!(options.endpoints(), ["a:1", "https://b:2", "unix:///c"]);
    assert_eq!(options.command_timeout(), Some(Duration::from_secs(120)));
    assert_eq!(options.connect_timeout, Duration::from_secs(3));
    assert_eq!(options.keep_alive_interval, Duration::from_secs(20));
    assert_eq!(options.keep_alive_timeout, Duration::from_secs(4));
    let tls = format!("{:?}", options.tls.as_ref().unwrap());
    for value in ["/ca.pem", "/cert.pem", "/key.pem", "etcd.example.org"] {
        assert!(tls.contains(value), "{tls}");
    }
}

#[test]
fn own_endpoints_count_more_than_those_of_etcdctl() {
    let both = [("ETCD_LOCK_ENDPOINTS", "a:1"), ("ETCDCTL_ENDPOINTS", "b:1")];
    assert_eq!(options(&both).unwrap().endpoints(), ["a:1"]);
    let empty = [("ETCD_LOCK_ENDPOINTS", ""), ("ETCDCTL_ENDPOINTS", "b:1")];
    assert_eq!(options(&empty).unwrap().endpoints(), ["b:1"]);
}

#[test]
fn tls_is_wanted_by_certificates_or_by_the_variable_for_it() {
    let wants = |variable| options(&[("ETCDCTL_ENDPOINTS", "a:1"), variable]).unwrap();
    for variable in [
        ("ETCDCTL_CACERT", "/ca.pem"),
        ("ETCD_LOCK_SERVER_NAME", "a"),
        ("ETCDCTL_INSECURE_TRANSPORT", "false"),
    ] {
        assert!(wants(variable).tls.is_some(), "{variable:?}");
    }
    for variable in [
        ("ETCDCTL_INSECURE_TRANSPORT", "true"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "false"),
        ("ETCDCTL_CACERT", ""),
    ] {
        assert!(wants(variable).tls.is_none(), "{variable:?}");
    }
}

#[test]
fn user_and_password_come_together_or_apart() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from: a file\r\n").unwrap();
    let path = file.path().to_str().unwrap();
    for (variables, (name, password)) in [
        (&[("ETCDCTL_USER", "me:pass:word")][..], ("me", "pass:word")),
        (
            &[("ETCDCTL_USER", "me"), ("ETCDCTL_PASSWORD", " secret ")],
            ("me", " secret "),
        ),
        (
            &[("ETCDCTL_USER", "m:e"), ("ETCDCTL_PASSWORD", "secret")],
            ("m:e", "secret"),
        ),
        (
            &[("ETCDCTL_USER", "me"), ("ETCD_LOCK_PASSWORD_FILE", path)],
            ("me", "from: a file"),
        ),
    ] {
        let options = options(variables).unwrap();
        let login = options.login.as_ref().unwrap();
        assert_eq!(login.name, name);
        assert_eq!(login.password.expose_secret(), password);
        assert!(!format!("{options:?}").contains(password), "{options:?}");
    }
}

#[test]
fn what_does_not_go_together_is_refused_with_the_reason() {
    for (variables, reason) in [
        (&[("ETCDCTL_CERT", "/a")][..], "ETCDCTL_KEY"),
        (&[("ETCDCTL_KEY", "/a")], "ETCDCTL_CERT"),
        (
            &[
                ("ETCDCTL_CACERT", "/a"),
                ("ETCDCTL_ENDPOINTS", "http://a:1"),
            ],
            "no endpoint with it",
        ),
        (
            &[
                ("ETCD_LOCK_SERVER_NAME", "a"),
                ("ETCDCTL_ENDPOINTS", "unix:/a"),
            ],
            "no endpoint with it",
        ),
        (
            &[
                ("ETCDCTL_INSECURE_TRANSPORT", "0"),
                ("ETCDCTL_ENDPOINTS", "http://a:1"),
            ],
            "no endpoint with it",
        ),
        (&[("ETCDCTL_USER", "me")], "without a password"),
        (&[("ETCDCTL_PASSWORD", "secret")], "without a user"),
        (
            &[
                ("ETCDCTL_USER", "me:it"),
                ("ETCDCTL_ENDPOINTS", "10.0.0.1:1"),
            ],
            "plain TCP to loopback",
        ),
        (
            &[
                ("ETCDCTL_PASSWORD", "secret"),
                ("ETCD_LOCK_PASSWORD_FILE", "/a"),
            ],
            "two passwords",
        ),
        (
            &[
                ("ETCDCTL_USER", "me"),
                ("ETCD_LOCK_PASSWORD_FILE", "/no/such/file"),
            ],
            "can't read the password file /no/such/file",
        ),
        (&[("ETCDCTL_USER", ":it")], "name is empty"),
        (&[("ETCDCTL_USER", "me:")], "password is empty"),
        (&[("ETCDCTL_DIAL_TIMEOUT", "0s")], "longer than zero"),
        (
            &[("ETCDCTL_COMMAND_TIMEOUT", "soon")],
            "ETCDCTL_COMMAND_TIMEOUT is \"soon\"",
        ),
        (&[("ETCDCTL_KEEPALIVE_TIME", "2s")], "below 10 s"),
        (&[("ETCDCTL_KEEPALIVE_TIMEOUT", "0")], "longer than zero"),
        (&[("ETCDCTL_INSECURE_TRANSPORT", "no")], "true or false"),
        (
            &[("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true")],
            "could grant locks",
        ),
        (&[("ETCDCTL_DISCOVERY_SRV", "example.org")], "isn't signed"),
    ] {
        let error = options(variables).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
        assert!(error.to_string().contains(reason), "{error:?}");
    }
}

#[cfg(unix)]
#[test]
fn text_that_is_not_utf8_is_refused_and_not_repeated() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let error = ConnectOptions::from_variables(|name| {
        (name == "ETCDCTL_USER").then(|| OsString::from_vec(b"me:pass\xff".into()))
    });
    let error = error.unwrap_err();
    assert!(error.to_string().contains("ETCDCTL_USER is not UTF-8"));
    assert!(!format!("{error:?}").contains("pass"), "{error:?}");
}

fn options(variables: &[(&str, &str)]) -> Result<ConnectOptions> {
    ConnectOptions::from_variables(|name| {
        let mut values = variables.iter().filter(|(other, _)| *other == name);
        values.next().map(|(_, value)| value.into())
    })
}
