//! Asks cargo itself how it would run each test program, to the last variable.
//!
//! cargo is told to run the tests, with a runner and a `rustdoc` that only write down how they were
//! called: arguments, environment, working directory. So package variables, library paths, `[env]`
//! of cargo's configuration, variables of build scripts, target selection, and whatever cargo adds
//! next year, are cargo's own, and nothing is imitated. Both live in one temporary directory:
//!
//! ```text
//! <dir>/record, <dir>/rustdoc      the same script
//! <dir>/<pid>/{cmdline,environ,cwd}   one call
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statvfs::{FsFlags, statvfs};
use tempfile::TempDir;

use super::settings::{Form, Settings, runner_variable};
use crate::Error;
use crate::environment::Variables;

/// `/proc` has arguments and environment as the kernel passed them: the shell has not touched them.
const SCRIPT: &str = r#"#!/bin/sh
call="${0%/*}/$$" && mkdir "$call" &&
cat "/proc/$$/cmdline" > "$call/cmdline" &&
cat "/proc/$$/environ" > "$call/environ" &&
pwd -P > "$call/cwd"
"#;

/// One call that cargo made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A test binary, for this target triple.
    Binary(String, Called),
    /// `rustdoc --test`; the program is not known yet and is empty.
    Doc(Called),
}

/// How a program was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Variables,
    pub(super) cwd: PathBuf,
}

/// The two scripts and what they wrote.
pub(super) struct Recorder {
    directory: TempDir,
}

impl Recorder {
    /// Makes them in the first of `places` from which programs may be executed.
    pub(super) fn prepare(places: &[&Path]) -> Result<Self, Error> {
        let executes = |path: &&&Path| {
            let flags = statvfs(**path).map(|disk| disk.flags());
            flags.is_ok_and(|flags| !flags.contains(FsFlags::ST_NOEXEC))
        };
        let place = places.iter().find(executes).unwrap_or(&places[0]);
        let directory = tempfile::Builder::new()
            .prefix("cargo-")
            .tempdir_in(place)
            .map_err(|source| Error::Record {
                path: place.to_path_buf(),
                source,
            })?;
        for name in ["record", "rustdoc"] {
            let path = directory.path().join(name);
            let write = || {
                fs::write(&path, SCRIPT)?;
                fs::set_permissions(&path, Permissions::from_mode(0o755))
            };
            write().map_err(|source| Error::Record {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Recorder { directory })
    }

    /// Makes cargo record what it runs for `triple`: by a variable, which wins over every file in
    /// whatever form that has it, or by a setting where one was given, or where a word has a space.
    pub(super) fn instruct(&self, command: &mut Command, triple: &str, settings: &Settings) {
        let script = self.directory.path().join("record");
        let words = ["/bin/sh", &script.to_string_lossy(), triple];
        let has_space = words.iter().any(|word| word.contains(char::is_whitespace));
        let given = settings.given_form(triple);
        if given.is_none() && !has_space {
            command.env(runner_variable(triple), words.join(" "));
            return;
        }
        let list = words.map(toml::Value::from).to_vec();
        let runner = match given.or_else(|| settings.file_form(triple)) {
            Some(Form::Text) => toml::Value::from(words.join(" ")),
            Some(Form::List) | None => toml::Value::Array(list),
        };
        let triple = toml::Value::from(triple);
        command.args(["--config", &format!("target.{triple}.runner={runner}")]);
    }

    /// What `RUSTDOC` has to be.
    pub(super) fn rustdoc(&self) -> PathBuf {
        self.directory.path().join("rustdoc")
    }

    /// All calls so far, in no particular order.
    pub(super) fn calls(&self) -> Result<Vec<Call>, Error> {
        let path = self.directory.path();
        self.read().map_err(|source| Error::Record {
            path: path.to_owned(),
            source,
        })
    }

    fn read(&self) -> io::Result<Vec<Call>> {
        let mut calls = Vec::new();
        for entry in fs::read_dir(self.directory.path())? {
            let entry = entry?.path();
            if !entry.is_dir() {
                continue;
            }
            let words = fs::read(entry.join("cmdline"))?;
            let environ = fs::read(entry.join("environ"))?;
            let cwd = fs::read(entry.join("cwd"))?;
            let cwd = PathBuf::from(OsString::from_vec(
                cwd.strip_suffix(b"\n").unwrap_or(&cwd).to_vec(),
            ));
            // /bin/sh <dir>/record <triple> <program> <args>, or /bin/sh <dir>/rustdoc <args>
            let mut words = split(&words).skip(1);
            let script = words.next().unwrap_or_default();
            let env = variables(&environ);
            let mut called = Called {
                program: PathBuf::new(),
                args: Vec::new(),
                env,
                cwd,
            };
            if Path::new(&script).file_name() == Some(OsStr::new("rustdoc")) {
                called.args = words.collect();
                calls.push(Call::Doc(called));
            } else {
                let triple = words
                    .next()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                called.program = words.next().unwrap_or_default().into();
                called.args = words.collect();
                calls.push(Call::Binary(triple, called));
            }
        }
        Ok(calls)
    }
}

fn split(words: &[u8]) -> impl Iterator<Item = OsString> {
    let words = words.strip_suffix(&[0]).unwrap_or(words);
    words
        .split(|byte| *byte == 0)
        .map(|word| OsStr::from_bytes(word).to_owned())
}

fn variables(environ: &[u8]) -> Variables {
    let pairs = split(environ).filter_map(|pair| {
        let pair = pair.as_bytes();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((
            OsStr::from_bytes(&pair[..at]).to_owned(),
            OsStr::from_bytes(&pair[at + 1..]).to_owned(),
        ))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_written_down_to_the_byte() {
        let place = tempfile::tempdir().unwrap();
        let recorder = Recorder::prepare(&[place.path()]).unwrap();
        let cwd = tempfile::tempdir().unwrap();
        let odd = OsStr::from_bytes(b"caf\xff\n 'x'");
        let status = Command::new("/bin/sh")
            .arg(recorder.directory.path().join("record"))
            .args([
                OsStr::new("triple"),
                OsStr::new("/some/program"),
                odd,
                OsStr::new(""),
            ])
            .current_dir(&cwd)
            .env_clear()
            .envs([("A.B", odd), ("PATH", &std::env::var_os("PATH").unwrap())])
            .status()
            .unwrap();
        assert!(status.success());
        assert!(
            Command::new(recorder.rustdoc())
                .arg("--test")
                .status()
                .unwrap()
                .success()
        );
        let calls = recorder.calls().unwrap();
        let binary = calls.iter().find_map(|call| match call {
            Call::Binary(triple, called) if triple == "triple" => Some(called),
            _ => None,
        });
        let binary = binary.unwrap();
        assert_eq!(binary.program, Path::new("/some/program"));
        assert_eq!(binary.args, [odd, OsStr::new("")]);
        assert_eq!(binary.env[OsStr::new("A.B")], odd);
        assert_eq!(binary.cwd, cwd.path().canonicalize().unwrap());
        assert!(
            calls
                .iter()
                .any(|call| matches!(call, Call::Doc(called) if called.args == ["--test"]))
        );
    }
}
