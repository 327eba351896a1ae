//! The crates that are published: each builds with any one of its features, and from its package alone.

use serde_json::Value;
use xshell::{Shell, cmd};

use crate::Result;
use crate::tools::Tool;

const HACK: Tool = Tool::from_cargo("cargo-hack", "0.6.46");

/// Builds each with no feature, with any one of them alone, and with all.
pub(crate) fn features(sh: &Shell) -> Result {
    let hack = HACK.provide(sh)?;
    cmd!(
        sh,
        "{hack} hack check --quiet --workspace --ignore-private --each-feature"
    )
    .run()?;
    Ok(())
}

/// Builds each from what would be uploaded, with the packages of its siblings. What isn't committed yet is packed as well.
///
/// Each time in a new folder: cargo keeps a package that it has unpacked or built, and tells a later one of the same version
/// from it by the folder alone.
pub(crate) fn pack(sh: &Shell) -> Result {
    let packages = published(sh)?;
    let packages = packages.iter().flat_map(|name| ["--package", name]);
    let target = tempfile::tempdir()?;
    let target = target.path();
    cmd!(
        sh,
        "cargo package --quiet --allow-dirty --target-dir {target} {packages...}"
    )
    .run()?;
    Ok(())
}

/// The names of the packages that may be published.
pub(crate) fn published(sh: &Shell) -> Result<Vec<String>> {
    Ok(published_in(&metadata(sh)?))
}

/// What cargo says of this workspace.
pub(crate) fn metadata(sh: &Shell) -> Result<Value> {
    let metadata = cmd!(sh, "cargo metadata --no-deps --format-version 1");
    Ok(serde_json::from_str(&metadata.quiet().read()?)?)
}

fn published_in(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["publish"].is_null())
        .filter_map(|package| package["name"].as_str())
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_with_publish_false_is_not_published() {
        let metadata = serde_json::json!({"packages": [
            {"name": "a", "publish": null},
            {"name": "b", "publish": []},
        ]});
        assert_eq!(published_in(&metadata), ["a"]);
    }
}
