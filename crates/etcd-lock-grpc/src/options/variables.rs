//! Values of environment variables.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use etcd_lock_core::{Error, Result};
use jiff::SignedDuration;

/// Where the values of variables come from.
pub(super) struct Variables<'a>(pub(super) &'a dyn Fn(&str) -> Option<OsString>);

impl Variables<'_> {
    /// Nothing where it is unset or empty.
    fn value(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    /// # Errors
    /// `InvalidArgument` when it isn't UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        let text = self.value(name).map(OsString::into_string).transpose();
        // Not what it is: it may be a password.
        text.map_err(|_| Error::invalid_argument(format!("{name} is not UTF-8")))
    }

    /// # Errors
    /// `InvalidArgument` when it isn't a duration.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let parsed = parse_duration(text.trim());
        parsed.map(Some).map_err(|error| wrong(name, &text, &error))
    }

    /// # Errors
    /// `InvalidArgument` when it is none of the words that Go has for true and false.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.trim() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(wrong(name, &text, &"it must be true or false")),
        }
    }
}

fn wrong(name: &str, value: &str, why: &dyn ToString) -> Error {
    Error::invalid_argument(format!("{name} is {value:?}: {}", why.to_string()))
}

/// Reads a duration as `etcdctl` writes it, like `5s`, `1m30s` or `250ms`. A bare number means seconds.
///
/// # Errors
/// `InvalidArgument` when it is no duration, or not longer than zero.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let parsed = match text.parse() {
        Ok(seconds) => SignedDuration::from_secs(seconds),
        Err(_) => text
            .parse::<SignedDuration>()
            .map_err(|error| Error::invalid_argument(error.to_string()))?,
    };
    let duration = Duration::try_from(parsed)
        .map_err(|_| Error::invalid_argument("it must not be negative"))?;
    if duration.is_zero() {
        return Err(Error::invalid_argument("it must be longer than zero"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, millis) in [
            ("1m30s", 90_000),
            ("250ms", 250),
            ("10", 10_000),
            ("2m", 120_000),
        ] {
            let parsed = parse_duration(text).unwrap();
            assert_eq!(parsed, Duration::from_millis(millis), "{text}");
        }
        for bad in ["", "0", "0s", "-5s", "ten", "5 parsecs"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_are_written_as_in_go() {
        let flag = |text: &'static str| {
            let value = move |_: &str| Some(text.into());
            Variables(&value).flag("F")
        };
        assert_eq!(flag("").unwrap(), None);
        assert_eq!(flag("True").unwrap(), Some(true));
        assert_eq!(flag("0").unwrap(), Some(false));
        assert!(
            flag("yes")
                .unwrap_err()
                .to_string()
                .contains("F is \"yes\"")
        );
    }
}
