//! The few settings of cargo's configuration files that decide how a test program is started.
//!
//! The recorder takes the place of a runner that the user configured, so the user's has to be read
//! here and put back in front of each program (the Cargo Book, "Configuration": `target.<triple>.runner`,
//! `build.target`; nearer files win, variables win over files).

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::environment::Variables;

/// The settings as read from the files around one directory, nearest first.
#[derive(Debug, Default)]
pub(super) struct Settings {
    files: Vec<(PathBuf, toml::Table)>,
}

impl Settings {
    /// Reads the configuration that cargo would read in `root`. A file that cannot be parsed is left
    /// out: cargo itself will refuse it.
    pub(super) fn read(root: &Path, env: &Variables) -> Self {
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
            files: files.collect(),
        }
    }

    /// The runner configured for `triple`, as words.
    pub(super) fn runner(&self, triple: &str, env: &Variables) -> Option<Vec<String>> {
        let variable = format!(
            "CARGO_TARGET_{}_RUNNER",
            triple.to_uppercase().replace(['-', '.'], "_")
        );
        if let Some(value) = env.get(OsStr::new(&variable)) {
            return Some(
                value
                    .to_string_lossy()
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
            );
        }
        self.files.iter().find_map(|(directory, file)| {
            let mut words = words(file.get("target")?.get(triple)?.get("runner")?);
            // A path, as against a name, is relative to the directory that holds `.cargo`.
            let program = words.first_mut()?;
            if program.contains('/') {
                *program = directory
                    .parent()?
                    .join(&*program)
                    .to_string_lossy()
                    .into_owned();
            }
            Some(words)
        })
    }

    /// The file that sets a runner under `target.'cfg(...)'`, if any does.
    pub(super) fn conditional_runner(&self) -> Option<PathBuf> {
        self.files.iter().find_map(|(directory, file)| {
            let mut targets = file.get("target")?.as_table()?.iter();
            let sets =
                targets.any(|(name, of)| name.starts_with("cfg(") && of.get("runner").is_some());
            sets.then(|| directory.join("config.toml"))
        })
    }

    /// The `rustdoc` configured in a file.
    pub(super) fn rustdoc(&self) -> Option<PathBuf> {
        self.files.iter().find_map(|(directory, file)| {
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
        self.files
            .iter()
            .any(|(_, file)| file.get("term").is_some_and(|term| term.get(key).is_some()))
    }

    /// The targets that cargo builds for when the command names none.
    pub(super) fn targets(&self, env: &Variables) -> Vec<String> {
        if let Some(target) = env.get(OsStr::new("CARGO_BUILD_TARGET")) {
            return vec![target.to_string_lossy().into_owned()];
        }
        let set = self
            .files
            .iter()
            .find_map(|(_, file)| file.get("build")?.get("target"));
        match set {
            Some(toml::Value::String(target)) => vec![target.clone()],
            Some(several) => words(several),
            None => Vec::new(),
        }
    }
}

fn words(value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        toml::Value::Array(words) => words
            .iter()
            .filter_map(|word| Some(word.as_str()?.to_owned()))
            .collect(),
        _ => Vec::new(),
    }
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
                "build.target = 'far'\n[target.near]\nrunner = 'outer'\n[target.far]\nrunner = 'qemu -x'",
            ),
            (
                &*inner,
                "[target.near]\nrunner = ['./run', 'a b']\n[target.'cfg(unix)']\nrunner = 'x'",
            ),
        ] {
            fs::create_dir_all(directory.join(".cargo")).unwrap();
            fs::write(directory.join(".cargo/config.toml"), text).unwrap();
        }
        let mut env = Variables::from([("CARGO_HOME".into(), root.path().join("none").into())]);
        let settings = Settings::read(&inner, &env);
        let near = inner.join("./run").to_string_lossy().into_owned();
        assert_eq!(
            settings.runner("near", &env),
            Some(vec![near, "a b".to_owned()])
        );
        assert_eq!(
            settings.runner("far", &env),
            Some(vec!["qemu".to_owned(), "-x".to_owned()])
        );
        assert_eq!(settings.runner("else", &env), None);
        assert_eq!(settings.targets(&env), ["far"]);
        assert_eq!(
            settings.conditional_runner(),
            Some(inner.join(".cargo/config.toml"))
        );
        env.insert("CARGO_TARGET_NEAR_RUNNER".into(), "mine --fast".into());
        assert_eq!(
            settings.runner("near", &env),
            Some(vec!["mine".to_owned(), "--fast".to_owned()])
        );
    }
}
