//! The values of the settings of a connection, and where each comes from.

mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use etcd_lock::{ConnectOptions, Error};

use crate::config_file::ConfigFile;
pub(crate) use table::{Kind, SETTINGS, Setting, Show};

/// The value of a setting, and its source.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) text: OsString,
    pub(crate) origin: Origin,
}

/// Where a value comes from. The first counts most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    Flag,
    Variable(&'static str),
    /// A line of the configuration file.
    File(usize),
}

impl Origin {
    /// A smaller one counts more.
    const fn rank(self) -> u8 {
        match self {
            Self::Flag => 0,
            Self::Variable(_) => 1,
            Self::File(_) => 2,
        }
    }
}

/// The values of all settings that have one.
pub(crate) struct Settings {
    values: BTreeMap<&'static str, Value>,
    /// The configuration file that was read.
    pub(crate) file: Option<PathBuf>,
}

impl Settings {
    /// Takes each value from its flag, else from the environment, else from the file. What is empty counts as unset.
    pub(crate) fn new(
        flags: &BTreeMap<&'static str, OsString>,
        environment: impl Fn(&str) -> Option<OsString>,
        file: Option<ConfigFile>,
    ) -> Self {
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let flag = || Some((flags.get(setting.name)?.clone(), Origin::Flag));
            let variable = || {
                let mut names = setting.variables.iter();
                names.find_map(|name| {
                    let text = environment(name).filter(|text| !text.is_empty())?;
                    Some((text, Origin::Variable(name)))
                })
            };
            let line = || {
                let (text, line) = file.as_ref()?.values.get(setting.name)?;
                Some((text.clone(), Origin::File(*line)))
            };
            // An empty flag takes the value of a variable away, as for etcdctl.
            if let Some((text, origin)) = flag().or_else(variable).or_else(line)
                && !text.is_empty()
            {
                values.insert(setting.name, Value { text, origin });
            }
        }
        drop_weaker_passwords(&mut values);
        let file = file.map(|file| file.path);
        Self { values, file }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The options of a connection.
    ///
    /// # Errors
    /// `InvalidArgument` when a value can't be right, or does not go together with the others.
    pub(crate) fn options(&self) -> Result<ConnectOptions, Error> {
        ConnectOptions::from_variables(|name| self.variable(name))
    }

    /// The value of the variable that the options ask for.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        let mut settings = SETTINGS.iter();
        let setting = settings.find(|setting| setting.variables.first() == Some(&name))?;
        self.get(setting.name).map(|value| value.text.clone())
    }
}

/// There are three ways to give a password. The one whose source counts most is meant; several from one kind of source are
/// left to the options of the connection, which complain or do as etcdctl does.
fn drop_weaker_passwords(values: &mut BTreeMap<&'static str, Value>) {
    let in_user = values
        .get("user")
        .filter(|user| user.text.to_string_lossy().contains(':'));
    let given = [values.get("password"), values.get("password-file"), in_user];
    let ranks = given.into_iter().flatten().map(|value| value.origin.rank());
    let Some(strongest) = ranks.min() else {
        return;
    };
    for name in ["password", "password-file"] {
        if values
            .get(name)
            .is_some_and(|value| value.origin.rank() > strongest)
        {
            values.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn flags(given: &[(&'static str, &str)]) -> BTreeMap<&'static str, OsString> {
        let given = given.iter();
        given.map(|(name, text)| (*name, text.into())).collect()
    }

    fn text(settings: &Settings, name: &str) -> Option<String> {
        let value = settings.get(name)?;
        value.text.clone().into_string().ok()
    }

    #[test]
    fn every_variable_of_the_options_has_a_setting() {
        let asked = RefCell::new(Vec::new());
        let options = ConnectOptions::from_variables(|name| {
            asked.borrow_mut().push(name.to_owned());
            None
        });
        assert!(options.is_ok());
        for name in asked.into_inner() {
            let known = SETTINGS
                .iter()
                .any(|setting| setting.variables.contains(&name.as_str()));
            assert!(known, "{name}");
        }
    }

    #[test]
    fn password_of_the_source_that_counts_most_is_taken() {
        let environment = |name: &str| (name == "ETCDCTL_PASSWORD").then(|| "weak".into());
        for stronger in [("password-file", "file"), ("user", "me:secret")] {
            let settings = Settings::new(&flags(&[stronger]), environment, None);
            assert_eq!(text(&settings, "password"), None, "{stronger:?}");
        }
        let settings = Settings::new(&flags(&[("user", "me")]), environment, None);
        assert_eq!(text(&settings, "password").as_deref(), Some("weak"));
    }
}
