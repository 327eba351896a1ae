//! Each published crate must build with any one of its features alone, and with none.

use serde_json::Value;
use xshell::{Shell, cmd};

use crate::Result;

pub(crate) fn check(sh: &Shell) -> Result {
    let metadata = cmd!(sh, "cargo metadata --no-deps --format-version 1");
    let metadata = serde_json::from_str(&metadata.quiet().read()?)?;
    for (package, features) in published(&metadata) {
        for feature in [String::new()].into_iter().chain(features) {
            cmd!(
                sh,
                "cargo check --quiet --package {package} --no-default-features --features={feature}"
            )
            .quiet()
            .run()
            .map_err(|_| format!("{package} does not build with only this feature: {feature:?}"))?;
        }
    }
    Ok(())
}

/// The packages that may be published, and their features.
fn published(metadata: &Value) -> Vec<(String, Vec<String>)> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["publish"].is_null())
        .map(|package| {
            let name = package["name"].as_str().unwrap_or_default().to_owned();
            let features = package["features"].as_object().into_iter().flatten();
            let features = features.map(|(feature, _)| feature.clone());
            (
                name,
                features.filter(|feature| feature != "default").collect(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_packages_have_their_features_but_for_the_default() {
        let metadata = serde_json::json!({"packages": [
            {"name": "a", "publish": null, "features": {"default": ["x"], "x": []}},
            {"name": "b", "publish": [], "features": {}},
        ]});
        let expected = vec![("a".to_owned(), vec!["x".to_owned()])];
        assert_eq!(published(&metadata), expected);
    }
}
