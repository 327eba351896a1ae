//! The commands, arguments and options of the command line.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use etcd_lock::grpc::parse_duration as duration;
use etcd_lock::{Error, LeaseId, LockName, Ttl};

use crate::bench::{self, Bench};
use crate::completions::{self, Completions};
use crate::config::{self, Config};
use crate::connection::Connection;
use crate::doctor::{self, Doctor};
use crate::man::{self, Man};
use crate::version;

/// Distributed locks on etcd.
#[derive(Debug, Parser)]
#[command(name = "etcd-lock", version, long_version = version::LONG, after_long_help = ABOUT)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of every command.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Say what is done, twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    // Last: what follows would be under its heading.
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// The part of the help that is the same for all commands.
const ABOUT: &str = "\
Settings:
  A flag counts more than its environment variable, and that more than the key of the
  same name in a TOML file: that of --config or ETCD_LOCK_CONFIG, else
  $XDG_CONFIG_HOME/etcd-lock/config.toml or ~/.config/etcd-lock/config.toml.

    endpoints = [\"https://10.0.0.1:2379\", \"https://10.0.0.2:2379\"]
    cacert = \"ca.pem\"
    user = \"worker\"
    password-file = \"password\"

  Paths in the file are relative to it, and a password is never in it. etcd-lock config
  shows each value and where it comes from.

Examples:
  etcd-lock run nightly -- ./backup.sh
  etcd-lock run --wait 5m --ttl 30s deploy -- make deploy
  etcd-lock status nightly
  etcd-lock doctor nightly

Exit status:
  0    it is done
  64   the command line or a setting is wrong
  69   no etcd answers
  70   something that should not happen, or an error of etcd without a status of its own
  71   the operating system is in the way
  75   somebody else has the lock
  77   etcd doesn't let this user in
  79   the lock was lost";

/// The part of `run`'s help that a script depends on: variables and exit statuses.
const ABOUT_RUN: &str = "\
The command finds in its environment:
  ETCD_LOCK_NAME   the lock's name
  ETCD_LOCK_KEY    the key that exists on etcd for as long as the lock is held
  ETCD_LOCK_LEASE  the lease that keeps the key alive, in hex
  ETCD_LOCK_TOKEN  the fencing token: a number that grows from holder to holder
  ETCD_LOCK_REV    the revision of the grant, as etcdctl gives it: no fencing token

Exit status:
  the command's own, or 128+N where signal N ended it
  64   the command line is wrong
  69   no etcd answers
  70   something that should not happen, or an error of etcd without a status of its own
  71   the operating system is in the way
  75   somebody else has the lock, unless -E says otherwise
  77   etcd doesn't let this user in
  79   the lock was lost while the command ran
  126  the command can't be executed: found out before the lock is waited for
  127  there is no such command: likewise";

/// An example is worth more than a description of the variables.
const ABOUT_LOCK: &str = "\
In a script:
  eval \"$(etcd-lock lock deploy --ttl 5m -o env)\"
  first-step && etcd-lock renew && second-step
  etcd-lock unlock";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command while holding a lock
    #[command(after_long_help = ABOUT_RUN)]
    Run(Run),
    /// Take a lock and leave it to its lease: print its key, lease and token
    #[command(after_help = ABOUT_LOCK)]
    Lock(Lock),
    /// Give a lock back by its key
    Unlock(Unlock),
    /// Begin the time of a lock anew by its key
    Renew(Renew),
    /// Show the holder of a lock and those that wait for it
    Status(Status),
    /// Show all locks below a prefix
    List(List),
    /// Remove the entry of a holder that will not give the lock back
    Break(Break),
    /// Serve an etcd in memory, for development and tests
    Serve(Serve),
    /// Check the way to etcd, and what is allowed there
    #[command(after_long_help = doctor::ABOUT)]
    Doctor(Doctor),
    /// Measure how fast locks are, beside plain reads and writes
    #[command(after_long_help = bench::ABOUT)]
    Bench(Bench),
    /// Show the value of each setting and where it comes from
    #[command(after_long_help = config::ABOUT)]
    Config(Config),
    /// Print completions for a shell
    #[command(after_long_help = completions::ABOUT)]
    Completions(Completions),
    /// Print the manual, or write it to a directory
    #[command(after_long_help = man::ABOUT)]
    Man(Man),
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The lock's name
    #[arg(value_parser = name)]
    pub(crate) name: LockName,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// How long the lock outlives a machine that has died
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = ttl)]
    pub(crate) ttl: Ttl,
    /// Don't say that the lock is waited for
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How the command is treated when the lock is lost
    #[arg(long, value_enum, default_value_t = OnLost::Terminate)]
    pub(crate) on_lost: OnLost,
    /// How long the command may take to end after SIGTERM, before SIGKILL [default: a tenth of the TTL]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) grace: Option<Duration>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// The treatment of the command when the lock is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum OnLost {
    /// SIGTERM, and SIGKILL after the grace
    Terminate,
    /// SIGKILL at once
    Kill,
    /// It runs on; the exit status still tells
    Ignore,
}

#[derive(Args, Debug)]
pub(crate) struct Lock {
    /// The lock's name
    #[arg(value_parser = name)]
    pub(crate) name: LockName,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// How long the lock is held if it isn't unlocked or renewed before: nothing keeps it alive
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = ttl)]
    pub(crate) ttl: Ttl,
    /// How the result is printed: `env` is for a shell's `eval`
    #[arg(short, long, value_enum, default_value_t = LockOutput::Text)]
    pub(crate) output: LockOutput,
}

#[derive(Args, Debug)]
pub(crate) struct Unlock {
    /// The key that `etcd-lock lock` printed
    #[arg(env = "ETCD_LOCK_KEY")]
    pub(crate) key: String,
}

#[derive(Args, Debug)]
pub(crate) struct Renew {
    /// The key that `etcd-lock lock` printed
    #[arg(env = "ETCD_LOCK_KEY")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) output: Format,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// The lock's name
    #[arg(value_parser = name)]
    pub(crate) name: LockName,
    #[command(flatten)]
    pub(crate) output: Format,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only locks whose names begin with this
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    #[command(flatten)]
    pub(crate) output: Format,
}

#[derive(Args, Debug)]
pub(crate) struct Break {
    /// The lock's name
    #[arg(value_parser = name)]
    pub(crate) name: LockName,
    /// The holder's lease, as `etcd-lock status` shows it: nobody else's entry is touched
    #[arg(long, value_name = "LEASE", value_parser = lease)]
    pub(crate) holder: LeaseId,
    /// End the lease as well, and with it all other locks that it holds
    #[arg(long)]
    pub(crate) revoke: bool,
    #[command(flatten)]
    pub(crate) output: Format,
}

/// How a result is printed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Format {
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2379")]
    pub(crate) listen: String,
}

/// How long to wait for a lock.
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// Give up after this long [default: wait for as long as it takes]
    #[arg(long = "wait", value_name = "DURATION", value_parser = duration)]
    pub(crate) limit: Option<Duration>,
    /// Give up at once when somebody else has the lock
    #[arg(long, conflicts_with = "limit")]
    pub(crate) no_wait: bool,
    /// The exit status when it was given up
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = crate::exit::BUSY)]
    pub(crate) conflict_exit_code: u8,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LockOutput {
    Text,
    Json,
    Env,
}

pub(crate) fn name(text: &str) -> Result<LockName, Error> {
    LockName::new(text.to_owned())
}

/// The number of a lease, in hex as it is printed everywhere.
fn lease(text: &str) -> Result<LeaseId, String> {
    let number = i64::from_str_radix(text, 16).map_err(|error| error.to_string())?;
    LeaseId::new(number).map_err(|error| error.to_string())
}

/// A duration that a lease can have: in whole seconds, rounded up.
fn ttl(text: &str) -> Result<Ttl, String> {
    let duration = duration(text).map_err(|error| error.to_string())?;
    Ttl::try_from(duration).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn all_after_the_command_is_the_commands() {
        let cli =
            Cli::try_parse_from(["etcd-lock", "run", "a", "ls", "-l", "--ttl", "5s"]).unwrap();
        let Command::Run(run) = cli.command else {
            panic!("not run")
        };
        assert_eq!(run.command, ["ls", "-l", "--ttl", "5s"]);
        assert_eq!(run.ttl.as_secs(), 10);
    }
}
