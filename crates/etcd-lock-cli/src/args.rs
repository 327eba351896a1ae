//! The commands, arguments and options of the command line.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use etcd_lock::grpc::parse_duration as duration;
use etcd_lock::{Error, LeaseId, LockName, Ttl};
use nix::sys::signal::Signal;

use crate::connection::Connection;

/// Distributed locks on etcd.
#[derive(Debug, Parser)]
#[command(version, after_help = "Exit statuses: etcd-lock run --help")]
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

const RUN_EXAMPLES: &str = "\
Examples:
  etcd-lock run nightly-report -- ./report.sh
  etcd-lock run deploy --wait 5m --shell './build && ./push'
  etcd-lock run hourly --min-hold 50m --skip-if-held -- ./job     (cron, on many machines)

Variables and exit statuses: etcd-lock run --help";

/// The part of `run`'s help that a script depends on: variables and exit statuses, those of the other commands included.
const ABOUT_RUN: &str = "\
Examples:
  etcd-lock run nightly-report -- ./report.sh
  etcd-lock run deploy --wait 5m --shell './build && ./push'
  etcd-lock run hourly --min-hold 50m --skip-if-held -- ./job     (cron, on many machines)

The command finds in its environment:
  ETCD_LOCK_NAME   the lock's name
  ETCD_LOCK_KEY    the key that exists on etcd for as long as the lock is held
  ETCD_LOCK_LEASE  the lease that keeps the key alive, in hex
  ETCD_LOCK_TOKEN  the fencing token: a number that grows from holder to holder
  ETCD_LOCK_REV    the revision of the grant, as etcdctl gives it: no fencing token

It has a process group of its own, and the terminal where there is one; in a pipeline whose input is the terminal it
stays in the pipeline's group. If this program is killed, the command gets SIGTERM (Linux), unless --on-lost ignore.

Exit status:
  the command's own, or 128+N where signal N ended it
  64   the command line is wrong
  69   no etcd answers
  70   something that should not happen, or an error of etcd without a status of its own
  71   the operating system is in the way
  75   somebody else has the lock, unless -E says otherwise; break: the hold is not there
  77   etcd doesn't let this user in, or doesn't allow it
  79   the lock was lost while the command ran, or its place in the queue was before
  126  the command can't be executed: found out before the lock is waited for
  127  there is no such command: likewise";

/// An example is worth more than a description of the variables.
const ABOUT_LOCK: &str = "\
In a script:
  eval \"$(etcd-lock lock deploy --ttl 5m -o env)\"
  first-step && etcd-lock renew && second-step
  etcd-lock unlock";

const ABOUT_UNLOCK: &str = "\
Examples:
  etcd-lock unlock                      (the key is in ETCD_LOCK_KEY)
  etcd-lock unlock deploy/694d9a2f4f0c2a15";

const ABOUT_RENEW: &str = "\
Examples:
  etcd-lock renew                       (the key is in ETCD_LOCK_KEY)
  etcd-lock renew deploy/694d9a2f4f0c2a15 -o json";

const ABOUT_STATUS: &str = "\
Examples:
  etcd-lock status nightly-report
  etcd-lock status nightly-report --watch
  etcd-lock status nightly-report -o json | jq .holder.owner.host";

const ABOUT_LIST: &str = "\
Examples:
  etcd-lock list
  etcd-lock list deploy/ --watch
  etcd-lock list -o json | jq -r '.[].name'";

const ABOUT_BREAK: &str = "\
Example:
  etcd-lock status deploy
  etcd-lock break deploy --holder 694d9a2f4f0c2a15

Make sure that the holder is gone, or stands still for good: it may go on with its work until it finds out.";

const ABOUT_SERVE: &str = "\
Example:
  etcd-lock serve --listen 127.0.0.1:23790 &
  etcd-lock --endpoints 127.0.0.1:23790 run demo -- echo held";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command while holding a lock
    #[command(after_help = RUN_EXAMPLES, after_long_help = ABOUT_RUN)]
    Run(Box<Run>),
    /// Take a lock and leave it to its lease: print its key, lease and token
    #[command(after_help = ABOUT_LOCK)]
    Lock(Lock),
    /// Give a lock back by its key
    #[command(after_help = ABOUT_UNLOCK)]
    Unlock(Unlock),
    /// Begin the time of a lock anew by its key
    #[command(after_help = ABOUT_RENEW)]
    Renew(Renew),
    /// Show the holder of a lock and those that wait for it
    #[command(after_help = ABOUT_STATUS)]
    Status(Status),
    /// Show all locks below a prefix
    #[command(after_help = ABOUT_LIST)]
    List(List),
    /// Remove the entry of a holder that will not give the lock back
    #[command(after_help = ABOUT_BREAK)]
    Break(Break),
    /// Serve an etcd in memory, for development and tests
    #[command(after_help = ABOUT_SERVE)]
    Serve(Serve),
    /// Becomes a command under a lock: what `run` starts
    #[command(hide = true)]
    Start(Start),
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The lock's name
    #[arg(value_parser = name)]
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
    #[arg(value_parser = name)]
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
    #[arg(value_parser = name)]
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

/// What becomes of the process that `run` starts.
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// The process that runs the command: without it there is nothing to begin
    #[arg(long)]
    pub(crate) parent: i32,
    /// The signal that its death sends
    #[arg(long, value_parser = signal)]
    pub(crate) death_signal: Option<Signal>,
    /// Whether the terminal is the command's
    #[arg(long)]
    pub(crate) front: bool,
    /// The program's file, its name, and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
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

fn name(text: &str) -> Result<LockName, Error> {
    LockName::new(text.to_owned())
}

/// The number of a lease, in hex as it is printed everywhere.
fn lease(text: &str) -> Result<LeaseId, String> {
    let number = i64::from_str_radix(text, 16).map_err(|error| error.to_string())?;
    LeaseId::new(number).map_err(|error| error.to_string())
}

/// A signal by its name, with or without SIG, or by its number.
fn signal(text: &str) -> Result<Signal, String> {
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
