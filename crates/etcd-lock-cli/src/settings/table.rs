//! The settings of a connection: a flag, environment variables and a key of the configuration file for each.

use std::ffi::OsStr;

use etcd_lock::grpc::parse_duration;

/// What a setting is called, and what it says.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its flag without the dashes, and its key in the configuration file.
    pub(crate) name: &'static str,
    /// The environment variables that give it. The first of them is what the options of a connection know it as, and
    /// counts most.
    pub(crate) variables: &'static [&'static str],
    pub(crate) kind: Kind,
    pub(crate) value_name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) default: Option<&'static str>,
    pub(crate) show: Show,
}

/// What the value of a setting is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Duration,
    File,
    /// Endpoints, separated by commas.
    List,
    Secret,
    Switch,
    Text,
    /// A user's name, perhaps with a password behind a colon.
    User,
}

/// Which help a setting is shown in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Show {
    Always,
    InLongHelp,
    /// etcdctl has it, and it is refused with a reason.
    Never,
}

/// All settings, in the order of the help.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        variables: &["ETCD_LOCK_ENDPOINTS", "ETCDCTL_ENDPOINTS"],
        default: Some("127.0.0.1:2379"),
        ..often(
            "endpoints",
            Kind::List,
            "LIST",
            "The etcd's members, separated by commas",
        )
    },
    Setting {
        variables: &["ETCDCTL_CACERT"],
        ..often(
            "cacert",
            Kind::File,
            "FILE",
            "Certificates of the authorities to trust, as PEM",
        )
    },
    Setting {
        variables: &["ETCDCTL_CERT"],
        ..seldom("cert", Kind::File, "FILE", "Client certificate, as PEM")
    },
    Setting {
        variables: &["ETCDCTL_KEY"],
        ..seldom(
            "key",
            Kind::File,
            "FILE",
            "Key of the client certificate, as PEM",
        )
    },
    Setting {
        variables: &["ETCD_LOCK_SERVER_NAME"],
        ..seldom(
            "server-name",
            Kind::Text,
            "NAME",
            "Name in the servers' certificates, instead of the endpoint's host",
        )
    },
    Setting {
        variables: &["ETCDCTL_USER"],
        ..often("user", Kind::User, "NAME", "User to log in as")
    },
    Setting {
        variables: &["ETCD_LOCK_PASSWORD_FILE"],
        ..often(
            "password-file",
            Kind::File,
            "FILE",
            "File with the user's password",
        )
    },
    Setting {
        variables: &["ETCDCTL_PASSWORD"],
        ..seldom(
            "password",
            Kind::Secret,
            "PASSWORD",
            "The user's password: other users of this machine may see a flag, so prefer the variable or a file",
        )
    },
    Setting {
        variables: &["ETCDCTL_DIAL_TIMEOUT"],
        default: Some("2s"),
        ..seldom(
            "dial-timeout",
            Kind::Duration,
            "DURATION",
            "How long an attempt to connect may take",
        )
    },
    Setting {
        variables: &["ETCDCTL_COMMAND_TIMEOUT"],
        default: Some("5s"),
        ..often(
            "command-timeout",
            Kind::Duration,
            "DURATION",
            "How long etcd may take to answer",
        )
    },
    Setting {
        variables: &["ETCDCTL_KEEPALIVE_TIME"],
        default: Some("10s"),
        ..seldom(
            "keepalive-time",
            Kind::Duration,
            "DURATION",
            "How long a connection is silent before it is checked with a ping",
        )
    },
    Setting {
        variables: &["ETCDCTL_KEEPALIVE_TIMEOUT"],
        default: Some("5s"),
        ..seldom(
            "keepalive-timeout",
            Kind::Duration,
            "DURATION",
            "How long the answer to a ping may take",
        )
    },
    Setting {
        variables: &["ETCDCTL_INSECURE_TRANSPORT"],
        default: Some("true"),
        ..seldom(
            "insecure-transport",
            Kind::Switch,
            "BOOL",
            "With false, endpoints without a scheme are reached with TLS",
        )
    },
    Setting {
        variables: &["ETCDCTL_INSECURE_SKIP_TLS_VERIFY"],
        show: Show::Never,
        ..seldom("insecure-skip-tls-verify", Kind::Switch, "BOOL", "Refused")
    },
    Setting {
        variables: &["ETCDCTL_DISCOVERY_SRV"],
        show: Show::Never,
        ..seldom("discovery-srv", Kind::Text, "DOMAIN", "Refused")
    },
];

const fn often(
    name: &'static str,
    kind: Kind,
    value_name: &'static str,
    about: &'static str,
) -> Setting {
    Setting {
        name,
        variables: &[],
        kind,
        value_name,
        about,
        default: None,
        show: Show::Always,
    }
}

const fn seldom(
    name: &'static str,
    kind: Kind,
    value_name: &'static str,
    about: &'static str,
) -> Setting {
    Setting {
        show: Show::InLongHelp,
        ..often(name, kind, value_name, about)
    }
}

impl Setting {
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// Whether it only says how long something takes: then it does no harm where it isn't needed.
    pub(crate) fn is_duration(&self) -> bool {
        self.kind == Kind::Duration
    }

    /// Refuses a value that can't be right, with the reason.
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        match self.kind {
            Kind::Duration => parse_duration(text.trim())
                .map(|_| ())
                .map_err(|error| error.to_string()),
            Kind::List if text.is_empty() => Err("at least one endpoint is needed".to_owned()),
            Kind::Switch if !["true", "false"].contains(&text) => {
                Err("it must be true or false".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// A value of it for people, without what is secret.
    pub(crate) fn printable(&self, value: &OsStr) -> String {
        let text = value.to_string_lossy();
        match (self.kind, text.split_once(':')) {
            (Kind::Secret, _) => "(hidden)".to_owned(),
            (Kind::User, Some((name, _))) => format!("{name}:(hidden)"),
            _ => text.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printable() {
        let user = Setting::of("user").unwrap();
        assert_eq!(user.printable("me:secret".as_ref()), "me:(hidden)");
        assert_eq!(user.printable("me".as_ref()), "me");
        let password = Setting::of("password").unwrap();
        assert_eq!(password.printable("secret".as_ref()), "(hidden)");
    }
}
