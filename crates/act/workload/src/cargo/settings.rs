//! The few settings of cargo's configuration files that decide how a test program is started.
//!
//! The recorder takes the place of a runner that the user configured, so the user's has to be read
//! here and put back in front of each program (the Cargo Book, "Configuration": `target.<triple>.runner`,
//! `target.<cfg>.runner`, `build.target`, `alias.<name>`; `--config` wins over variables, these over
//! files, and nearer files over others).

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_platform::{Cfg, Platform};

use crate::environment::Variables;

/// The settings as given with `--config`, and as read from the files around one directory.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// What wins comes first.
    given: Vec<Source>,
    /// Nearest first.
    files: Vec<Source>,
}

/// One file, or one `--config`, and the directory in which it is or counts as being.
type Source = (PathBuf, toml::Table);

/// How a runner is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `"program argument"`
    Text,
    /// `["program", "argument"]`
    List,
}

impl Settings {
    /// Reads the configuration that cargo would read in `root` when it is given `configs`. What cannot
    /// be parsed is left out: cargo itself will refuse it.
    pub(super) fn read(root: &Path, env: &Variables, configs: &[String]) -> Self {
        let home = env.get(OsStr::new("CARGO_HOME")).map(PathBuf::from);
        let home = home.or_else(|| Some(Path::new(env.get(OsStr::new("HOME"))?).join(".cargo")));
        let directories = root
            .ancestors()
            .map(|above| above.join(".cargo"))
            .chain(home);
        let files = directories.filter_map(|directory| {
            let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
            let text = read("config").or_else(|| read("config.toml"))?;
            Some((directory, text.parse().ok()?))
        });
        Settings {
            given: configs
                .iter()
                .rev()
                .filter_map(|config| given(root, config))
                .collect(),
            files: files.collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Source> {
        self.given.iter().chain(&self.files)
    }

    /// The runner configured for `triple`, as words. `cfgs` are what holds of that target, asked for
    /// only when it matters.
    pub(super) fn runner(
        &self,
        triple: &str,
        env: &Variables,
        cfgs: impl FnOnce() -> Vec<Cfg>,
    ) -> Option<Vec<String>> {
        let variable = || {
            let value = env.get(OsStr::new(&runner_variable(triple)))?;
            Some(split(&value.to_string_lossy()))
        };
        let named = |sources: &[Source]| sources.iter().find_map(|source| named(source, triple));
        named(&self.given)
            .or_else(variable)
            .or_else(|| named(&self.files))
            .or_else(|| self.conditional_runner(triple, cfgs))
    }

    /// Under `target.'cfg(...)'`, which counts when nothing is set for the target by name.
    fn conditional_runner(
        &self,
        triple: &str,
        cfgs: impl FnOnce() -> Vec<Cfg>,
    ) -> Option<Vec<String>> {
        let mut conditions = self.all().flat_map(|source| {
            let targets = source.1.get("target").and_then(toml::Value::as_table);
            targets.into_iter().flatten().filter_map(|(name, of)| {
                let condition: Platform = name.starts_with("cfg(").then_some(name)?.parse().ok()?;
                Some((condition, words_of(source, of.get("runner")?)?))
            })
        });
        let first = conditions.next()?;
        let cfgs = cfgs();
        std::iter::once(first)
            .chain(conditions)
            .find(|(condition, _)| condition.matches(triple, &cfgs))
            .map(|(_, words)| words)
    }

    /// How a runner for `triple` is written that was given with `--config`, which wins over variables.
    pub(super) fn given_form(&self, triple: &str) -> Option<Form> {
        self.given.iter().find_map(|(_, table)| {
            let runner = table.get("target")?.get(triple)?.get("runner")?;
            Some(if runner.is_array() {
                Form::List
            } else {
                Form::Text
            })
        })
    }

    /// How a runner for `triple` is written in the nearest file that has one.
    pub(super) fn file_form(&self, triple: &str) -> Option<Form> {
        self.files.iter().find_map(|(_, table)| {
            let runner = table.get("target")?.get(triple)?.get("runner")?;
            Some(if runner.is_array() {
                Form::List
            } else {
                Form::Text
            })
        })
    }

    /// What the user's subcommand `name` stands for.
    pub(super) fn alias(&self, name: &str, env: &Variables) -> Option<Vec<String>> {
        let named = |sources: &[Source]| {
            let mut found = sources
                .iter()
                .filter_map(|(_, of)| of.get("alias")?.get(name));
            found.next().map(words)
        };
        let variable = || {
            let value = env.get(OsStr::new(&variable("ALIAS", name)))?;
            Some(split(&value.to_string_lossy()))
        };
        named(&self.given)
            .or_else(variable)
            .or_else(|| named(&self.files))
    }

    /// The `rustdoc` configured in a file.
    pub(super) fn rustdoc(&self) -> Option<PathBuf> {
        self.all().find_map(|(directory, file)| {
            let program = file.get("build")?.get("rustdoc")?.as_str()?;
            let is_path = program.contains('/');
            Some(if is_path {
                directory.parent()?.join(program)
            } else {
                program.into()
            })
        })
    }

    /// Whether a file sets this key of `[term]`.
    pub(super) fn has_term(&self, key: &str) -> bool {
        self.all()
            .any(|(_, file)| file.get("term").is_some_and(|term| term.get(key).is_some()))
    }

    /// The targets that cargo builds for when the command names none.
    pub(super) fn targets(&self, env: &Variables) -> Vec<String> {
        if let Some(target) = env.get(OsStr::new("CARGO_BUILD_TARGET")) {
            return vec![target.to_string_lossy().into_owned()];
        }
        let set = self
            .all()
            .find_map(|(_, file)| file.get("build")?.get("target"));
        match set {
            Some(toml::Value::String(target)) => vec![target.clone()],
            Some(several) => words(several),
            None => Vec::new(),
        }
    }
}

/// The variable by which cargo is told the runner for `triple`.
pub(super) fn runner_variable(triple: &str) -> String {
    format!("{}_RUNNER", variable("TARGET", triple))
}

/// The variable for `key` in `table` of cargo's configuration (the Cargo Book, "Environment variables").
fn variable(table: &str, key: &str) -> String {
    let key = key.to_uppercase().replace(['-', '.'], "_");
    format!("CARGO_{table}_{key}")
}

/// What one `--config` says: a file, or a line of TOML.
fn given(root: &Path, config: &str) -> Option<Source> {
    let path = root.join(config);
    if path.is_file() {
        let table = fs::read_to_string(&path).ok()?.parse().ok()?;
        return Some((path.parent()?.to_owned(), table));
    }
    Some((root.join(".cargo"), config.parse().ok()?))
}

fn named(source: &Source, triple: &str) -> Option<Vec<String>> {
    words_of(source, source.1.get("target")?.get(triple)?.get("runner")?)
}

/// A runner, as words. A path, as against a name, is relative to the directory that holds `.cargo`.
fn words_of((directory, _): &Source, runner: &toml::Value) -> Option<Vec<String>> {
    let mut words = words(runner);
    let program = words.first_mut()?;
    if program.contains('/') {
        *program = directory
            .parent()?
            .join(&*program)
            .to_string_lossy()
            .into_owned();
    }
    Some(words)
}

fn words(value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::String(text) => split(text),
        toml::Value::Array(words) => words
            .iter()
            .filter_map(|word| Some(word.as_str()?.to_owned()))
            .collect(),
        _ => Vec::new(),
    }
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_files_win_and_variables_win_over_files() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("inner");
        for (directory, text) in [
            (
                root.path(),
                "build.target = 'far'\nalias.tt = 'test --far'\n[target.near]\nrunner = 'outer'\n[target.far]\nrunner = 'qemu -x'",
            ),
            (
                &*inner,
                "alias.tt = ['t', 'a b']\n[target.near]\nrunner = ['./run', 'a b']\n[target.'cfg(unix)']\nrunner = 'x'",
            ),
        ] {
            fs::create_dir_all(directory.join(".cargo")).unwrap();
            fs::write(directory.join(".cargo/config.toml"), text).unwrap();
        }
        let mut env = Variables::from([("CARGO_HOME".into(), root.path().join("none").into())]);
        let settings = Settings::read(&inner, &env, &[]);
        let near = inner.join("./run").to_string_lossy().into_owned();
        let runner = |settings: &Settings, triple: &str, env: &Variables| {
            settings.runner(triple, env, || vec![Cfg::Name(unix())])
        };
        assert_eq!(
            runner(&settings, "near", &env),
            Some(vec![near, "a b".to_owned()])
        );
        assert_eq!(
            runner(&settings, "far", &env),
            Some(vec!["qemu".to_owned(), "-x".to_owned()])
        );
        assert_eq!(runner(&settings, "else", &env), Some(vec!["x".to_owned()]));
        assert_eq!(settings.runner("else", &env, Vec::new), None);
        assert_eq!(settings.targets(&env), ["far"]);
        assert_eq!(settings.alias("tt", &env).unwrap(), ["t", "a b"]);
        assert_eq!(settings.alias("t", &env), None);
        assert_eq!(settings.file_form("near"), Some(Form::List));
        assert_eq!(settings.file_form("far"), Some(Form::Text));
        env.insert("CARGO_TARGET_NEAR_RUNNER".into(), "mine --fast".into());
        assert_eq!(
            runner(&settings, "near", &env),
            Some(vec!["mine".to_owned(), "--fast".to_owned()])
        );
        env.insert("CARGO_ALIAS_TT".into(), "test  --mine".into());
        env.insert("CARGO_ALIAS_MY_TEST".into(), "tt".into());
        assert_eq!(settings.alias("tt", &env).unwrap(), ["test", "--mine"]);
        assert_eq!(settings.alias("my-test", &env).unwrap(), ["tt"]);
        let configs = [
            "target.near.runner = 'a b'",
            "target.near.runner = 'given'",
            "alias.tt = 'test --given'",
        ];
        let settings = Settings::read(&inner, &env, &configs.map(str::to_owned));
        assert_eq!(settings.given_form("near"), Some(Form::Text));
        assert_eq!(settings.alias("tt", &env).unwrap(), ["test", "--given"]);
        assert_eq!(
            runner(&settings, "near", &env),
            Some(vec!["given".to_owned()])
        );
    }

    fn unix() -> cargo_platform::Ident {
        match "unix".parse::<Cfg>().unwrap() {
            Cfg::Name(name) | Cfg::KeyPair(name, _) => name,
        }
    }
}
