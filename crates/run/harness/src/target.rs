//! What is fuzzed: a harness that `cohort.toml` names, or the targets of a project of cargo-fuzz.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use crate::Error;

/// What stands for the input's file in a command.
const PLACES: [&str; 2] = ["{input}", "@@"];
/// A function that every binary of libFuzzer has, by which it is known.
const LIBFUZZER_MARK: &[u8] = b"artifact_prefix";

/// The program of AFL++.
pub(crate) const AFL_FUZZ: &str = "afl-fuzz";
/// The variable by which a program that was built with AFL's compiler finds its map.
const AFL_MARK: &[u8] = b"__AFL_SHM_ID";

/// libFuzzer's own exit code after a bug, 77, is that of a test that was skipped.
const EXIT_CODE: &str = "-error_exitcode=1";

/// What `[fuzz]` says of a harness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The program and its arguments; empty: none is named.
    pub harness: Vec<String>,
    /// Run before, by `sh`.
    pub build: Option<String>,
    /// Files or directories of inputs to begin with.
    pub seeds: Vec<PathBuf>,
    /// Words, in the format of AFL and libFuzzer.
    pub dictionary: Option<PathBuf>,
    /// Variables of its environment.
    pub env: BTreeMap<String, String>,
}

/// Who makes the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// The one that was linked into the harness.
    LibFuzzer,
    /// AFL++, for programs that its compiler built.
    Afl,
    /// Cohort's own, which runs the program once for each.
    Own,
}

/// One program that reads an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What it is called: letters, digits, `_` and `-`.
    pub name: String,
    /// The program and its arguments, with `{input}` for the file.
    pub command: Vec<String>,
    /// The input is its standard input, as no argument stands for it.
    pub reads_stdin: bool,
    /// Where it runs.
    pub directory: PathBuf,
    /// Variables added to its environment.
    pub env: BTreeMap<String, String>,
    /// Who makes the inputs.
    pub engine: Engine,
    /// Files or directories of inputs to begin with.
    pub seeds: Vec<PathBuf>,
    /// Words, in the format of AFL and libFuzzer.
    pub dictionary: Option<PathBuf>,
}

impl Target {
    /// The command on one input.
    #[must_use]
    pub fn on(&self, input: &Path) -> Vec<OsString> {
        let input = input.to_string_lossy();
        let word = |word: &String| word.replace(PLACES[0], &input).into();
        self.command.iter().map(word).collect()
    }

    /// The command for a shell, with `{test}` for the file.
    #[must_use]
    pub fn shell(&self) -> String {
        let words: Vec<_> = self
            .command
            .iter()
            .map(|word| shell_words::quote(word))
            .collect();
        let input = if self.reads_stdin { " < {test}" } else { "" };
        format!(
            "exec {}{input}",
            words.join(" ").replace(PLACES[0], "{test}")
        )
    }

    /// Its name, with the engine where that is not Cohort's own.
    pub(crate) fn told(&self) -> String {
        match self.engine {
            Engine::Own => self.name.clone(),
            Engine::LibFuzzer => format!("{} (libFuzzer)", self.name),
            Engine::Afl => format!("{} (AFL++)", self.name),
        }
    }

    /// The file of its program.
    pub(crate) fn program(&self) -> PathBuf {
        let program = Path::new(&self.command[0]);
        if self.command[0].contains('/') {
            return self.directory.join(program);
        }
        along_path(&self.command[0]).unwrap_or_else(|| program.to_owned())
    }

    /// Why its engine is not the one that it was built for, if it is not.
    pub(crate) fn lacks(&self) -> Option<String> {
        let is_afl = self.engine == Engine::Own && has_mark(&self.program(), AFL_MARK);
        is_afl.then(|| {
            format!(
                "{} was built for AFL++, and afl-fuzz is not installed (apt install afl++); it is run without what its coverage tells",
                self.name
            )
        })
    }
}

fn along_path(program: &str) -> Option<PathBuf> {
    let along = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&along).map(|folder| folder.join(program));
    found.find(|file| file.is_file())
}

/// Whether a program holds these bytes.
pub(crate) fn has_mark(program: &Path, mark: &[u8]) -> bool {
    let file = fs::read(program).unwrap_or_default();
    file.starts_with(b"\x7fELF") && file.windows(mark.len()).any(|it| it == mark)
}

/// Whether `root` has a project of cargo-fuzz.
#[must_use]
pub fn is_cargo_fuzz(root: &Path) -> bool {
    let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap_or_default();
    root.join("fuzz/fuzz_targets").is_dir() || manifest.contains("cargo-fuzz")
}

/// The harnesses of the project in `root`, built; none when it has none.
///
/// # Errors
/// When one cannot be built, or its manifest not be read.
pub fn targets(root: &Path, config: &Config) -> Result<Vec<Target>, Error> {
    if let Some(command) = &config.build {
        let words = ["sh".to_owned(), "-c".to_owned(), command.clone()];
        run(root, &words, &config.env).and_then(|output| built(command, &output))?;
    }
    if !config.harness.is_empty() {
        return Ok(vec![named(root, config)]);
    }
    if is_cargo_fuzz(root) {
        return of_cargo_fuzz(root, config);
    }
    Ok(Vec::new())
}

fn named(root: &Path, config: &Config) -> Target {
    let mut command: Vec<String> = config.harness.clone();
    for word in &mut command {
        *word = word.replace(PLACES[1], PLACES[0]);
    }
    let program = Path::new(&command[0]);
    let name: String = program
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .map(plain)
        .collect();
    let mut target = Target {
        name,
        reads_stdin: !command.iter().any(|word| word.contains(PLACES[0])),
        command,
        directory: root.to_owned(),
        env: config.env.clone(),
        engine: Engine::Own,
        seeds: config.seeds.iter().map(|seeds| root.join(seeds)).collect(),
        dictionary: config.dictionary.as_ref().map(|file| root.join(file)),
    };
    let program = target.program();
    if has_mark(&program, LIBFUZZER_MARK) {
        target.engine = Engine::LibFuzzer;
        target.command.insert(1, EXIT_CODE.to_owned());
        if target.reads_stdin {
            target.command.push(PLACES[0].to_owned());
            target.reads_stdin = false;
        }
    } else if has_mark(&program, AFL_MARK) && along_path(AFL_FUZZ).is_some() {
        target.engine = Engine::Afl;
    }
    target
}

fn plain(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || letter == '_' {
        letter
    } else {
        '-'
    }
}

fn of_cargo_fuzz(root: &Path, config: &Config) -> Result<Vec<Target>, Error> {
    let manifest = root.join("fuzz/Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(Error::file("read", &manifest))?;
    let names = bins(&text).map_err(|said| Error::Manifest {
        manifest: manifest.clone(),
        said,
    })?;
    if names.is_empty() {
        return Err(Error::NoTargets { manifest });
    }
    let asked = words("cargo +nightly fuzz --version");
    let tool = run(root, &asked, &config.env)?;
    if !tool.status.success() {
        return Err(Error::NoCargoFuzz {
            project: root.join("fuzz"),
            said: last_line(&tool),
        });
    }
    let build = words("cargo +nightly fuzz build");
    built(&build.join(" "), &run(root, &build, &config.env)?)?;
    names
        .iter()
        .map(|name| of_bin(root, config, name))
        .collect()
}

/// Names of programs in the manifest.
fn bins(text: &str) -> Result<Vec<String>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let bins = table.get("bin").and_then(toml::Value::as_array);
    let names = bins
        .into_iter()
        .flatten()
        .filter_map(|bin| bin.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

fn of_bin(root: &Path, config: &Config, name: &str) -> Result<Target, Error> {
    let target = root.join("fuzz/target");
    let folders = fs::read_dir(&target).map_err(Error::file("read", &target))?;
    let files = folders
        .flatten()
        .map(|folder| folder.path().join("release").join(name));
    let program = files.into_iter().find(|file| file.is_file());
    let program = program.ok_or_else(|| Error::Start {
        command: format!("{}/TRIPLE/release/{name}", target.display()),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    let own = [
        root.join("fuzz/corpus").join(name),
        root.join("fuzz/seeds").join(name),
    ];
    let dictionaries = [
        format!("fuzz/{name}.dict"),
        format!("fuzz/dict/{name}.dict"),
    ];
    let dictionary = dictionaries
        .iter()
        .map(|file| root.join(file))
        .find(|file| file.is_file());
    Ok(Target {
        name: name.chars().map(plain).collect(),
        command: vec![
            program.to_string_lossy().into_owned(),
            EXIT_CODE.to_owned(),
            PLACES[0].to_owned(),
        ],
        reads_stdin: false,
        directory: root.to_owned(),
        env: config.env.clone(),
        engine: Engine::LibFuzzer,
        seeds: own.into_iter().filter(|folder| folder.is_dir()).collect(),
        dictionary: dictionary.or_else(|| config.dictionary.as_ref().map(|file| root.join(file))),
    })
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

fn run(root: &Path, words: &[String], env: &BTreeMap<String, String>) -> Result<Output, Error> {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .current_dir(root)
        .envs(env)
        .stdin(Stdio::null());
    command.output().map_err(|source| Error::Start {
        command: words.join(" "),
        source,
    })
}

fn built(command: &str, output: &Output) -> Result<(), Error> {
    if output.status.success() {
        return Ok(());
    }
    let how = match (output.status.code(), output.status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    };
    let said = last_line(output);
    Err(Error::Build {
        command: command.to_owned(),
        how,
        said: if said.is_empty() {
            said
        } else {
            format!(": {said}")
        },
    })
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(harness: &str) -> Config {
        Config {
            harness: words(harness),
            ..Config::default()
        }
    }

    #[test]
    fn an_input_is_a_file_where_one_is_named_and_standard_input_else() {
        let root = Path::new("/project");
        let of = |harness| named(root, &config(harness));
        let file = of("./bin/parse.py --file=@@ -v");
        assert_eq!((file.name.as_str(), file.reads_stdin), ("parse", false));
        assert_eq!(
            file.on(Path::new("/x y")),
            ["./bin/parse.py", "--file=/x y", "-v"]
        );
        assert!(of("parse -").reads_stdin);
        assert_eq!(file.engine, Engine::Own);
    }

    #[test]
    fn targets_of_cargo_fuzz_are_its_programs() {
        let text = "[package]\nname = \"x-fuzz\"\n[[bin]]\nname = \"parse\"\npath = \"fuzz_targets/parse.rs\"\n";
        assert_eq!(bins(text).unwrap(), ["parse"]);
        assert_eq!(bins("[package]").unwrap(), Vec::<String>::new());
        assert!(bins("[").is_err());
    }

    #[test]
    fn a_build_that_fails_says_why() {
        let root = tempfile::tempdir().unwrap();
        let broken = Config {
            build: Some("echo no compiler >&2; exit 3".to_owned()),
            ..config("./parse @@")
        };
        let said = targets(root.path(), &broken).unwrap_err().to_string();
        assert!(
            said.ends_with("ended with exit code 3: no compiler"),
            "{said}"
        );
        assert!(targets(root.path(), &Config::default()).unwrap().is_empty());
    }
}
