//! `etcd-lock config`: the value of each setting, and where it comes from.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::args::{Common, Format};
use crate::exit::Failure;
use crate::print::{View, print};
use crate::settings::{Origin, SETTINGS, Setting, Settings, Show};

/// The part of the help that a script depends on.
pub(crate) const ABOUT: &str = "\
Secrets are hidden. With -o json it is an object: file is the configuration file that was
read (or null), and settings has an object for each setting, by its name: value, from (flag,
variable, file, default or null), and the variable or the line in the file.

Examples:
  etcd-lock config
  ETCDCTL_ENDPOINTS=10.0.0.1:2379 etcd-lock config --command-timeout 10s
  etcd-lock config -o json | jq -r .settings.endpoints.value";

#[derive(Args, Debug)]
pub(crate) struct Config {
    #[command(flatten)]
    output: Format,
}

/// Prints all settings, and then complains of those that can't be right together.
pub(crate) fn run(common: &Common, args: &Config) -> Result<ExitCode, Failure> {
    let settings = common.connection.settings()?;
    let shown = Shown(&settings);
    print(args.output, &View::new(&shown, shown.json()))?;
    Ok(settings.options().map(|_| ExitCode::SUCCESS)?)
}

struct Shown<'a>(&'a Settings);

impl Shown<'_> {
    /// The settings that are refused are shown only where they are given.
    fn lines(&self) -> impl Iterator<Item = Line> {
        let lines = SETTINGS.iter().map(|setting| Line::new(setting, self.0));
        lines.filter(|line| line.setting.show != Show::Never || line.origin.is_some())
    }

    fn json(&self) -> Json {
        let lines = self
            .lines()
            .map(|line| (line.setting.name.to_owned(), line.json()));
        json!({
            "file": self.0.file.as_deref().map(Path::to_string_lossy),
            "settings": lines.collect::<Map<_, _>>(),
        })
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines() {
            let Line {
                setting,
                value,
                origin,
            } = &line;
            let value = value.as_deref().unwrap_or("-");
            write!(f, "{:<19} {value:<30} ", setting.name)?;
            match (origin, &self.0.file) {
                (Some(Origin::Flag), _) => writeln!(f, "flag --{}", setting.name)?,
                (Some(Origin::Variable(name)), _) => writeln!(f, "variable {name}")?,
                (Some(Origin::File(line)), Some(file)) => {
                    writeln!(f, "{}, line {line}", file.display())?;
                }
                _ if setting.default.is_some() => writeln!(f, "default")?,
                _ => writeln!(f, "not set")?,
            }
        }
        Ok(())
    }
}

/// One setting.
struct Line {
    setting: &'static Setting,
    value: Option<String>,
    /// Nothing where it has its default, or no value at all.
    origin: Option<Origin>,
}

impl Line {
    fn new(setting: &'static Setting, settings: &Settings) -> Self {
        let given = settings.get(setting.name);
        let value = given.map(|given| setting.printable(&given.text));
        Self {
            setting,
            value: value.or_else(|| setting.default.map(str::to_owned)),
            origin: given.map(|given| given.origin),
        }
    }

    fn json(&self) -> Json {
        let (from, variable, line) = match self.origin {
            Some(Origin::Flag) => (Some("flag"), None, None),
            Some(Origin::Variable(name)) => (Some("variable"), Some(name), None),
            Some(Origin::File(line)) => (Some("file"), None, Some(line)),
            None => (self.setting.default.map(|_| "default"), None, None),
        };
        json!({ "value": self.value, "from": from, "variable": variable, "line": line })
    }
}
