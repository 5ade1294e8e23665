//! One test program of the suite, built anew into a target directory of its own.
//!
//! ```text
//!   Launches::build(test)                 what to execute: cargo, as the user called it, for this program alone
//!   Launches::built(test, its messages)   reads which program that made
//!   Launches::launch_anew(test)           the test, in that program
//! ```
//!
//! Cargo decides itself what is stale, so a build that was broken off goes on where it was. Dependencies
//! that the user's own build has made are taken over first: compiled libraries as links, since compilers
//! write them beside and move them into place, and everything that is written in place as a copy.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::build::Target;
use super::{Cargo, Launches, Program};
use crate::environment::Variables;
use crate::{Launch, environment};

/// Options of cargo that say which targets or packages are meant, with a value and without.
const SELECTING: [&str; 8] = [
    "--test",
    "--bin",
    "--example",
    "--bench",
    "-p",
    "--package",
    "--exclude",
    "--jobs",
];
const SELECTING_ALL: [&str; 14] = [
    "--tests",
    "--bins",
    "--examples",
    "--benches",
    "--lib",
    "--doc",
    "--all-targets",
    "--workspace",
    "--all",
    "--no-fail-fast",
    // Said here, and only once.
    "--offline",
    "-q",
    "--quiet",
    "--no-run",
];
/// Options with a value that stays.
const VALUED: [&str; 10] = [
    "--features",
    "-F",
    "--profile",
    "--target",
    "--manifest-path",
    "--config",
    "--color",
    "-Z",
    "--lockfile-path",
    "--target-dir",
];

/// Takes over what the user's own build has made (`$1`, a directory of a profile) into a fresh one (`$2`),
/// then does what it is told. Without what is taken over everything is built; nothing else differs.
const TAKE_OVER: &str = r#"from=$1 to=$2; shift 2
if [ -d "$from/deps" ] && [ ! -d "$to" ]; then
  part="$to.part"; rm -rf "$part"; mkdir -p "$part/deps" && {
    for kind in rlib rmeta so; do
      find "$from/deps" -maxdepth 1 -type f -name "*.$kind" -exec cp -pl -t "$part/deps" {} +
    done
    cp -p -t "$part/deps" "$from"/deps/*.d
    cp -Rp "$from/.fingerprint" "$part/" && cp -Rp "$from/build" "$part/"
  } 2>/dev/null
  mv "$part" "$to" 2>/dev/null || rm -rf "$part"
fi
exec "$@""#;

/// What all programs of a suite are built with.
#[derive(Debug)]
pub(super) struct Anew {
    /// `cargo`, and what stands before its subcommand.
    cargo: Vec<String>,
    /// The user's options, less those that say which programs.
    options: Vec<String>,
    root: PathBuf,
    env: Variables,
}

impl Anew {
    pub(super) fn new(cargo: &Cargo) -> Self {
        Anew {
            cargo: cargo.arguments.cargo.clone(),
            options: without_selection(&cargo.arguments.build),
            root: cargo.root.clone(),
            env: environment::with(&cargo.env),
        }
    }
}

/// A program as cargo names it.
#[derive(Debug)]
pub(super) struct Origin {
    /// None: it is of no target that cargo told of, or its tests are in documentation.
    target: Option<Target>,
    /// `name@version`.
    package: String,
    pub(super) binary: PathBuf,
}

impl Origin {
    pub(super) fn new(program: &Program) -> Self {
        let word = |name: &str| {
            let value = program.start.env.get(OsStr::new(name));
            value.map_or_else(String::new, |value| value.to_string_lossy().into_owned())
        };
        Origin {
            target: program.target.clone(),
            package: format!("{}@{}", word("CARGO_PKG_NAME"), word("CARGO_PKG_VERSION")),
            binary: program.binary.clone(),
        }
    }

    /// The directory of the profile that it was built with.
    fn profile(&self) -> Option<&Path> {
        let deps = self.binary.parent()?;
        deps.ends_with("deps").then(|| deps.parent())?
    }
}

/// What a build made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    program: PathBuf,
    /// Programs of the same package that tests start.
    others: Vec<PathBuf>,
}

/// One line of `--message-format json`.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Launches {
    /// The target directory that the user's own build of the program of `test` is in; none: it is not known.
    #[must_use]
    pub fn target_directory(&self, test: cohort_model::TestId) -> Option<&Path> {
        let origin = &self.programs[self.runs[test.index()].program].origin;
        let marked = |path: &&Path| {
            path.join(".rustc_info.json").is_file() || path.join("CACHEDIR.TAG").is_file()
        };
        origin.binary.ancestors().skip(1).find(marked)
    }

    /// What to execute so that the program of `test` is built anew into the target directory `target`, with the
    /// variables `added`. None where that cannot be: documentation, or a program that cargo told nothing of.
    ///
    /// # Panics
    /// When `test` is not in the plan these launches came with.
    #[must_use]
    pub fn build(
        &self,
        test: cohort_model::TestId,
        target: &Path,
        added: &[(String, OsString)],
    ) -> Option<Launch> {
        let origin = &self.programs[self.runs[test.index()].program].origin;
        let selected = selection(origin.target.as_ref()?)?;
        let old = self.target_directory(test);
        let profile = origin.profile().unwrap_or(Path::new("/"));
        let inner = old.and_then(|old| profile.strip_prefix(old).ok());
        let fresh = target.join(inner.unwrap_or(Path::new("debug")));
        let mut args: Vec<OsString> = vec!["-c".into(), TAKE_OVER.into(), "build".into()];
        args.extend([profile.into(), fresh.into()]);
        args.extend(self.anew.cargo.iter().map(Into::into));
        let fixed = ["test", "--no-run", "--offline", "--message-format"];
        args.extend(fixed.map(Into::into));
        args.push("json-render-diagnostics".into());
        args.extend(self.anew.options.iter().map(Into::into));
        args.extend(["--package".into(), (&origin.package).into()]);
        args.extend(selected.into_iter().map(Into::into));
        let mut env = self.anew.env.clone();
        env.extend(
            added
                .iter()
                .map(|(name, value)| (name.into(), value.clone())),
        );
        Some(Launch {
            program: "/bin/sh".into(),
            args,
            env: env.into_iter().collect(),
            cwd: self.anew.root.clone(),
        })
    }

    /// Reads what that wrote to its standard output. False: it did not make the program of `test`.
    ///
    /// # Panics
    /// When `test` is not in the plan these launches came with.
    pub fn built(&mut self, test: cohort_model::TestId, messages: &[u8]) -> bool {
        let place = self.runs[test.index()].program;
        let made = made(self.programs[place].origin.target.as_ref(), messages);
        let is_made = made.is_some();
        self.programs[place].made = made;
        is_made
    }

    /// What to execute for `test` in the program that was built anew, and all programs that may run then.
    ///
    /// # Panics
    /// When `test` is not in the plan these launches came with.
    #[must_use]
    pub fn launch_anew(&self, test: cohort_model::TestId) -> Option<(Launch, Vec<PathBuf>)> {
        let program = &self.programs[self.runs[test.index()].program];
        let made = program.made.as_ref()?;
        let mut launch = self.launch(test);
        let old = program.origin.binary.as_path();
        if launch.program == old {
            launch.program.clone_from(&made.program);
        }
        for word in launch
            .args
            .iter_mut()
            .filter(|word| *word == old.as_os_str())
        {
            *word = made.program.clone().into();
        }
        let profile = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_owned);
        if let (Some(from), Some(to)) = (profile(old), profile(&made.program)) {
            launch.env = moved(&launch.env, &from, &to);
        }
        let mut programs = vec![made.program.clone()];
        programs.extend(made.others.iter().cloned());
        Some((launch, programs))
    }
}

/// The same variables where libraries are looked for in the new directory.
fn moved(env: &[(OsString, OsString)], from: &Path, to: &Path) -> Arc<[(OsString, OsString)]> {
    let there = |path: PathBuf| match path.strip_prefix(from) {
        Ok(rest) => to.join(rest),
        Err(_) => path,
    };
    env.iter()
        .map(|(name, value)| {
            let is_path = name == "LD_LIBRARY_PATH";
            let paths = is_path.then(|| std::env::split_paths(value).map(there));
            let joined = paths.and_then(|paths| std::env::join_paths(paths).ok());
            (name.clone(), joined.unwrap_or_else(|| value.clone()))
        })
        .collect()
}

fn selection(target: &Target) -> Option<Vec<String>> {
    Some(match target.kind.first()?.as_str() {
        kind @ ("test" | "bin" | "example" | "bench") => {
            vec![format!("--{kind}"), target.name.clone()]
        }
        "custom-build" => return None,
        _ => vec!["--lib".to_owned()],
    })
}

fn made(target: Option<&Target>, messages: &[u8]) -> Option<Made> {
    let (mut program, mut others) = (None, Vec::new());
    for line in messages.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<Message>(line) else {
            continue;
        };
        let (Some(executable), Some(profile)) = (message.executable, message.profile) else {
            continue;
        };
        if profile.test && message.target.as_ref() == target {
            program = Some(executable);
        } else if !profile.test {
            others.push(executable);
        }
    }
    Some(Made {
        program: program?,
        others,
    })
}

/// The options less those that say which programs are meant, and how many jobs, and names of tests.
fn without_selection(build: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = build.iter();
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or(word);
        if SELECTING.contains(&name) || name == "-j" {
            if !word.contains('=') {
                words.next();
            }
        } else if VALUED.contains(&word.as_str()) {
            let value = words.next();
            // Another directory is wanted.
            if word != "--target-dir" {
                kept.push(word.clone());
                kept.extend(value.cloned());
            }
        } else if SELECTING_ALL.contains(&name) || name == "--target-dir" {
            // Left out.
        } else if word.starts_with('-') && !is_short_selection(word) {
            kept.push(word.clone());
        }
    }
    kept
}

/// `-pNAME`, `-j4`.
fn is_short_selection(word: &str) -> bool {
    let short = word.starts_with("-p") || word.starts_with("-j");
    short && !word.starts_with("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_selects_programs_is_left_out_and_the_rest_stays() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<String>>();
        let given = "--workspace --features a,b -p x --test=api --release --lib name -j4 --target-dir t --profile ci \
                     --bin y --no-default-features --offline -pz --manifest-path m/Cargo.toml other";
        let kept = "--features a,b --release --profile ci --no-default-features --manifest-path m/Cargo.toml";
        assert_eq!(without_selection(&words(given)), words(kept));
    }

    #[test]
    fn the_program_is_found_among_what_was_built() {
        let messages = br#"
{"reason":"compiler-artifact","target":{"name":"a","kind":["bin"]},"profile":{"test":false},"executable":"/t/debug/a"}
{"reason":"compiler-artifact","target":{"name":"a","kind":["lib"]},"profile":{"test":true},"executable":"/t/debug/deps/a-1"}
{"reason":"build-finished","success":true}
"#;
        let target = |kind: &str| Target {
            name: "a".to_owned(),
            kind: vec![kind.to_owned()],
        };
        let found = made(Some(&target("lib")), messages).unwrap();
        assert_eq!(found.program, Path::new("/t/debug/deps/a-1"));
        assert_eq!(found.others, [PathBuf::from("/t/debug/a")]);
        assert!(made(Some(&target("test")), messages).is_none());
        assert!(made(Some(&target("bin")), messages).is_none());
    }

    #[test]
    fn libraries_are_looked_for_in_the_new_directory() {
        let env = [(
            OsString::from("LD_LIBRARY_PATH"),
            OsString::from("/t/debug/deps:/t/debug:/opt/lib"),
        )];
        let moved = moved(&env, Path::new("/t/debug"), Path::new("/c/debug"));
        assert_eq!(moved[0].1, "/c/debug/deps:/c/debug:/opt/lib");
    }
}
