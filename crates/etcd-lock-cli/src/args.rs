//! The commands, arguments and options of the command line.

#[cfg(test)]
mod fuzz;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use etcd_lock::grpc::parse_duration as duration;
use etcd_lock::{LeaseId, LockName, Ttl};
use nix::sys::signal::Signal;

use crate::bench::{self, Bench};
use crate::completions::{self, Completions};
use crate::config::{self, Config};
use crate::connection::Connection;
use crate::doctor::{self, Doctor};
use crate::help;
use crate::man::{self, Man};
use crate::version;

/// Distributed locks on etcd.
#[derive(Debug, Parser)]
#[command(name = "etcd-lock", version, long_version = version::LONG, after_long_help = help::PROGRAM)]
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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command while holding a lock
    #[command(after_help = help::RUN_EXAMPLES, after_long_help = help::RUN)]
    Run(Box<Run>),
    /// Take a lock and leave it to its lease: print its key, lease and token
    #[command(after_help = help::LOCK)]
    Lock(Lock),
    /// Give a lock back by its key
    #[command(after_help = help::UNLOCK)]
    Unlock(Unlock),
    /// Begin the time of a lock anew by its key
    #[command(after_help = help::RENEW)]
    Renew(Renew),
    /// Show the holder of a lock and those that wait for it
    #[command(after_help = help::STATUS)]
    Status(Status),
    /// Show all locks below a prefix
    #[command(after_help = help::LIST)]
    List(List),
    /// Remove the entry of a holder that will not give the lock back
    #[command(after_help = help::BREAK)]
    Break(Break),
    /// Serve an etcd in memory, for development and tests
    #[command(after_help = help::SERVE)]
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
    pub(crate) name: LockName,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Do nothing, successfully, when somebody else has the lock
    #[arg(long, conflicts_with_all = ["limit", "no_wait", "conflict_exit_code"])]
    pub(crate) skip_if_held: bool,
    /// How long the lock outlives a machine that has died
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = ttl)]
    pub(crate) ttl: Ttl,
    /// Hold the lock at least this long, also when the command ends sooner: its lease holds it then
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) min_hold: Option<Duration>,
    /// Don't say that the lock is waited for
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// A remark for `etcd-lock status` [default: the command's name]
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// How the command is treated when the lock is lost
    #[arg(long, value_enum, default_value_t = OnLost::Terminate)]
    pub(crate) on_lost: OnLost,
    /// How long the command may take to end after SIGTERM, before SIGKILL [default: a tenth of the TTL]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) grace: Option<Duration>,
    /// Send the command this signal before the lock is lost for want of answers, like USR1
    #[arg(long, value_name = "SIGNAL", requires = "warn_before", value_parser = signal)]
    pub(crate) warn_signal: Option<Signal>,
    /// How long before: less than half of the TTL
    #[arg(long, value_name = "DURATION", requires = "warn_signal", value_parser = duration)]
    pub(crate) warn_before: Option<Duration>,
    /// The command is a line for the shell: further arguments are its $1, $2, ...
    #[arg(long)]
    pub(crate) shell: bool,
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
    pub(crate) name: LockName,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// How long the lock is held if it isn't unlocked or renewed before: nothing keeps it alive
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = ttl)]
    pub(crate) ttl: Ttl,
    /// Don't say that the lock is waited for
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// A remark for `etcd-lock status`
    #[arg(long, value_name = "TEXT", default_value = "etcd-lock lock")]
    pub(crate) note: String,
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
    pub(crate) name: LockName,
    /// Go on, and show each change: redrawn at a terminal, a line of JSON each in a pipe
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Format,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only locks whose names begin with this
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// Go on, and show each change: redrawn at a terminal, a line of JSON each in a pipe
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: Format,
}

#[derive(Args, Debug)]
pub(crate) struct Break {
    /// The lock's name
    pub(crate) name: LockName,
    /// The holder's lease, as `etcd-lock status` shows it: nobody else's entry is touched
    #[arg(long, value_name = "LEASE")]
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
#[derive(Args, Clone, Debug)]
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

/// A signal by its name, with or without SIG, or by its number.
pub(crate) fn signal(text: &str) -> Result<Signal, String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let by_number = name.parse::<i32>().ok().map(Signal::try_from);
    let signal = by_number.unwrap_or_else(|| format!("SIG{name}").parse());
    signal.map_err(|_| "there is no such signal".to_owned())
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
