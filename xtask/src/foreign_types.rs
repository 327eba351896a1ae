//! The crates of others whose types the published crates name in their interfaces: a new major version of one of them is a
//! breaking change of ours. Rustdoc lists an interface as JSON, which the compiler of this run calls unstable.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use xshell::{Shell, cmd};

use crate::{Result, packages};

/// Of each published crate, those of others. The ones of this workspace have the same version and are left out.
const NAMED: &[(&str, &[&str])] = &[
    ("etcd-lock", &[]),
    ("etcd-lock-core", &["bytes", "futures_core", "serde_core"]),
    ("etcd-lock-group", &[]),
    (
        "etcd-lock-grpc",
        &[
            "http",
            "secrecy",
            "tokio",
            "tonic",
            "tower",
            "tower_layer",
            "tower_service",
        ],
    ),
    ("etcd-lock-memory", &["bytes", "tokio", "tonic"]),
    (
        "etcd-lock-proto",
        &[
            "bytes",
            "futures_core",
            "http",
            "http_body",
            "prost",
            "tonic",
            "tower_service",
        ],
    ),
    ("etcd-lock-queue", &[]),
    ("etcd-lock-session", &["bytes"]),
];

/// Compares the table with what rustdoc finds, both ways.
pub(crate) fn check(sh: &Shell) -> Result {
    // rustdoc alone is told so: for cargo it would be another compiler, and everything would be built again.
    let rustdoc = sh.current_dir().join("target/tools/unstable-rustdoc");
    sh.write_file(
        &rustdoc,
        "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n",
    )?;
    fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o755))?;
    let _rustdoc = sh.push_env("RUSTDOC", &rustdoc);
    let mut problems = Vec::new();
    let published = packages::published(sh)?;
    // The program has no interface for other crates.
    for package in published.iter().filter(|name| *name != "etcd-lock-cli") {
        let found = foreign(sh, package)?;
        let stated = NAMED.iter().find(|(name, _)| name == package);
        let stated = stated.map_or(BTreeSet::new(), |(_, crates)| {
            crates.iter().map(|&name| name.to_owned()).collect()
        });
        eprintln!("{package} names types of: {}", listed(&found));
        if found != stated {
            problems.push(format!(
                "{package} names types of {}, and the table in xtask/src/foreign_types.rs says {}",
                listed(&found),
                listed(&stated)
            ));
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems.join("\n").into()),
    }
}

fn listed(crates: &BTreeSet<String>) -> String {
    match crates.is_empty() {
        true => "no other crate".to_owned(),
        false => crates.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

fn foreign(sh: &Shell, package: &str) -> Result<BTreeSet<String>> {
    let unstable = ["-Z", "unstable-options", "--output-format", "json"];
    cmd!(
        sh,
        "cargo rustdoc --quiet --package {package} --lib --all-features -- {unstable...}"
    )
    .run()?;
    let metadata = packages::metadata(sh)?;
    let target = metadata["target_directory"].as_str().unwrap_or("target");
    let file = format!("{target}/doc/{}.json", package.replace('-', "_"));
    Ok(foreign_in(&serde_json::from_str(&sh.read_file(file)?)?))
}

/// The crates that an interface names, but for those of the language and of this workspace.
fn foreign_in(interface: &Value) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let items = interface["index"].as_object().into_iter().flatten();
    for (_, item) in items.filter(|(_, item)| item["crate_id"] == 0) {
        named(&item["inner"], &mut ids);
    }
    let crates = ids.into_iter().filter_map(|id| {
        let number = &interface["paths"][id.to_string()]["crate_id"];
        let name = &interface["external_crates"][number.to_string()]["name"];
        name.as_str().map(ToOwned::to_owned)
    });
    let language = ["alloc", "core", "std"];
    crates
        .filter(|name| !language.contains(&name.as_str()) && !name.starts_with("etcd_lock"))
        .collect()
}

/// The items that a part of an interface names: types, bounds, and traits that a type has. Those that the compiler adds to each
/// type, and those that are there for all types, are left out.
fn named(part: &Value, ids: &mut BTreeSet<u64>) {
    let is_added = |part: &Value| part["is_synthetic"] == true || !part["blanket_impl"].is_null();
    match part {
        Value::Array(parts) => parts.iter().for_each(|part| named(part, ids)),
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == "impl" && is_added(value) {
                    continue;
                }
                if matches!(field.as_str(), "resolved_path" | "trait") {
                    ids.extend(value["id"].as_u64());
                }
                named(value, ids);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crate_of_a_type_of_a_field_is_named_and_that_of_a_blanket_impl_is_not() {
        let interface = serde_json::json!({
            "index": {
                "1": {"crate_id": 0, "inner": {"struct_field": {"resolved_path": {"id": 7}}}},
                "2": {"crate_id": 0, "inner": {"impl": {"blanket_impl": {}, "trait": {"id": 8}}}},
                "3": {"crate_id": 0, "inner": {"impl": {"blanket_impl": null, "trait": {"id": 9}}}},
                "4": {"crate_id": 5, "inner": {"struct_field": {"resolved_path": {"id": 8}}}},
            },
            "paths": {"7": {"crate_id": 4}, "8": {"crate_id": 5}, "9": {"crate_id": 1}},
            "external_crates": {
                "1": {"name": "core"}, "4": {"name": "bytes"}, "5": {"name": "tower"},
            },
        });
        assert_eq!(foreign_in(&interface), BTreeSet::from(["bytes".to_owned()]));
    }
}
