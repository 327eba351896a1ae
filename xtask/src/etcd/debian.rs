//! Newer etcds than this system's, out of the packages of newer Debians. Nothing is installed: apt keeps a state of its own
//! below `target`, and the programs are taken out of the packages.

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use super::is_on_path;
use crate::Result;

/// Where all of it is.
const FOLDER: &str = "target/etcd-debian";

/// Debian 13, which has 3.5.16, and what the next one will be made of, which has the newest of 3.5 that there is.
const SUITES: [&str; 2] = ["trixie", "sid"];

/// The programs, one for each suite. Downloaded once.
pub(crate) fn newer(sh: &Shell) -> Result<Vec<PathBuf>> {
    let folder = sh.current_dir().join(FOLDER);
    let program = |suite: &str| folder.join(suite).join("usr/bin/etcd");
    let programs: Vec<_> = SUITES.into_iter().map(program).collect();
    if !programs.iter().all(|program| program.is_file()) {
        if !is_on_path("apt-get") {
            return Err(
                "newer etcds come from Debian's packages, and there is no apt-get here".into(),
            );
        }
        let options = prepare(sh, &folder)?;
        for suite in SUITES {
            download(sh, &folder.join(suite), suite, &options)?;
        }
    }
    Ok(programs)
}

/// Reads the lists of packages into a folder, and returns the options by which apt uses that.
fn prepare(sh: &Shell, folder: &Path) -> Result<Vec<String>> {
    for part in ["lists/partial", "cache/archives/partial"] {
        sh.create_dir(folder.join(part))?;
    }
    let sources = folder.join("sources.list");
    let lines = SUITES.map(|suite| {
        Ok(format!(
            "deb [signed-by={KEYRING}] {} {suite} main\n",
            mirror(sh)?
        ))
    });
    sh.write_file(&sources, lines.into_iter().collect::<Result<String>>()?)?;
    let state = folder.display();
    let options = [
        format!("Dir::Etc::sourcelist={}", sources.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::Lists={state}/lists"),
        format!("Dir::Cache={state}/cache"),
        "Dir::State::status=/dev/null".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let options: Vec<_> = options
        .into_iter()
        .map(|option| format!("--option={option}"))
        .collect();
    let apt = &options;
    cmd!(sh, "apt-get --quiet --quiet {apt...} update").run()?;
    Ok(options)
}

/// The keys that Debian's own packages are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where this system gets Debian's packages from.
fn mirror(sh: &Shell) -> Result<String> {
    let format = "$(REPO_URI)";
    let filters = ["Label: Debian", "Component: main"];
    let found = cmd!(sh, "apt-get indextargets --format {format} {filters...}");
    let found = found.quiet().read()?;
    let mirror = found
        .lines()
        .next()
        .ok_or("apt knows no mirror of Debian")?;
    Ok(mirror.to_owned())
}

fn download(sh: &Shell, folder: &Path, suite: &str, options: &[String]) -> Result {
    sh.create_dir(folder)?;
    let _inside = sh.push_dir(folder);
    cmd!(
        sh,
        "apt-get --quiet --quiet {options...} download etcd-server/{suite}"
    )
    .run()?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|end| end == "deb");
    let package = sh.read_dir(folder)?.into_iter().find(is_package);
    let package = package.ok_or("apt-get downloaded no package")?;
    cmd!(sh, "dpkg-deb --extract {package} {folder}").run()?;
    Ok(())
}
