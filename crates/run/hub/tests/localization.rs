//! The failing statement of small programs, each with one mistake and a test that fails for it, from runs of that
//! test and of the other tests of its module: it has to stand among the first five lines in at least 60 %.
//!
//! `python/` and `rust/` hold a program each; the line with the mistake is marked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cohort_coverage::{Built, Recording, rust_build};
use cohort_model::{SuiteKind, Verdict};
use cohort_replicator::localize::{Evidence, Spectra, functions, lines, with_guards};
use cohort_symptom::Ended;

/// A program and what each of its tests executed.
struct Case {
    name: String,
    spectra: Spectra,
    symptoms: Vec<cohort_model::Symptom>,
    mistake: u32,
    text: Vec<String>,
}

fn sources(folder: &str, extension: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/localization")
        .join(folder);
    let mut found: Vec<(String, String)> = fs::read_dir(&folder)
        .expect("the programs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| {
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(&path).expect("a program"))
        })
        .collect();
    found.sort();
    found
}

fn mistake(source: &str) -> u32 {
    let mut numbered = (1u32..).zip(source.lines());
    let marked = numbered.find(|(_, line)| line.ends_with("MISTAKE"));
    marked.expect("a marked line").0
}

impl Case {
    fn new(name: &str, source: &str) -> Case {
        Case {
            name: name.into(),
            spectra: Spectra::new(),
            symptoms: Vec::new(),
            mistake: mistake(source),
            text: source.lines().map(String::from).collect(),
        }
    }

    fn ran(&mut self, recording: &Recording, programs: &[PathBuf], test: &str, output: &Output) {
        let failed = !output.status.success();
        let executed = recording.read(programs).expect("it was recorded");
        let executed = executed.without_test(test);
        for (file, first, last) in executed.tests() {
            self.spectra.tests(file, first, last);
        }
        self.spectra.ran(failed, executed.iter());
        for (file, functions) in &executed.functions {
            for function in functions {
                self.spectra
                    .function(file, function.first, function.last, &function.name);
            }
        }
        if failed {
            let ended = Ended {
                suite: SuiteKind::Exec,
                test,
                verdict: Verdict::Failed,
                exit_code: output.status.code(),
                stdout: &output.stdout,
                stderr: &output.stderr,
                ..Ended::default()
            };
            self.symptoms.extend(cohort_symptom::read(&ended));
        }
    }

    /// The place of the mistake in the list that is shown, and of its function.
    fn places(&self, same_test: bool) -> (usize, usize) {
        assert!(
            self.spectra.failed() > 0 && self.spectra.passed() > 0,
            "{}",
            self.name
        );
        let frames = self
            .symptoms
            .first()
            .map(|s| s.frames.as_slice())
            .unwrap_or_default();
        let evidence = Evidence { frames, same_test };
        let shown = lines(&self.spectra, &evidence, usize::MAX);
        let shown = shown.into_iter().map(|one| one.suspect).collect();
        let shown = with_guards(shown, |_| Some(self.text.as_slice()));
        let place = shown.iter().position(|one| one.line == self.mistake);
        let place = place.unwrap_or_else(|| panic!("{} is not ranked", self.name));
        let function = &shown[place].function;
        let named = functions(&self.spectra, &evidence, usize::MAX);
        let of_function = named.iter().position(|r| r.suspect.function == *function);
        (place + 1, of_function.map_or(usize::MAX, |place| place + 1))
    }
}

fn recorded(recording: &Recording, command: &mut Command) -> Output {
    let variables = recording
        .environment(|name| std::env::var_os(name))
        .expect("a plain path");
    command.envs(variables).env("RUST_BACKTRACE", "1");
    command.output().expect("the program starts")
}

fn python_is_here() -> bool {
    let output = Command::new("python3").arg("-V").output();
    let here = output.is_ok_and(|output| output.status.success());
    if !here {
        println!("left out: there is no python3");
    }
    here
}

/// A program of Python in a folder of its own, with its tests beside it.
struct PythonProgram {
    room: tempfile::TempDir,
    tests: Vec<String>,
}

impl PythonProgram {
    fn new(name: &str, source: &str) -> PythonProgram {
        let room = tempfile::tempdir().expect("a folder");
        let project = room.path().join("project");
        fs::create_dir(&project).expect("a folder");
        let (code, tests) = source.split_once("# TESTS").expect("tests");
        fs::write(project.join(format!("{name}.py")), code).expect("written");
        let tests = format!("from {name} import *\n{tests}");
        fs::write(project.join("test_it.py"), &tests).expect("written");
        let named = tests
            .lines()
            .filter_map(|line| line.strip_prefix("def test_"));
        let named = named.filter_map(|line| line.split('(').next());
        PythonProgram {
            room,
            tests: named.map(String::from).collect(),
        }
    }

    fn run(&self, test: &str, run: usize, case: &mut Case) {
        let folder = self.room.path().join(format!("{test}-{run}"));
        let project = self.room.path().join("project");
        let recording = Recording::begin(&folder, &project, Built::Elsewhere).expect("it begins");
        let mut command = Command::new("python3");
        let call = format!("import test_it; test_it.test_{test}()");
        command.args(["-c", &call]).current_dir(&project);
        let output = recorded(&recording, &mut command);
        case.ran(&recording, &[], &format!("test_{test}"), &output);
    }
}

fn python_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    if python_is_here() {
        for (name, source) in sources("python", "py") {
            let mut case = Case::new(&name, &source);
            let program = PythonProgram::new(&name, &source);
            for test in &program.tests {
                program.run(test, 0, &mut case);
            }
            cases.push(case);
        }
    }
    cases
}

#[test]
fn where_all_runs_execute_the_same_lines_how_often_tells() {
    if !python_is_here() {
        return;
    }
    for (name, source) in sources("sometimes", "py") {
        let mut case = Case::new(&name, &source);
        let program = PythonProgram::new(&name, &source);
        for run in 0..100 {
            program.run(&program.tests[0], run, &mut case);
            if case.spectra.failed().min(case.spectra.passed()) >= 4 {
                break;
            }
        }
        let runs = (case.spectra.failed(), case.spectra.passed());
        let (without, _) = case.places(false);
        let (with, _) = case.places(true);
        println!("{name}: {runs:?} failed and passed, line {without} without counts, {with} with");
        assert!(with <= 5, "{name}: {with}");
    }
}

fn rust_cases() -> Vec<Case> {
    let room = tempfile::tempdir().expect("a folder");
    let project = room.path().join("project");
    fs::create_dir_all(project.join("src")).expect("a folder");
    let manifest =
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(project.join("Cargo.toml"), manifest).expect("written");
    let mut root = String::new();
    let programs = sources("rust", "rs");
    for (name, source) in &programs {
        root.push_str(&format!("pub mod {name};\n"));
        fs::write(project.join(format!("src/{name}.rs")), source).expect("written");
    }
    fs::write(project.join("src/lib.rs"), root).expect("written");
    let program = built(&project, &room.path().join("target"));
    let mut cases = Vec::new();
    for (name, source) in &programs {
        let mut case = Case::new(name, source);
        let named = source
            .lines()
            .filter_map(|line| line.strip_prefix("    fn "));
        let named = named.filter_map(|line| line.strip_suffix("() {"));
        for test in named {
            let test = format!("{name}::tests::{test}");
            let folder = room.path().join(test.replace(':', "_"));
            let recording = Recording::begin(&folder, &project, Built::Here).expect("it begins");
            let mut command = Command::new(&program);
            command.args(["--exact", &test]).current_dir(&project);
            let output = recorded(&recording, &mut command);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("running 1 test"), "{test}: {said}");
            case.ran(&recording, std::slice::from_ref(&program), &test, &output);
        }
        cases.push(case);
    }
    cases
}

fn built(project: &Path, target: &Path) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "test",
            "--lib",
            "--no-run",
            "--offline",
            "--message-format=json",
        ])
        .envs(rust_build(target).expect("a target directory"))
        .current_dir(project)
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let named = said.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    named.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn the_failing_statement_is_among_the_first_five() {
    let mut cases = python_cases();
    cases.extend(rust_cases());
    let (mut five, mut three, mut function) = (0, 0, 0);
    for case in &cases {
        let (place, of_function) = case.places(false);
        println!("{:<10} line {place}, function {of_function}", case.name);
        five += usize::from(place <= 5);
        three += usize::from(place <= 3);
        function += usize::from(of_function == 1);
    }
    let all = cases.len();
    println!(
        "of {all}: {three} among the first three, {five} among the first five, {function} right function"
    );
    assert!(five * 10 >= all * 6, "{five} of {all}");
}
