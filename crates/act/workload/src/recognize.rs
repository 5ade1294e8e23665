//! Which suite a request means: by its command, else by `cohort.toml`, else by its directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::Cargo;
use crate::exec::Exec;
use crate::pytest::{self, Pytest};
use crate::{Error, Request, Suite, environment};

const LOOKED_FOR: &str = "Cargo.toml; pytest.ini, conftest.py, tests/test_*.py, or pytest's settings in \
                          pyproject.toml, tox.ini or setup.cfg; [suite] in cohort.toml";
/// A directory with one of these is the root of a project.
const PROJECT_FILES: [&str; 6] = [
    "Cargo.toml",
    "pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
    "setup.py",
];
/// Which adapter a request means, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meant {
    Cargo(Vec<String>),
    Pytest(Vec<String>),
    Exec { list: String, run: String },
}

/// The suite that `request` means.
///
/// # Errors
/// When the command is none that is known, when there is none and the directory says nothing or more
/// than one thing, and when the arguments or the variables make no sense under Cohort.
pub fn recognize(request: &Request) -> Result<Suite, Error> {
    let root = request.root.clone();
    let env = &request.config.env;
    if env.contains_key("TMPDIR") {
        return Err(Error::Option {
            option: "[suite] env.TMPDIR".to_owned(),
            instead: "every instance has a directory of its own for temporary files; set TMPDIR for \
                      `cohort` itself, and those are made below it",
        });
    }
    match meant(request)? {
        Meant::Cargo(command) => Ok(Suite::Cargo(Cargo::new(root, &command, env)?)),
        Meant::Pytest(command) => {
            let env = environment::with(env);
            Ok(Suite::Pytest(Pytest::new(root, &command, env)?))
        }
        Meant::Exec { list, run } => Ok(Suite::Exec(Exec::new(root, list, run, env.clone()))),
    }
}

fn meant(request: &Request) -> Result<Meant, Error> {
    let config = &request.config;
    let given = [&request.command, &config.command]
        .into_iter()
        .find(|command| !command.is_empty());
    if let Some(command) = given {
        return by_command(command);
    }
    match (&config.list, &config.run) {
        (Some(list), Some(run)) => Ok(Meant::Exec {
            list: list.clone(),
            run: run.clone(),
        }),
        (Some(_), None) => Err(Error::HalfExec {
            present: "list",
            missing: "run",
        }),
        (None, Some(_)) => Err(Error::HalfExec {
            present: "run",
            missing: "list",
        }),
        (None, None) => by_directory(&request.root),
    }
}

fn by_command(command: &[String]) -> Result<Meant, Error> {
    let program = environment::split_env(command).1.first();
    if program.is_some_and(|program| Path::new(program).ends_with("cargo")) {
        return Ok(Meant::Cargo(command.to_vec()));
    }
    if pytest::word(command).is_some() {
        return Ok(Meant::Pytest(command.to_vec()));
    }
    Err(Error::UnknownCommand {
        command: shell_words::join(command),
    })
}

/// What the nearest directory says, this one or above: both tools look for their settings so.
fn by_directory(root: &Path) -> Result<Meant, Error> {
    for directory in root.ancestors() {
        let has_cargo = directory.join("Cargo.toml").is_file();
        return match (has_cargo, has_pytest(directory)) {
            (true, false) => Ok(Meant::Cargo(vec!["cargo".to_owned(), "test".to_owned()])),
            (false, true) => Ok(Meant::Pytest(vec!["pytest".to_owned()])),
            (true, true) => Err(Error::TwoSuites {
                root: directory.to_owned(),
            }),
            (false, false) if directory.join(".git").exists() => break,
            (false, false) => continue,
        };
    }
    Err(Error::NoSuite {
        root: root.to_owned(),
        looked_for: LOOKED_FOR,
    })
}

/// The root of the project that `directory` belongs to, where its record is kept: that of the cargo
/// workspace or of pytest, whichever is nearer; none when it belongs to neither.
#[must_use]
pub fn project_root(directory: &Path) -> Option<PathBuf> {
    let marked = |directory: &&Path| {
        PROJECT_FILES
            .iter()
            .any(|name| directory.join(name).is_file())
    };
    let nearest = directory.ancestors().find(marked)?;
    let is_workspace = |directory: &&Path| {
        let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
        manifest
            .lines()
            .any(|line| line.trim_start().starts_with("[workspace"))
    };
    let workspace = nearest
        .join("Cargo.toml")
        .is_file()
        .then(|| nearest.ancestors().find(is_workspace))
        .flatten();
    Some(workspace.unwrap_or(nearest).to_owned())
}

/// Whether pytest would find something to do in `root`, by its own settings or by its conventions.
fn has_pytest(root: &Path) -> bool {
    let has_line = |file: &str, starts: &[&str]| {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        text.lines().any(|line| {
            starts
                .iter()
                .any(|start| line.trim_start().starts_with(start))
        })
    };
    root.join("pytest.ini").is_file()
        || root.join("conftest.py").is_file()
        || root.join("tests/conftest.py").is_file()
        || has_line("pyproject.toml", &["[tool.pytest"])
        || has_line("tox.ini", &["[pytest]"])
        || has_line("setup.cfg", &["[tool:pytest]"])
        || has_test_file(&root.join("tests"))
        || has_test_file(root)
            && ["pyproject.toml", "setup.py", "setup.cfg"]
                .iter()
                .any(|file| root.join(file).is_file())
}

fn has_test_file(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.ends_with("_test.py") || (name.starts_with("test_") && name.ends_with(".py"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SuiteConfig;

    fn words(command: &str) -> Vec<String> {
        shell_words::split(command).unwrap()
    }

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_command_says_which_suite() {
        for command in [
            "cargo test",
            "cargo +nightly t -p x",
            "/opt/bin/cargo test",
            "env A=1 cargo test",
        ] {
            assert_eq!(
                by_command(&words(command)).unwrap(),
                Meant::Cargo(words(command))
            );
        }
        for command in [
            "pytest",
            "uv run --with a python -m pytest",
            "env A=1 pytest",
        ] {
            assert_eq!(
                by_command(&words(command)).unwrap(),
                Meant::Pytest(words(command))
            );
        }
        for command in ["ls", "python -m unittest", "tox -e pytest", "env"] {
            let said = by_command(&words(command)).unwrap_err().to_string();
            assert!(
                said.starts_with(&format!("`{command}` is no test suite")),
                "{said}"
            );
        }
    }

    #[test]
    fn a_variable_that_the_instance_sets_is_refused() {
        let mut request = Request {
            command: words("cargo test"),
            ..Request::default()
        };
        recognize(&request).unwrap();
        let env = [("TMPDIR".to_owned(), "/fast".to_owned())];
        request.config.env = env.into();
        let said = recognize(&request).unwrap_err().to_string();
        assert!(said.contains("`[suite] env.TMPDIR`"), "{said}");
    }

    #[test]
    fn the_nearer_word_wins() {
        let root = directory(&[("Cargo.toml", "")]);
        let mut request = Request {
            root: root.path().to_owned(),
            ..Request::default()
        };
        assert_eq!(meant(&request).unwrap(), Meant::Cargo(words("cargo test")));
        request.config = SuiteConfig {
            list: Some("l".to_owned()),
            ..SuiteConfig::default()
        };
        assert!(
            meant(&request)
                .unwrap_err()
                .to_string()
                .contains("no `run`")
        );
        request.config.run = Some("r".to_owned());
        assert_eq!(
            meant(&request).unwrap(),
            Meant::Exec {
                list: "l".to_owned(),
                run: "r".to_owned()
            }
        );
        request.config.command = words("pytest -x");
        assert_eq!(meant(&request).unwrap(), Meant::Pytest(words("pytest -x")));
        request.command = words("cargo test a");
        assert_eq!(
            meant(&request).unwrap(),
            Meant::Cargo(words("cargo test a"))
        );
    }

    #[test]
    fn a_directory_belongs_to_a_project() {
        let root = directory(&[
            ("ws/Cargo.toml", "[workspace]\nmembers = ['a']\n"),
            ("ws/a/Cargo.toml", "[package]\n"),
            ("ws/a/src/lib.rs", ""),
            ("ws/a/py/pyproject.toml", ""),
            ("ws/a/py/tests/test_a.py", ""),
            ("other/x", ""),
        ]);
        let of = |path: &str| {
            let found = project_root(&root.path().join(path))?;
            Some(found.strip_prefix(root.path()).unwrap().to_owned())
        };
        assert_eq!(of("ws/a/src"), Some("ws".into()));
        assert_eq!(of("ws"), Some("ws".into()));
        assert_eq!(of("ws/a/py/tests"), Some("ws/a/py".into()));
        assert_eq!(of("other"), None);
        let inner = by_directory(&root.path().join("ws/a/src")).unwrap();
        assert_eq!(inner, Meant::Cargo(words("cargo test")));
    }

    #[test]
    fn a_directory_says_which_suite() {
        for file in [
            ("pytest.ini", ""),
            ("tests/conftest.py", ""),
            ("tests/test_a.py", ""),
            ("tests/a_test.py", ""),
            ("pyproject.toml", "[tool.pytest.ini_options]\n"),
            ("tox.ini", "[tox]\n[pytest]\n"),
            ("setup.cfg", "[tool:pytest]\n"),
        ] {
            let root = directory(&[file]);
            assert_eq!(
                by_directory(root.path()).unwrap(),
                Meant::Pytest(words("pytest")),
                "{file:?}"
            );
        }
        let both = directory(&[("Cargo.toml", ""), ("tests/test_a.py", "")]);
        let said = by_directory(both.path()).unwrap_err().to_string();
        assert!(
            said.contains("cohort run -- cargo test\n  cohort run -- pytest"),
            "{said}"
        );
        let none = directory(&[("pyproject.toml", "[project]\n"), ("tests/a.rs", "")]);
        let said = by_directory(none.path()).unwrap_err().to_string();
        assert!(
            said.contains("looked for Cargo.toml") && said.contains("{test}"),
            "{said}"
        );
    }
}
