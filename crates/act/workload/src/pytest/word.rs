//! Where pytest's name stands in a command: as the program, or as what Python, coverage or an
//! environment manager runs in the end (`env A=1 uv run --with x python -m pytest`).

use std::path::Path;

use crate::environment;

/// Programs whose subcommand `run` runs another command.
const RUNNERS: [&str; 9] = [
    "coverage", "hatch", "pdm", "pipenv", "pipx", "pixi", "poetry", "rye", "uv",
];
/// Options of runners whose value may look like the command (`uv run --with pytest pytest`).
const VALUED: [&str; 13] = [
    "--with",
    "-w",
    "--with-editable",
    "--extra",
    "--group",
    "--only-group",
    "--from",
    "--package",
    "--directory",
    "--project",
    "-C",
    "--python",
    "-p",
];

/// The index of the word; none when `command` does not run pytest.
pub(crate) fn word(command: &[String]) -> Option<usize> {
    let (_, after_env) = environment::split_env(command);
    let start = command.len() - after_env.len();
    let program = name(command.get(start)?);
    if is_pytest(program) {
        return Some(start);
    }
    let inner = if is_python(program) {
        module(command, start + 1)?
    } else if program == "uvx" {
        find(command, start + 1, may_run_pytest)?
    } else if RUNNERS.contains(&program) {
        let run = find(command, start + 1, |word| word == "run")?;
        find(command, run + 1, may_run_pytest)?
    } else {
        return None;
    };
    word(&command[inner..]).map(|at| inner + at)
}

/// The first word at or behind `from` that `is` what is looked for, and no option or its value.
fn find(command: &[String], from: usize, is: impl Fn(&str) -> bool) -> Option<usize> {
    (from..command.len()).find(|&at| {
        let is_value = VALUED.contains(&command[at - 1].as_str());
        !is_value && !command[at].starts_with('-') && is(&command[at])
    })
}

fn may_run_pytest(word: &str) -> bool {
    let name = name(word);
    is_pytest(name) || is_python(name) || RUNNERS.contains(&name) || matches!(name, "env" | "uvx")
}

/// Where the module of `-m` stands, before which only options of the interpreter may stand.
fn module(command: &[String], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += match command.get(at)?.as_str() {
            "-m" => return Some(at + 1),
            "-X" | "-W" => 2,
            option if option.starts_with('-') => 1,
            _ => return None,
        };
    }
}

fn is_pytest(name: &str) -> bool {
    matches!(name, "pytest" | "py.test")
}

/// `python`, `python3`, `python3.12`, `pypy3`.
fn is_python(name: &str) -> bool {
    let version = name
        .strip_prefix("python")
        .or_else(|| name.strip_prefix("pypy"));
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

fn name(word: &str) -> &str {
    let name = Path::new(word).file_name();
    name.and_then(|name| name.to_str()).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command before the word and from it on.
    fn split(command: &str) -> Option<(String, String)> {
        let words = shell_words::split(command).unwrap();
        let (before, from) = words.split_at(word(&words)?);
        Some((before.join(" "), from.join(" ")))
    }

    #[test]
    fn it_is_what_is_run_in_the_end() {
        for (before, from) in [
            ("", "pytest -k pytest"),
            ("", ".venv/bin/pytest tests"),
            ("", "py.test"),
            ("python -m", "pytest -q"),
            ("python3.12 -X dev -W error -m", "pytest"),
            ("/usr/bin/env A=1 B=/b/pytest", "pytest"),
            ("env A=1 uv run", "pytest"),
            ("uv run --with a,b", "pytest"),
            ("uv run --with pytest", "pytest x"),
            ("uv run --python python3.12", "pytest"),
            ("uv run --with a -m python3 -m", "pytest"),
            ("uv --quiet run --with=x/pytest -m", "pytest"),
            ("uv tool run", "pytest"),
            ("uvx", "pytest"),
            ("uvx --with x --from pytest", "pytest"),
            ("hatch -e test run", "pytest"),
            ("pdm run", "pytest"),
            ("poetry run python -m", "pytest tests"),
            ("poetry run env A=x/pytest", "pytest"),
            ("coverage run --source=src -m", "pytest"),
            ("uv run coverage run -p -m", "pytest"),
            ("python -m coverage run -m", "pytest"),
        ] {
            let command = format!("{before} {from}");
            let expected = Some((before.to_owned(), from.to_owned()));
            assert_eq!(split(command.trim()), expected, "{command}");
        }
    }

    #[test]
    fn it_is_not_what_is_only_named() {
        for command in [
            "",
            "make pytest",
            "tox",
            "tox -e pytest",
            "env",
            "env A=1",
            "python test.py",
            "python x -m pytest",
            "python -m unittest pytest",
            "python -m",
            "uv pytest",
            "uv pip install pytest",
            "uv run python x.py pytest",
            "uv run --with pytest",
            "coverage report",
            "pytset",
        ] {
            assert_eq!(split(command), None, "{command}");
        }
    }
}
