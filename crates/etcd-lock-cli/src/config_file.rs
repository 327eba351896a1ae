//! The configuration file: TOML, with keys named as the flags.

#[cfg(test)]
mod fuzz;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use etcd_lock::{Error, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::settings::{Kind, SETTINGS, Setting, Show};

/// The variable that names the file.
pub(crate) const VARIABLE: &str = "ETCD_LOCK_CONFIG";

/// The settings of a file.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    /// By name, each with its line. Paths are relative to the working directory here.
    pub(crate) values: BTreeMap<&'static str, (OsString, usize)>,
}

impl ConfigFile {
    /// Reads the file that a flag or the variable names, else the one at its usual place, if there is one.
    ///
    /// # Errors
    /// `InvalidArgument` when it can't be read, or something in it can't be right.
    pub(crate) fn find(flag: Option<&Path>) -> Result<Option<Self>> {
        let variable = || env::var_os(VARIABLE).filter(|path| !path.is_empty());
        let named = flag
            .map(PathBuf::from)
            .or_else(|| variable().map(PathBuf::from));
        let is_named = named.is_some();
        let Some(path) = named.or_else(usual_place) else {
            return Ok(None);
        };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound && !is_named => Ok(None),
            Err(error) => Err(Error::invalid_argument(format!(
                "can't read the configuration file {}: {error}: correct --config or {VARIABLE}",
                path.display()
            ))),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let at = |offset: usize| text[..offset].matches('\n').count() + 1;
        let wrong = |line: usize, what: &str| {
            Error::invalid_argument(format!("{}, line {line}: {what}", path.display()))
        };
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            wrong(at(offset), &format!("it is no TOML: {}", error.message()))
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table.get_ref() {
            let line = at(key.span().start);
            let (name, text) =
                setting(key.get_ref(), value, &path).map_err(|what| wrong(line, &what))?;
            values.insert(name, (text, line));
        }
        Ok(Self { path, values })
    }
}

/// `$XDG_CONFIG_HOME/etcd-lock/config.toml`. As its specification says, a directory that is not absolute counts as unset.
fn usual_place() -> Option<PathBuf> {
    let given = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || {
        let home = env::var_os("HOME").filter(|home| !home.is_empty())?;
        Some(Path::new(&home).join(".config"))
    };
    let base = given.filter(|base| base.is_absolute()).or_else(home)?;
    Some(base.join("etcd-lock/config.toml"))
}

/// The setting of one line, checked.
fn setting(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    path: &Path,
) -> Result<(&'static str, OsString), String> {
    let setting = known(key)?;
    let text = text(value.get_ref()).ok_or_else(|| {
        format!(
            "{key} is a {}: {}",
            value.get_ref().type_str(),
            form(setting)
        )
    })?;
    setting
        .check(&text)
        .map_err(|why| format!("{key} is {text:?}: {why}: {}", form(setting)))?;
    if setting.kind == Kind::User && text.contains(':') {
        return Err(no_passwords(key));
    }
    let text = match (setting.kind, path.parent()) {
        (Kind::File, Some(dir)) if !text.is_empty() => dir.join(text).into(),
        _ => text.into(),
    };
    Ok((setting.name, text))
}

fn known(key: &str) -> Result<&'static Setting, String> {
    match Setting::of(key).filter(|setting| setting.show != Show::Never) {
        Some(setting) if setting.kind == Kind::Secret => Err(no_passwords(key)),
        Some(setting) => Ok(setting),
        None => {
            let keys = SETTINGS
                .iter()
                .filter(|setting| setting.show != Show::Never && setting.kind != Kind::Secret);
            let near = keys.min_by_key(|known| strsim::damerau_levenshtein(known.name, key));
            let near = near.map_or("", |setting| setting.name);
            Err(format!(
                "there is no setting {key:?}: the nearest is {near:?}"
            ))
        }
    }
}

fn no_passwords(key: &str) -> String {
    format!(
        "{key} has a password, and a configuration file is read by others: write it to a file of its own and name that in \
         password-file"
    )
}

/// A value as its flag would have it.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Array(items) => {
            let items = items.iter().map(|item| item.get_ref().as_str());
            let items: Option<Vec<_>> = items.collect();
            items.map(|items| items.join(","))
        }
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(value) => Some(value.to_string()),
        DeValue::String(value) => Some(value.to_string()),
        _ => None,
    }
}

/// What a setting looks like when it is right.
fn form(setting: &Setting) -> String {
    let example = match setting.kind {
        Kind::Duration => "\"5s\"",
        Kind::File => "\"file.pem\"",
        Kind::List => "[\"10.0.0.1:2379\", \"10.0.0.2:2379\"]",
        Kind::Switch => "true",
        Kind::Secret | Kind::Text | Kind::User => "\"name\"",
    };
    format!("write it like {} = {example}", setting.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse("/etc/etcd-lock/config.toml".into(), text)
    }

    #[test]
    fn values_are_those_of_the_flags() {
        let text = "# ours\nendpoints = [\"a:1\", \"b:1\"]\ncacert = \"ca.pem\"\nkey = \"/k.pem\"\ndial-timeout = 3\n";
        let file = parse(text).unwrap();
        let value = |name: &str| {
            let (text, line) = &file.values[name];
            (text.to_str().unwrap(), *line)
        };
        assert_eq!(value("endpoints"), ("a:1,b:1", 2));
        assert_eq!(value("cacert"), ("/etc/etcd-lock/ca.pem", 3));
        assert_eq!(value("key"), ("/k.pem", 4));
        assert_eq!(value("dial-timeout"), ("3", 5));
    }

    #[test]
    fn wrong_line_is_named_with_the_reason() {
        for (text, reason) in [
            (
                "\nendpoint = \"a:1\"",
                "line 2: there is no setting \"endpoint\": the nearest is \"endpoints\"",
            ),
            ("password = \"secret\"", "line 1: password has a password"),
            ("user = \"me:secret\"", "password-file"),
            (
                "dial-timeout = \"soon\"",
                "write it like dial-timeout = \"5s\"",
            ),
            ("dial-timeout = \"0s\"", "longer than zero"),
            ("endpoints = [1]", "line 1: endpoints is a"),
            ("endpoints = \"\"", "at least one"),
            ("insecure-transport = \"yes\"", "true or false"),
            ("discovery-srv = \"a\"", "there is no setting"),
            ("user = \"a\"\nuser = \"b\"", "line 2: it is no TOML"),
            ("user: a", "line 1: it is no TOML"),
            (
                "[connection]\nuser = \"a\"",
                "there is no setting \"connection\"",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
