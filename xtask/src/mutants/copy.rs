//! A copy of the work tree, which deliberate bugs are put into.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use xshell::{Shell, cmd};

use crate::Result;

/// The copy, for one run at a time.
pub(super) struct Copy {
    folder: PathBuf,
    target: PathBuf,
    /// Another run of this command waits until this one ends, however it ends.
    _lock: Flock<File>,
}

impl Copy {
    /// Copies the files under version control as they are now. A file that did not change since an earlier copy keeps its
    /// time, so that little has to be built.
    pub(super) fn of(sh: &Shell, root: &Path) -> Result<Self> {
        let target = sh.var_os("CARGO_TARGET_DIR");
        let target = root.join(target.unwrap_or_else(|| "target".into()));
        let folder = target.join("mutants");
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let copy = Self {
            folder,
            target,
            _lock: lock,
        };
        let files = cmd!(sh, "git ls-files").quiet().read()?;
        copy.remove_others(&files)?;
        for file in files.lines() {
            copy.update(root, file)?;
        }
        Ok(copy)
    }

    /// Where the sources are.
    pub(super) fn sources(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// Where they are built: together with the work tree, so that crates of a registry are built once.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// A program, under a name of its own: the next build replaces the one that cargo has put there.
    pub(super) fn keep(&self, sh: &Shell, program: &str, name: &str) -> Result<PathBuf> {
        let kept = self.folder.join(name);
        sh.copy_file(self.target.join("release").join(program), &kept)?;
        Ok(kept)
    }

    /// Does something with the copy while a patch is applied to it.
    pub(super) fn patched<T>(
        &self,
        sh: &Shell,
        patch: &Path,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.apply(sh, patch, &[])?;
        let result = act();
        self.apply(sh, patch, &["--reverse"])?;
        result
    }

    /// Whether a patch still fits the sources.
    ///
    /// # Errors
    /// Where it doesn't: the code has changed, and the patch must follow.
    pub(super) fn check(&self, sh: &Shell, patch: &Path) -> Result {
        self.apply(sh, patch, &["--check"])
    }

    fn apply(&self, sh: &Shell, patch: &Path, options: &[&str]) -> Result {
        let _inside = sh.push_dir(self.sources());
        // Without this git would take the copy for a part of this project's own work tree, and pass over it in silence.
        let _outside = sh.push_env("GIT_CEILING_DIRECTORIES", &self.folder);
        cmd!(sh, "git apply -C1 --recount {options...} {patch}")
            .quiet()
            .run()?;
        Ok(())
    }

    fn update(&self, root: &Path, file: &str) -> Result {
        let (from, to) = (root.join(file), self.sources().join(file));
        // A file that is deleted and not committed yet is listed, too.
        let Ok(now) = fs::read(&from) else {
            return Ok(());
        };
        if fs::read(&to).is_ok_and(|before| before == now) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(&to, now)?)
    }

    /// A test that has been removed would still be run.
    fn remove_others(&self, files: &str) -> Result {
        let wanted: std::collections::HashSet<_> = files.lines().map(Path::new).collect();
        let sources = self.sources();
        let mut folders = vec![sources.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !wanted.contains(path.strip_prefix(&sources)?) {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }
}

/// The programs that were built last have a deliberate bug in them. Nobody is to take them for those of the work tree.
impl Drop for Copy {
    fn drop(&mut self) {
        for program in ["model", "sim"] {
            let _ = fs::remove_file(self.target.join("release").join(program));
        }
    }
}
