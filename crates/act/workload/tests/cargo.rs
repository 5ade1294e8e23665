//! Cargo suites against cargo itself: the same tests, the same verdicts, the same environment.
//!
//! Every fixture is a workspace in a temporary directory that needs no network.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cohort_model::{TestId, Verdict};
use cohort_workload::{
    Discovered, Discovery, Error, Exit, Judged, Request, Stop, Suite, SuiteConfig, environment,
    recognize,
};
use tempfile::TempDir;

/// A workspace of two members with every kind of test program.
const WORKSPACE: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[workspace]\nmembers = ['alpha', 'derive']\nresolver = '3'\n",
    ),
    (".cargo/config.toml", "[env]\nFROM_CONFIG = 'configured'\n"),
    (
        "alpha/Cargo.toml",
        "[package]\nname = 'alpha'\nversion = '0.1.2-rc.1'\nedition = '2024'\n\
         authors = ['A <a@b>', 'C']\n\
         [dev-dependencies]\nderive = { path = '../derive' }\n\
         [features]\nextra = []\n\
         [[test]]\nname = 'ignores_arguments'\nharness = false\n\
         [[test]]\nname = 'silent'\nharness = false\n\
         [[test]]\nname = 'lists'\nharness = false\n",
    ),
    (
        "alpha/build.rs",
        "fn main() {\n\
         println!(\"cargo:rustc-env=FROM_BUILD=built here\");\n\
         println!(\"cargo:rustc-link-search=native={}\", std::env::var(\"OUT_DIR\").unwrap());\n}\n",
    ),
    (
        "alpha/src/lib.rs",
        "//! Fixture.\n\
         /// ```\n/// assert_eq!(alpha::one(), 1);\n/// ```\n\
         /// ```\n/// assert_eq!(alpha::one(), 2);\n/// ```\n\
         /// ```ignore\n/// not run\n/// ```\n\
         pub fn one() -> u32 { 1 }\n\
         #[cfg(test)] mod tests {\n\
         #[test] fn one() { assert_eq!(super::one(), 1); }\n\
         #[test] fn one_more() { assert_eq!(super::one(), 1); }\n\
         #[test] fn wrong() { assert_eq!(super::one(), 2, \"not {}\", 2); }\n\
         #[test] #[should_panic(expected = \"wanted\")] fn panics() { panic!(\"wanted\"); }\n\
         #[test] #[should_panic] fn does_not_panic() {}\n\
         #[test] #[ignore = \"slow\"] fn slow() {}\n\
         #[test] #[ignore] fn slow_and_wrong() { panic!(); }\n\
         #[test] fn returns() -> Result<(), String> { Err(\"returned\".into()) }\n\
         #[test] fn na\u{ef}ve_\u{442}\u{435}\u{441}\u{442}() {}\n\
         #[test] #[cfg(feature = \"extra\")] fn extra() {}\n}\n",
    ),
    (
        "alpha/src/main.rs",
        "fn main() {}\n#[test] fn of_the_binary() {}\n",
    ),
    (
        "alpha/tests/api.rs",
        "#[test] fn one() { assert_eq!(alpha::one(), 1); }\n\
         #[test] fn uses_the_binary() {\n\
         assert!(std::process::Command::new(env!(\"CARGO_BIN_EXE_alpha\")).status().unwrap().success()); }\n\
         #[test] fn environment() {\n\
         let Some(path) = std::env::var_os(\"FIXTURE_OUT\") else { return };\n\
         let text: String = std::env::vars_os().map(|v| format!(\"{v:?}\\n\")).collect();\n\
         std::fs::write(path, format!(\"{text}{:?}\", std::env::current_dir())).unwrap(); }\n\
         #[test] fn aborts() { if std::env::var_os(\"FIXTURE_ABORTS\").is_some() { std::process::abort(); } }\n",
    ),
    (
        "alpha/tests/ignores_arguments.rs",
        "fn main() { println!(\"hello from my own main\"); }\n",
    ),
    (
        "alpha/tests/silent.rs",
        "fn main() { std::process::exit(3); }\n",
    ),
    (
        "alpha/tests/lists.rs",
        r#"fn main() {
            let args: Vec<String> = std::env::args().skip(1).collect();
            let has = |name: &str| args.iter().any(|arg| arg == name);
            let names = ["a b's \"case\"", "$HOME", "off"];
            let ignored = |name: &str| name == "off";
            let positional = args.iter().find(|arg| !arg.starts_with('-') && *arg != "terse");
            let run = names.iter().filter(|name| match positional {
                Some(wanted) if has("--exact") => **name == wanted,
                Some(wanted) => name.contains(wanted.as_str()),
                None => true,
            });
            let run: Vec<&&str> = run.filter(|name| !has("--ignored") || ignored(name)).collect();
            for name in &run {
                if has("--list") {
                    println!("{name}: test");
                } else if ignored(name) && !has("--ignored") && !has("--include-ignored") {
                    println!("test {name} ... ignored");
                } else {
                    println!("test {name} ... ok");
                }
            }
        }"#,
    ),
    (
        "derive/Cargo.toml",
        "[package]\nname = 'derive'\nversion = '0.1.0'\nedition = '2024'\n[lib]\nproc-macro = true\n",
    ),
    (
        "derive/src/lib.rs",
        "use proc_macro::TokenStream;\n#[proc_macro] pub fn same(input: TokenStream) -> TokenStream { input }\n\
         #[test] fn in_a_proc_macro() {}\n",
    ),
];

struct Fixture {
    root: TempDir,
}

type Verdicts = Vec<(String, Verdict)>;

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let fixture = Fixture {
            root: tempfile::tempdir().unwrap(),
        };
        files
            .iter()
            .for_each(|(path, text)| fixture.write(path, text));
        fixture
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn env(&self) -> BTreeMap<String, String> {
        let target = self
            .root
            .path()
            .join("target")
            .to_string_lossy()
            .into_owned();
        let mut env = BTreeMap::from([("CARGO_TARGET_DIR".to_owned(), target)]);
        env.insert("RUST_BACKTRACE".to_owned(), "0".to_owned());
        env
    }

    fn discover_with(
        &self,
        args: &str,
        env: BTreeMap<String, String>,
    ) -> Result<Discovered, Error> {
        let mut command = vec![
            "cargo".to_owned(),
            "test".to_owned(),
            "--offline".to_owned(),
        ];
        command.extend(shell_words::split(args).unwrap());
        let config = SuiteConfig {
            env,
            ..SuiteConfig::default()
        };
        let request = Request {
            root: self.root.path().to_owned(),
            command,
            config,
        };
        match recognize(&request)? {
            Suite::Cargo(mut cargo) => cargo.discover(&mut Discovery {
                scratch: &std::env::temp_dir(),
                home: self.root.path(),
                stop: &Stop::default(),
                look_only: false,
                progress: &mut |_| (),
            }),
            other => panic!("{other:?}"),
        }
    }

    fn discover(&self, args: &str) -> Result<Discovered, Error> {
        self.discover_with(args, self.env())
    }

    fn cargo(&self, args: &str, env: &BTreeMap<String, String>) -> Output {
        Command::new("cargo")
            .args(["test", "--offline", "--no-fail-fast"])
            .args(shell_words::split(args).unwrap())
            .current_dir(self.root.path())
            .env_clear()
            .envs(environment::with(env))
            .output()
            .unwrap()
    }

    /// What cargo itself says: names as libtest prints them.
    fn cargo_says(&self, args: &str) -> Verdicts {
        let output = self.cargo(args, &self.env());
        let text = String::from_utf8(output.stdout).unwrap();
        let mut read: Verdicts = text.lines().filter_map(said).collect();
        read.sort_by_key(|(name, verdict)| (name.clone(), format!("{verdict:?}")));
        read
    }

    /// What Cohort says, in the same words: the group's name taken off, doc tests as their parts.
    fn cohort_says(&self, args: &str) -> Verdicts {
        let found = self.discover(args).unwrap();
        let mut read = Vec::new();
        for (test, case) in (0..).map(TestId).zip(&found.plan.tests) {
            if case.ignored {
                let name = case.name.split_once(' ').unwrap().1.to_owned();
                read.push((name, Verdict::Skipped));
            } else if case.whole {
                let parts = run(&found, test).parts.unwrap_or_default();
                read.extend(parts.into_iter().map(|part| (part.name, part.verdict)));
            } else {
                let name = case.name.split_once(' ').unwrap().1.to_owned();
                read.push((name, run(&found, test).verdict));
            }
        }
        read.sort_by_key(|(name, verdict)| (name.clone(), format!("{verdict:?}")));
        read
    }
}

/// `test NAME ... ok`, without what libtest adds to the name of a test that should panic.
fn said(line: &str) -> Option<(String, Verdict)> {
    let (name, said) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let verdict = match said.split(',').next()? {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        "ignored" => Verdict::Skipped,
        _ => return None,
    };
    Some((
        name.strip_suffix(" - should panic")
            .unwrap_or(name)
            .to_owned(),
        verdict,
    ))
}

fn run(found: &Discovered, test: TestId) -> Judged {
    let launch = found.launches.launch(test);
    let output = Command::new(&launch.program)
        .args(&launch.args)
        .current_dir(&launch.cwd)
        .env_clear()
        .envs(launch.env.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{launch:?}: {error}"));
    let exit = Exit {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: &output.stdout,
        stderr: &output.stderr,
    };
    found.launches.judge(test, &exit)
}

fn test_of(found: &Discovered, name: &str) -> TestId {
    let at = found.plan.tests.iter().position(|case| case.name == name);
    let at = at.unwrap_or_else(|| panic!("no {name} in {:#?}", found.plan.tests));
    TestId(u32::try_from(at).unwrap())
}

#[test]
fn tests_and_verdicts_are_cargos_own_for_every_selection() {
    let fixture = Fixture::new(WORKSPACE);
    let all = fixture.cargo_says("");
    assert!(all.len() > 18, "{all:?}");
    for args in [
        "",
        "one",
        "tests::one -- --exact",
        "-- --ignored",
        "-- --include-ignored --skip slow_and",
        "-- --skip one --test-threads 3",
        "--lib",
        "--doc",
        "--test api --test lists",
        "-p derive",
        "--workspace --all-targets",
        "--manifest-path alpha/Cargo.toml --features extra extra",
        "no_such_test",
        "-q -p alpha --bins",
    ] {
        // libtest prints dots instead of names when it is quiet.
        let loud = args.trim_start_matches("-q ");
        assert_eq!(
            fixture.cohort_says(args),
            fixture.cargo_says(loud),
            "cargo test {args}"
        );
    }
}

#[test]
fn names_are_readable_and_programs_that_cannot_list_run_whole() {
    let fixture = Fixture::new(WORKSPACE);
    let found = fixture
        .discover("-- --test-threads=5 --show-output")
        .unwrap();
    assert_eq!(
        found.plan.groups,
        [
            "alpha",
            "alpha::api",
            "alpha::bin/alpha",
            "alpha::doc",
            "alpha::ignores_arguments",
            "alpha::lists",
            "alpha::silent",
            "derive",
            "derive::doc",
        ]
    );
    assert_eq!(found.plan.threads_max, Some(5));
    assert_eq!(found.show, cohort_workload::Show::All);
    assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
    assert!(found.notes[0].contains("alpha::ignores_arguments prints no list (but `hello"));
    assert!(
        found.notes[1].contains("alpha::silent fails when asked"),
        "{:?}",
        found.notes
    );

    let judged = |name: &str| run(&found, test_of(&found, name));
    assert_eq!(judged("alpha::ignores_arguments").verdict, Verdict::Passed);
    let silent = judged("alpha::silent");
    assert_eq!(
        (silent.verdict, silent.message.as_deref()),
        (Verdict::Failed, Some("exit code 3"))
    );
    assert_eq!(
        judged("alpha::lists a b's \"case\"").verdict,
        Verdict::Passed
    );
    assert!(found.plan.tests[test_of(&found, "alpha::lists off").index()].ignored);
    let wrong = judged("alpha tests::wrong").message.unwrap();
    let expected = "panicked at alpha/src/lib.rs:15:22: assertion `left == right` failed: not 2 left: 1 right: 2";
    assert_eq!(wrong, expected);
    assert_eq!(
        judged("alpha tests::returns").message.as_deref(),
        Some("Error: \"returned\"")
    );
    let doc = judged("alpha::doc");
    assert_eq!(doc.verdict, Verdict::Failed);
    assert_eq!(
        doc.message.as_deref(),
        Some("1 of 3 failed: alpha/src/lib.rs - one (line 5)")
    );
    assert!(found.plan.tests[test_of(&found, "alpha::doc").index()].whole);
}

#[test]
fn a_harness_that_knows_only_how_to_list_runs_whole() {
    let fixture = Fixture::new(&[
        (
            "Cargo.toml",
            "[package]\nname = 'own'\nversion = '0.1.0'\nedition = '2024'\n\
             [[test]]\nname = 'h'\nharness = false\n",
        ),
        (
            "tests/h.rs",
            r#"fn main() {
                let list = std::env::args().any(|arg| arg == "--list");
                for name in ["alpha", "beta"] {
                    if list { println!("{name}: test") } else { println!("test {name} ... FAILED") }
                }
                if !list { std::process::exit(101) }
            }"#,
        ),
    ]);
    let found = fixture.discover("").unwrap();
    assert_eq!(found.plan.tests.len(), 1, "{:?}", found.plan.tests);
    assert_eq!(
        found.notes,
        ["own::h prints the same list for `--ignored`, so it runs whole"]
    );
    assert_eq!(run(&found, TestId(0)).verdict, Verdict::Failed);
}

#[test]
fn the_number_of_threads_comes_from_arguments_then_from_what_cargo_passes_on() {
    let fixture = Fixture::new(&[
        (
            "Cargo.toml",
            "[package]\nname = 'serial'\nversion = '0.1.0'\nedition = '2024'\n",
        ),
        ("src/lib.rs", "#[test] fn one() {}\n"),
        (".cargo/config.toml", "[env]\nRUST_TEST_THREADS = '1'\n"),
    ]);
    let threads = |args: &str, env| fixture.discover_with(args, env).unwrap().plan.threads_max;
    let mut set = fixture.env();
    set.insert("RUST_TEST_THREADS".to_owned(), "3".to_owned());
    assert_eq!(threads("--lib", fixture.env()), Some(1));
    assert_eq!(threads("--lib", set), Some(3));
    assert_eq!(threads("--lib -- --test-threads 2", fixture.env()), Some(2));
}

#[test]
fn a_test_sees_what_cargo_would_show_it() {
    let fixture = Fixture::new(WORKSPACE);
    let environment_seen = |by: &str| {
        let path = fixture.root.path().join(by);
        let mut env = fixture.env();
        env.insert(
            "FIXTURE_OUT".to_owned(),
            path.to_string_lossy().into_owned(),
        );
        // A variable that Cohort itself needs while it asks cargo, set by the user.
        env.insert("RUSTDOC".to_owned(), "rustdoc".to_owned());
        if by == "cargo" {
            let output = fixture.cargo("--test api environment", &env);
            assert!(output.status.success(), "{output:?}");
        } else {
            let found = fixture
                .discover_with("--test api environment", env)
                .unwrap();
            assert_eq!(run(&found, TestId(0)).verdict, Verdict::Passed);
        }
        let text = fs::read_to_string(path).unwrap();
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.contains("FIXTURE_OUT"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let cargo = environment_seen("cargo");
    for named in [
        "FROM_CONFIG",
        "FROM_BUILD",
        "CARGO_PKG_NAME",
        "LD_LIBRARY_PATH",
        "OUT_DIR",
    ] {
        assert!(
            cargo.iter().any(|line| line.contains(named)),
            "{named}: {cargo:#?}"
        );
    }
    assert_eq!(environment_seen("cohort"), cargo);
}

#[test]
fn a_crash_and_a_changed_list_are_told_apart_from_a_failure() {
    let fixture = Fixture::new(WORKSPACE);
    let mut env = fixture.env();
    env.insert("FIXTURE_ABORTS".to_owned(), "1".to_owned());
    let found = fixture.discover_with("--test api", env.clone()).unwrap();
    let aborts = run(&found, test_of(&found, "alpha::api aborts"));
    assert_eq!(aborts.verdict, Verdict::Crashed);
    assert_eq!(
        aborts.message.as_deref(),
        Some("ended by signal 6 (SIGABRT)")
    );

    fixture.write("alpha/tests/api.rs", "#[test] fn another() {}\n");
    assert!(fixture.cargo("--test api", &env).status.success());
    let gone = run(&found, test_of(&found, "alpha::api one"));
    assert_eq!(gone.verdict, Verdict::Failed);
    assert!(gone.message.unwrap().contains("the list of tests changed"));
}

#[test]
fn the_users_runner_still_runs_the_tests() {
    let fixture = Fixture::new(WORKSPACE);
    let version = Command::new("cargo").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let list = format!("[target.{host}]\nrunner = ['env', 'FIXTURE_RUNNER=mine']\n");
    let text = format!("[target.{host}]\nrunner = 'env FIXTURE_RUNNER=mine'\n");
    let condition = "[target.'cfg(unix)']\nrunner = 'env FIXTURE_RUNNER=mine'\n".to_owned();
    let given = |value: &str| format!("--config \"target.{host}.runner={value}\"");
    for (config, args) in [
        (&list, String::new()),
        (&text, String::new()),
        (&condition, String::new()),
        (&String::new(), given("'env FIXTURE_RUNNER=mine'")),
        (&String::new(), given("['env', 'FIXTURE_RUNNER=mine']")),
        (
            &text.replace("mine", "not"),
            given("'env FIXTURE_RUNNER=mine'"),
        ),
    ] {
        fixture.write(".cargo/config.toml", config);
        let found = fixture.discover(&format!("{args} --test api one")).unwrap();
        let launch = found.launches.launch(TestId(0));
        assert_eq!(launch.program, Path::new("env"), "{config} {args}");
        assert_eq!(launch.args[0], "FIXTURE_RUNNER=mine", "{config} {args}");
        assert!(
            launch
                .env
                .iter()
                .all(|(name, _)| !name.to_string_lossy().ends_with("_RUNNER")),
            "what the recorder set is gone"
        );
        assert_eq!(run(&found, TestId(0)).verdict, Verdict::Passed);
    }
    // Doc tests too: cargo hands the runner to rustdoc.
    fixture.write(".cargo/config.toml", &list);
    assert_eq!(fixture.cohort_says("--doc"), fixture.cargo_says("--doc"));
}

#[test]
fn what_does_not_build_keeps_cargos_exit_code() {
    let manifest = "[package]\nname = 'broken'\nversion = '0.1.0'\nedition = '2024'\n";
    let fixture = Fixture::new(&[("Cargo.toml", manifest), ("src/lib.rs", "fn f( {}\n")]);
    let code = |args| match fixture.discover(args) {
        Err(Error::Build { code }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(""), 101);
    assert_eq!(code("--no-such-option"), 1);
    fixture.write("src/lib.rs", "");
    let found = fixture.discover("--lib").unwrap();
    assert!(found.plan.tests.is_empty() && found.plan.groups.is_empty());
}
