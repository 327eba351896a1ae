//! What each help says after the arguments and options: examples, and what scripts depend on.

/// The exit statuses: one table for all commands.
macro_rules! statuses {
    () => {
        "\
Exit status:
  0    it is done; run: the command's own status, or 128+N where signal N ended it
  64   the command line or a setting is wrong
  69   no etcd answers
  70   something that should not happen, or an error of etcd without a status of its own
  71   the operating system is in the way
  75   somebody else has the lock, unless -E says otherwise; break: the hold is not there
  77   etcd doesn't let this user in, or doesn't allow it
  79   the lock was lost while the command ran, or its queue entry was before
  126  the command can't be executed: found out before the lock is waited for
  127  there is no such command: likewise"
    };
}

macro_rules! run_examples {
    () => {
        "\
Examples:
  etcd-lock run nightly-report -- ./report.sh
  etcd-lock run deploy --wait 5m --shell './build && ./push'
  etcd-lock run hourly --min-hold 50m --skip-if-held -- ./job     (cron, on many machines)

"
    };
}

/// The part of the help that is the same for all commands.
pub(crate) const PROGRAM: &str = concat!(
    "\
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

",
    statuses!()
);

pub(crate) const RUN_EXAMPLES: &str = concat!(
    run_examples!(),
    "Variables and exit statuses: etcd-lock run --help"
);

/// The part of `run`'s help that a script depends on: variables and exit statuses, those of the other commands included.
pub(crate) const RUN: &str = concat!(
    run_examples!(),
    "\
The command finds in its environment:
  ETCD_LOCK_NAME   the lock's name
  ETCD_LOCK_KEY    the key that exists on etcd for as long as the lock is held
  ETCD_LOCK_LEASE  the lease that keeps the key alive, in hex
  ETCD_LOCK_TOKEN  the fencing token: a number that grows from holder to holder
  ETCD_LOCK_REV    the revision of the grant, as etcdctl gives it: no fencing token

It has a process group of its own, and the terminal where there is one; in a pipeline whose input is the terminal it
stays in the pipeline's group. If this program is killed, the command gets SIGTERM (Linux), unless --on-lost ignore.

",
    statuses!()
);

pub(crate) const LOCK: &str = "\
In a script:
  eval \"$(etcd-lock lock deploy --ttl 5m -o env)\"
  first-step && etcd-lock renew && second-step
  etcd-lock unlock";

pub(crate) const UNLOCK: &str = "\
Examples:
  etcd-lock unlock                      (the key is in ETCD_LOCK_KEY)
  etcd-lock unlock deploy/694d9a2f4f0c2a15";

pub(crate) const RENEW: &str = "\
Examples:
  etcd-lock renew                       (the key is in ETCD_LOCK_KEY)
  etcd-lock renew deploy/694d9a2f4f0c2a15 -o json";

pub(crate) const STATUS: &str = "\
Examples:
  etcd-lock status nightly-report
  etcd-lock status nightly-report --watch
  etcd-lock status nightly-report -o json | jq .holder.owner.host";

pub(crate) const LIST: &str = "\
Examples:
  etcd-lock list
  etcd-lock list deploy/ --watch
  etcd-lock list -o json | jq -r '.[].name'";

pub(crate) const BREAK: &str = "\
Example:
  etcd-lock status deploy
  etcd-lock break deploy --holder 694d9a2f4f0c2a15

Make sure that the holder is gone, or stands still for good: it may go on with its work until it finds out.";

pub(crate) const SERVE: &str = "\
Example:
  etcd-lock serve --listen 127.0.0.1:23790 &
  ETCD_LOCK_ENDPOINTS=127.0.0.1:23790 etcd-lock run demo -- echo held";
