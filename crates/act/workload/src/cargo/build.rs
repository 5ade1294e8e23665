//! Runs cargo and reads which target each test program was built from.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::passing_on::{self, PassingOn};
use super::recorder::Recorder;
use super::settings::Settings;
use super::{Cargo, RUSTDOC};
use crate::environment::Variables;
use crate::{Error, Stop};

/// Exit code when cargo was ended by a signal: what a shell would say of SIGINT.
const INTERRUPTED: i32 = 130;

/// Test programs and the targets they were built from.
pub(super) type Targets = HashMap<PathBuf, Target>;

/// A target of a package, as cargo's messages name it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: Vec<String>,
}

/// The part of a manifest that says which targets bring a harness of their own (the Cargo Book,
/// "Cargo Targets", the `harness` field).
#[derive(Default, Deserialize)]
struct Manifest {
    lib: Option<OfTarget>,
    #[serde(default)]
    bin: Vec<OfTarget>,
    #[serde(default)]
    test: Vec<OfTarget>,
    #[serde(default)]
    bench: Vec<OfTarget>,
    #[serde(default)]
    example: Vec<OfTarget>,
}

#[derive(Deserialize)]
struct OfTarget {
    name: Option<String>,
    harness: Option<bool>,
}

impl Target {
    /// Name of the tests of this target: readable, typeable, and the same everywhere.
    pub(super) fn label(&self, package: &str) -> String {
        match self.kind.first().map(String::as_str) {
            Some("test") => format!("{package}::{}", self.name),
            Some(kind @ ("bin" | "example" | "bench")) => {
                format!("{package}::{kind}/{}", self.name)
            }
            _ => package.to_owned(),
        }
    }

    /// Whether `manifest` says that this target does not use libtest: then it may do anything when
    /// it is asked for a list.
    pub(super) fn has_own_harness(&self, manifest: &Path) -> bool {
        let text = std::fs::read_to_string(manifest).unwrap_or_default();
        let manifest: Manifest = toml::from_str(&text).unwrap_or_default();
        let of_kind = match self.kind.first().map(String::as_str) {
            Some("test") => manifest.test,
            Some("bin") => manifest.bin,
            Some("bench") => manifest.bench,
            Some("example") => manifest.example,
            _ => return manifest.lib.is_some_and(|lib| lib.harness == Some(false)),
        };
        of_kind.iter().any(|target| {
            target.harness == Some(false) && target.name.as_deref() == Some(&self.name)
        })
    }
}

/// One line of `--message-format json` (the Cargo Book, "External tools").
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the suite and lets `recorder` see what cargo would run.
pub(super) fn run(
    cargo: &Cargo,
    settings: &Settings,
    env: &Variables,
    (recorder, stop): (&Recorder, &Stop),
) -> Result<Targets, Error> {
    let program = &cargo.arguments.cargo[0];
    let start = |source| Error::Start {
        program: program.clone(),
        source,
    };
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(env)
        .current_dir(&cargo.root)
        .stdin(Stdio::null());
    command.args(&cargo.arguments.cargo[1..]);
    command.args(["test", "--message-format", "json-render-diagnostics"]);
    command.args(passing_on::options(cargo, settings, env));
    command.args(&cargo.arguments.build);
    // Last, so that it wins over a setting of the user's.
    for triple in triples(cargo, settings, env)? {
        recorder.instruct(&mut command, &triple, settings);
    }
    if !cargo.arguments.harness.is_empty() {
        command.arg("--").args(&cargo.arguments.harness);
    }
    let pipes = command
        .env(RUSTDOC, recorder.rustdoc())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut started = stop.spawn(pipes).map_err(start)?;
    let child = &mut started.child;
    let stderr = PassingOn::start(child.stderr.take().expect("stderr was just piped"));
    let stdout = child.stdout.take().expect("stdout was just piped");
    let targets = targets(stdout);
    let status = child.wait().map_err(start)?;
    drop(started);
    stderr.finish();
    if stop.is_stopped() {
        return Err(Error::Stopped);
    }
    if status.success() {
        return Ok(targets);
    }
    Err(Error::Build {
        code: status.code().unwrap_or(INTERRUPTED),
    })
}

/// Reads to the end of the build, not of the stream: cargo has nothing more to say here, and something
/// that it started may hold the stream open.
fn targets(messages: impl Read) -> Targets {
    let lines = BufReader::new(messages).split(b'\n').map_while(Result::ok);
    let messages = lines.filter_map(|line| serde_json::from_slice::<Message>(&line).ok());
    let built = messages
        .take_while(|message| message.reason != "build-finished")
        .filter_map(|message| {
            let is_test = message.reason == "compiler-artifact" && message.profile?.test;
            is_test.then_some((message.executable?, message.target?))
        });
    built.collect()
}

/// All targets that cargo may build for: the host, and those that were named.
fn triples(cargo: &Cargo, settings: &Settings, env: &Variables) -> Result<BTreeSet<String>, Error> {
    let host = host(cargo, env)?;
    let mut named = cargo.arguments.targets();
    if named.is_empty() {
        named = settings.targets(env);
    }
    let triples = named
        .into_iter()
        .map(|target| match target.strip_suffix(".json") {
            // cargo knows a target described by a file by the file's name.
            Some(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
            None => target,
        });
    Ok(triples
        .chain([host])
        .filter(|triple| triple != "host-tuple")
        .collect())
}

fn host(cargo: &Cargo, env: &Variables) -> Result<String, Error> {
    let program = &cargo.arguments.cargo[0];
    let toolchain = cargo
        .arguments
        .cargo
        .get(1)
        .filter(|word| word.starts_with('+'));
    let output = Command::new(program)
        .args(toolchain)
        .arg("-vV")
        .env_clear()
        .envs(env)
        .current_dir(&cargo.root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Start {
            program: program.clone(),
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or(Error::Build {
        code: output.status.code().unwrap_or(INTERRUPTED),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_who_brings_a_harness() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        let text = "[package]\nname = 'p'\n[[test]]\nname = 'own'\nharness = false\n[[test]]\nname = 'usual'\n";
        std::fs::write(&manifest, text).unwrap();
        let own = |kind: &str, name: &str| {
            let target = Target {
                name: name.to_owned(),
                kind: vec![kind.to_owned()],
            };
            target.has_own_harness(&manifest)
        };
        assert!(own("test", "own"));
        assert!(!own("test", "usual") && !own("test", "unnamed") && !own("lib", "own"));
    }

    #[test]
    fn only_test_programs_are_read_from_the_messages() {
        let messages = br#"
not json
{"reason":"compiler-artifact","target":{"name":"a","kind":["lib"]},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"name":"a","kind":["bin"]},"profile":{"test":false},"executable":"/a"}
{"reason":"compiler-artifact","target":{"name":"a","kind":["lib"]},"profile":{"test":true},"executable":"/t/a"}
{"reason":"compiler-artifact","target":{"name":"api","kind":["test"]},"profile":{"test":true},"executable":"/t/api"}
{"reason":"compiler-artifact","target":{"name":"x","kind":["bin"]},"profile":{"test":true},"executable":"/t/x"}
{"reason":"build-finished","success":true}
"#;
        let targets = targets(&messages[..]);
        let mut labels: Vec<String> = targets.values().map(|target| target.label("p")).collect();
        labels.sort();
        assert_eq!(labels, ["p", "p::api", "p::bin/x"]);
    }
}
