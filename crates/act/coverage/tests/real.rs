//! Real programs: what they executed is what is read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cohort_coverage::{Built, Lines, Recording, rust_build};

/// Numbers of the lines that end with the mark `# NAME` or `// NAME`.
fn marked(source: &str, mark: &str) -> BTreeSet<u32> {
    let marks = [format!("# {mark}"), format!("// {mark}")];
    let numbered = (1u32..).zip(source.lines());
    let marked = numbered.filter(|(_, line)| marks.iter().any(|mark| line.ends_with(mark)));
    marked.map(|(number, _)| number).collect()
}

fn times(lines: &Lines, file: &str, line: u32) -> u64 {
    let of_file = lines.files.get(file);
    of_file.and_then(|f| f.get(&line)).copied().unwrap_or(0)
}

/// Runs a program in the folder of the project, recorded.
fn recorded(project: &Path, built: Built, command: &mut Command) -> (Recording, Output) {
    let folder = project.join("../recording");
    let recording = Recording::begin(&folder, project, built).expect("a recording begins");
    let set: Vec<_> = command
        .get_envs()
        .map(|(n, v)| (n.to_owned(), v.map(Into::into)))
        .collect();
    let inherited = |name: &str| {
        let own = set.iter().find(|(n, _)| n == name);
        own.map_or_else(|| std::env::var_os(name), |(_, value)| value.clone())
    };
    let variables = recording.environment(inherited).expect("a plain path");
    command.envs(variables).current_dir(project);
    let output = command.output().expect("the program starts");
    (recording, output)
}

fn project() -> (tempfile::TempDir, PathBuf) {
    let room = tempfile::tempdir().expect("a folder");
    let project = room.path().join("project");
    fs::create_dir(&project).expect("a folder");
    (room, project)
}

const PYTHON: &str = r#"
import os
import signal
import subprocess
import sys
import threading

import library  # once


def loop(count):
    total = 0  # once
    for number in range(count):
        total += number  # seven
    if total > 1000:
        return -1  # never
    return total


class Worker:
    def work(self):
        return loop(7)  # once


def in_thread():
    return 1  # once


def in_child():
    return 2  # once


def ended(how):
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)  # kill
    if how == "exit":
        os._exit(3)  # exit
    raise ValueError(how)  # raise


if __name__ == "__main__":
    Worker().work()
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    child = os.fork()
    if child == 0:
        in_child()
        os._exit(0)  # once
    os.waitpid(child, 0)
    subprocess.run([sys.executable, "other.py"], check=True)
    ended(sys.argv[1])
"#;

/// Interpreters that are here: one that traces, one that monitors where there is one.
fn pythons() -> Vec<String> {
    let names = [
        "python3",
        "python3.9",
        "python3.12",
        "python3.13",
        "python3.14",
    ];
    let starts = |name: &str| {
        let output = Command::new(name).args(["-c", "import mmap"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let here = names.into_iter().filter(|name| starts(name));
    here.map(String::from).collect()
}

#[test]
fn python_is_recorded_however_it_ends() {
    let pythons = pythons();
    if pythons.is_empty() {
        println!("left out: there is no python3");
    }
    for python in &pythons {
        for how in ["raise", "exit", "kill"] {
            let (_room, project) = project();
            let site = project.join("venv/site-packages");
            fs::create_dir_all(&site).expect("a folder");
            fs::write(project.join("main.py"), PYTHON).expect("written");
            fs::write(project.join("other.py"), "x = 1\nprint(x)\n").expect("written");
            fs::write(site.join("library.py"), "y = 2\n").expect("written");
            let mut command = Command::new(python);
            command.env("PYTHONPATH", &site).args(["main.py", how]);
            let (recording, output) = recorded(&project, Built::Elsewhere, &mut command);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("cohort"), "{python}: {said}");
            let lines = recording.read(&[]).expect("it was recorded");
            let known: Vec<_> = lines.files.keys().collect();
            assert_eq!(known, ["main.py", "other.py"], "{python} {how}: {said}");
            for (mark, count) in [("once", 1), ("seven", 7), ("never", 0)] {
                for line in marked(PYTHON, mark) {
                    assert_eq!(
                        times(&lines, "main.py", line),
                        count,
                        "{python} {how}: {line}"
                    );
                }
            }
            for end in ["raise", "exit", "kill"] {
                let line = marked(PYTHON, end).first().copied().expect("marked");
                let there = times(&lines, "main.py", line) > 0;
                assert_eq!(there, end == how, "{python} {how} {end}: {lines:?}");
            }
            let names: Vec<&str> = lines.functions["main.py"]
                .iter()
                .map(|f| f.name.as_str())
                .collect();
            assert!(
                names.contains(&"loop") && names.iter().any(|n| n.ends_with("work")),
                "{names:?}"
            );
        }
    }
}

#[test]
fn another_sitecustomize_is_imported_all_the_same() {
    let Some(python) = pythons().into_iter().next() else {
        println!("left out: there is no python3");
        return;
    };
    let (_room, project) = project();
    let other = project.join("other");
    fs::create_dir(&other).expect("a folder");
    fs::write(
        other.join("sitecustomize.py"),
        "import sys\nsys.greeted = 'yes'\n",
    )
    .expect("written");
    let mut command = Command::new(python);
    let print = "import sys, sitecustomize; print(sys.greeted, sitecustomize.__file__, [p for p in sys.path if 'recording' in p])";
    command.env("PYTHONPATH", &other).args(["-c", print]);
    let (_, output) = recorded(&project, Built::Elsewhere, &mut command);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("yes ") && said.contains("/other/") && said.ends_with("[]\n"),
        "{output:?}"
    );
}

#[test]
fn one_test_of_pytest_beside_a_plugin_that_measures_too() {
    let Some(python) = std::env::var_os("COHORT_TEST_PYTHON") else {
        println!(
            "left out: COHORT_TEST_PYTHON names no Python with pytest; `cargo xtask test` does"
        );
        return;
    };
    let (_room, project) = project();
    let code = "def price(n):\n    if n >= 10:\n        return n * 9 // 10  # large\n    return n  # small\n";
    fs::write(project.join("shop.py"), code).expect("written");
    let test = "import shop\n\ndef test_small():\n    assert shop.price(2) == 2\n\ndef test_large():\n    assert shop.price(10) == 10\n";
    fs::write(project.join("test_shop.py"), test).expect("written");
    fs::write(
        project.join("pytest.ini"),
        "[pytest]\naddopts = --cov=shop\n",
    )
    .expect("written");
    let mut command = Command::new(python);
    command.args(["-m", "pytest", "-q", "test_shop.py::test_large"]);
    let (recording, output) = recorded(&project, Built::Elsewhere, &mut command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = recording.read(&[]).expect("it was recorded");
    assert_eq!(times(&lines, "shop.py", 3), 1, "{lines:?}");
    assert_eq!(times(&lines, "shop.py", 4), 0, "{lines:?}");
    assert_eq!(times(&lines, "test_shop.py", 7), 1, "{lines:?}");
    let rest = lines.without_test("test_shop.py::test_large");
    assert_eq!(times(&rest, "test_shop.py", 7), 0, "{rest:?}");
    assert_eq!(rest.tests(), [("test_shop.py", 1, u32::MAX)]);
    assert_eq!(
        recording.source("shop.py", 4).as_deref(),
        Some("    return n  # small")
    );
}

const RUST: &str = r#"
/// The price.
pub fn price(count: u32, each: u32) -> u32 {
    let full = count * each; // always
    if count >= 10 {
        return full - full / 10; // large
    }
    let mut sum = 0; // small
    for _ in 0..count {
        sum += each; // three
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::price;

    #[test]
    fn small() {
        assert_eq!(price(3, 3), 10);
    }

    #[test]
    fn large() {
        assert_eq!(price(10, 3), 27);
    }

    #[test]
    fn dies() {
        price(3, 3);
        std::process::abort();
    }
}
"#;

/// Builds the tests of a crate with instrumentation; the path of the test program.
fn build_tests(project: &Path, target: &Path) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--no-run", "--offline", "--message-format=json"])
        .envs(rust_build(target).expect("a target directory"))
        .current_dir(project)
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let named = said.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    let programs: Vec<PathBuf> = named.collect();
    assert_eq!(
        programs.len(),
        1,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    programs[0].clone()
}

#[test]
fn rust_is_recorded_however_it_ends_and_its_own_build_stays() {
    let (room, project) = project();
    let manifest = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\nbuild = \"build.rs\"\n[workspace]\n";
    fs::write(project.join("Cargo.toml"), manifest).expect("written");
    fs::write(project.join("build.rs"), "fn main() {}\n").expect("written");
    fs::create_dir(project.join("src")).expect("a folder");
    fs::write(project.join("src/lib.rs"), RUST).expect("written");
    let target = room.path().join("target");
    let program = build_tests(&project, &target);
    let left: BTreeSet<String> = fs::read_dir(&project)
        .expect("the project")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let expected = ["Cargo.lock", "Cargo.toml", "build.rs", "src"].map(String::from);
    assert_eq!(left, BTreeSet::from(expected));

    for (test, small, code) in [
        ("small", true, Some(101)),
        ("large", false, Some(0)),
        ("dies", true, None),
    ] {
        let mut command = Command::new(&program);
        command.args(["--exact", &format!("tests::{test}")]);
        let (recording, output) = recorded(&project, Built::Here, &mut command);
        assert_eq!(output.status.code(), code, "{output:?}");
        let programs = [program.clone()];
        let lines = recording.read(&programs).expect("it was recorded");
        assert_eq!(lines.files.keys().collect::<Vec<_>>(), ["src/lib.rs"]);
        let found = |mark: &str| {
            let line = marked(RUST, mark).first().copied().expect("marked");
            times(&lines, "src/lib.rs", line)
        };
        let one = u64::from(small);
        let counts = (
            found("always"),
            found("small"),
            found("three"),
            found("large"),
        );
        assert_eq!(counts, (1, one, 3 * one, 1 - one), "{test}: {lines:?}");
        let names: Vec<&str> = lines.functions["src/lib.rs"]
            .iter()
            .map(|f| f.name.as_str())
            .collect();
        assert!(names.contains(&"shop::price"), "{names:?}");
        let rest = lines.without_test(&format!("tests::{test}"));
        let last = rest.iter().map(|(_, line, _)| line).max();
        assert!(last.is_some_and(|last| last <= 13), "{rest:?}");
        fs::remove_dir_all(room.path().join("recording")).expect("removed");
    }
}

#[test]
fn a_damaged_profile_is_an_error_that_names_it() {
    let (room, project) = project();
    let folder = room.path().join("recording");
    let recording = Recording::begin(&folder, &project, Built::Elsewhere).expect("it begins");
    assert!(recording.read(&[]).expect("nothing was run").is_empty());
    fs::write(
        folder.join("1-2.profraw"),
        b"no profile at all, but long enough to have a header",
    )
    .expect("written");
    let error = recording.read(&[]).expect_err("it is damaged").to_string();
    assert!(error.contains("1-2.profraw"), "{error}");
}

const C: &str = "#include <stdio.h>
static int price(int n) {
    if (n >= 10)
        return n * 9 / 10; // large
    return n; // small
}
int main(int argc, char **argv) {
    (void)argv;
    printf(\"%d\\n\", price(argc > 1 ? 10 : 2));
    return 0;
}
";

#[test]
fn c_of_gcc_is_recorded() {
    let (room, project) = project();
    fs::write(project.join("shop.c"), C).expect("written");
    let build = room.path().join("build");
    fs::create_dir(&build).expect("a folder");
    let built = Command::new("gcc")
        .args(["--coverage", "-o", "shop"])
        .arg(project.join("shop.c"))
        .current_dir(&build)
        .output();
    if !built.is_ok_and(|output| output.status.success()) {
        println!("left out: gcc is not here, or has no gcov");
        return;
    }
    let mut command = Command::new(build.join("shop"));
    let (recording, output) = recorded(&project, Built::Elsewhere, command.arg("many"));
    assert!(output.status.success(), "{output:?}");
    let lines = recording.read(&[]).expect("it was recorded");
    assert_eq!(times(&lines, "shop.c", 4), 1, "{lines:?}");
    assert_eq!(times(&lines, "shop.c", 5), 0, "{lines:?}");
    assert_eq!(lines.functions["shop.c"].len(), 2, "{lines:?}");
}
