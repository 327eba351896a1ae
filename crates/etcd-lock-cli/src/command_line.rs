//! The command line as a whole: which commands connect to an etcd, and so have options for that.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Args, Command, CommandFactory, FromArgMatches};

use crate::args::Cli;
use crate::connection::Connection;

/// The commands that connect to no etcd.
const LOCAL: [&str; 3] = ["completions", "man", "serve"];

/// The definition of the command line: of the help, the completions and the man pages, too.
pub(crate) fn definition() -> Command {
    let command = Cli::command();
    let names = command.get_subcommands().map(|it| it.get_name().to_owned());
    let names: Vec<_> = names.filter(|name| !LOCAL.contains(&&**name)).collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| command.defer(Connection::augment_args))
    })
}

/// Reads the arguments of the program. The options of a connection may stand before a command and behind it.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = definition();
    let matches = command.try_get_matches_from_mut(args)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let connection = &mut cli.common.connection;
    if let Some((name, matches)) = matches.subcommand() {
        if !LOCAL.contains(&name) {
            connection.update_from_arg_matches(matches)?;
        } else if let Some(flag) = connection.given() {
            let text = format!(
                "the argument '--{flag}' cannot be used with '{name}': it connects to no etcd"
            );
            return Err(command.error(ErrorKind::UnknownArgument, text));
        }
    }
    connection.check(&mut command)?;
    Ok(cli)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn local_commands_exist() {
        let command = definition();
        for name in LOCAL {
            assert!(command.find_subcommand(name).is_some(), "{name}");
        }
    }
}
