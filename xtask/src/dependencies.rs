//! The crates that ours depend on: licences, doubled crates and foreign sources by `cargo deny`, unused ones by `cargo machete`.

use xshell::{Shell, cmd};

use crate::Result;
use crate::tools::Tool;

const DENY: Tool = Tool::from_cargo("cargo-deny", "0.20.2");

const MACHETE: Tool = Tool::from_cargo("cargo-machete", "0.9.2");

/// Advisories are left out: their database can't be had everywhere, and a new one is no fault of a change.
pub(crate) fn check(sh: &Shell) -> Result {
    let deny = DENY.provide(sh)?;
    cmd!(sh, "{deny} --all-features check bans licenses sources").run()?;
    let machete = MACHETE.provide(sh)?;
    cmd!(sh, "{machete} --with-metadata crates xtask").run()?;
    Ok(())
}
