//! Flags that say where the etcd is and how to connect to it, and the connection.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint, value_parser};
use etcd_lock::core::CallOptions;
use etcd_lock::memory::MemoryEtcd;
use etcd_lock::{Client, ConnectOptions, Context, Result, connect, in_memory, new};

use crate::config_file::{self, ConfigFile};
use crate::exit::{Failure, say};
use crate::settings::{Kind, SETTINGS, Setting, Settings, Show};

/// How long a call may take where nobody says otherwise, as for `etcdctl`.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the etcd is, and how to connect to it, as far as the command line says it.
#[derive(Clone, Default)]
pub(crate) struct Connection {
    embedded: bool,
    config: Option<PathBuf>,
    flags: BTreeMap<&'static str, OsString>,
}

/// An etcd that was connected to.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    /// How long it may take to answer.
    pub(crate) timeout: Duration,
}

impl Connected {
    /// For the calls that take a context.
    pub(crate) fn context(&self) -> Context {
        new(&self.client).with_timeout(self.timeout)
    }

    /// For the calls of its transport.
    pub(crate) fn options(&self) -> CallOptions {
        CallOptions::new(self.timeout.into())
    }
}

impl Connection {
    /// A client of the etcd that is meant. Nothing is sent yet.
    pub(crate) fn open(&self) -> Result<Connected, Failure> {
        Ok(self.opener()?()?)
    }

    /// Makes any number of clients of the etcd that is meant, each with connections of its own.
    pub(crate) fn opener(&self) -> Result<impl Fn() -> Result<Connected> + use<>, Failure> {
        let options = self.settings()?.options()?;
        let timeout = timeout(&options);
        let memory = self.embedded.then(MemoryEtcd::new);
        self.warn();
        Ok(move || {
            let client = match &memory {
                Some(etcd) => in_memory(etcd.clone()),
                None => connect(options.clone())?,
            };
            Ok(Connected { client, timeout })
        })
    }

    /// The endpoints that are meant, as far as that can be said.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let options = self.settings().and_then(|settings| settings.options());
        options.map_or_else(|_| Vec::new(), |options| options.endpoints().to_vec())
    }

    pub(crate) const fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// The values of all settings. For an embedded etcd only flags count.
    pub(crate) fn settings(&self) -> Result<Settings> {
        if self.embedded {
            return Ok(Settings::new(&self.flags, |_| None, None));
        }
        let file = ConfigFile::find(self.config.as_deref())?;
        Ok(Settings::new(&self.flags, |name| env::var_os(name), file))
    }

    /// The first flag of a connection that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let embedded = self.embedded.then_some("embedded");
        embedded.or_else(|| self.elsewhere().next())
    }

    /// Refuses flags for an etcd elsewhere beside `--embedded`. Timeouts do no harm.
    pub(crate) fn check(&self, command: &mut Command) -> Result<(), clap::Error> {
        let is_duration = |name: &str| Setting::of(name).is_some_and(Setting::is_duration);
        match self.elsewhere().find(|name| !is_duration(name)) {
            Some(other) if self.embedded => {
                let text = format!(
                    "the argument '--embedded' cannot be used with '--{other}': an embedded etcd is not connected to"
                );
                Err(command.error(ErrorKind::ArgumentConflict, text))
            }
            _ => Ok(()),
        }
    }

    /// The flags that were given for an etcd that is not embedded.
    fn elsewhere(&self) -> impl Iterator<Item = &'static str> {
        let config = self.config.as_ref().map(|_| "config");
        config.into_iter().chain(self.flags.keys().copied())
    }

    fn warn(&self) {
        let user = self.flags.get("user");
        let has_password = user.is_some_and(|user| user.to_string_lossy().contains(':'));
        if has_password || self.flags.contains_key("password") {
            say(
                "other users of this machine may see the password in its list of processes: give it in a file",
            );
        }
    }
}

/// How long etcd may take to answer.
pub(crate) fn timeout(options: &ConnectOptions) -> Duration {
    options.command_timeout().unwrap_or(COMMAND_TIMEOUT)
}

impl Args for Connection {
    fn augment_args(command: Command) -> Command {
        let embedded = Arg::new("embedded")
            .long("embedded")
            .action(ArgAction::SetTrue)
            .help("Use an etcd in memory that lives as long as this program");
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Configuration file")
            .long_help(format!(
                "Configuration file [env: {}] [default: ~/.config/etcd-lock/config.toml, if it exists]",
                config_file::VARIABLE
            ));
        let command = command.next_help_heading("Connection");
        command
            .args([embedded, config])
            .args(SETTINGS.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Connection {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut connection = Self::default();
        connection.update_from_arg_matches(matches)?;
        Ok(connection)
    }

    /// What is given here counts more than what was given before.
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.embedded |= matches.get_flag("embedded");
        if let Some(config) = matches.get_one::<PathBuf>("config") {
            self.config = Some(config.clone());
        }
        for setting in SETTINGS {
            if let Some(value) = matches.get_one::<OsString>(id(setting)) {
                self.flags.insert(setting.name, value.clone());
            }
        }
        Ok(())
    }
}

/// Values may be secret.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("flags", &self.flags.keys())
            .finish_non_exhaustive()
    }
}

/// `unlock` has an argument `key`.
fn id(setting: &Setting) -> &'static str {
    match setting.name {
        "key" => "client-key",
        name => name,
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let default = setting.default.map(|value| format!(" [default: {value}]"));
    let default = default.unwrap_or_default();
    let (about, variables) = (setting.about, setting.variables.join(", "));
    let arg = Arg::new(id(setting))
        .long(setting.name)
        .value_name(setting.value_name)
        .help(format!("{about}{default}"))
        .long_help(format!("{about} [env: {variables}]{default}"))
        .hide_short_help(setting.show != Show::Always)
        .hide(setting.show == Show::Never);
    match setting.kind {
        Kind::Duration | Kind::List => arg.value_parser(checked(setting)),
        Kind::Switch => arg
            .value_parser(checked(setting))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::File => arg
            .value_parser(value_parser!(OsString))
            .value_hint(ValueHint::FilePath),
        Kind::Secret | Kind::Text | Kind::User => arg.value_parser(value_parser!(OsString)),
    }
}

fn checked(setting: &'static Setting) -> ValueParser {
    ValueParser::new(|text: &str| setting.check(text).map(|()| OsString::from(text)))
}
