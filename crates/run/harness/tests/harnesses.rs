//! What harnesses do wrong, and the engine that runs any of them: with real programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cohort_harness::{Config, End, Limits, Plan, Run, Target, execute, targets, work};
use cohort_model::SymptomKind;

const LIMITS: Limits = Limits {
    time_ms: 1000,
    memory: 256 << 20,
};

struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// A harness that is this script of a shell, with the file as `$1`.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("harness.sh"), script).unwrap();
        for name in ["scratch", "shared/corpus", "shared/crashes"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn target(&self) -> Target {
        let config = Config {
            harness: ["sh", "harness.sh", "@@"].map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            ..Config::default()
        };
        targets(self.folder.path(), &config).unwrap().remove(0)
    }

    fn run(&self, input: &str) -> Run {
        let file = self.path("input");
        fs::write(&file, input).unwrap();
        execute(&self.target(), &file, &self.path("scratch"), LIMITS).unwrap()
    }

    fn work(&self, time: Duration) -> u64 {
        work(&Plan {
            target: self.target(),
            shared: self.path("shared"),
            scratch: self.path("scratch"),
            stand: self.path("stand"),
            seed: 1,
            time_ms: time.as_millis() as u64,
            limits: LIMITS,
            longest: 64,
        })
        .unwrap()
    }

    fn files(&self, name: &str) -> Vec<PathBuf> {
        fs::read_dir(self.path(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }
}

#[test]
fn to_refuse_an_input_is_no_bug_and_a_signal_is_one() {
    assert!(Project::new("exit 0").run("x").fault().is_none());
    assert!(
        Project::new("echo no >&2; exit 1")
            .run("x")
            .fault()
            .is_none()
    );
    let crash = Project::new("kill -SEGV $$").run("x");
    assert_eq!(crash.end, End::Signal(11));
    assert_eq!(crash.fault().unwrap().kind, SymptomKind::Signal);
    let panic = "thread 'main' panicked at src/main.rs:3:5:\nboom\n";
    let panic = Project::new(&format!("printf '%s' \"{panic}\" >&2; exit 101")).run("x");
    assert!(panic.fault().unwrap().message.contains("boom"));
}

#[test]
fn one_that_hangs_is_ended_with_its_children() {
    let project = Project::new("sleep 1000 & echo $! > child; wait");
    let begun = Instant::now();
    let run = project.run("x");
    assert_eq!(run.end, End::Time);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(run.fault().unwrap().kind, SymptomKind::Timeout);
    let child = fs::read_to_string(project.path("child")).unwrap();
    let stat = Path::new("/proc").join(child.trim()).join("stat");
    let runs = || fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z"));
    while runs() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

#[test]
fn one_that_floods_its_output_is_ended_and_little_is_kept() {
    let run = Project::new("yes").run("x");
    assert_eq!(run.end, End::Time);
    assert!((1 << 16..=256 << 10).contains(&run.output.len()));
}

#[test]
fn what_a_child_holds_open_is_not_waited_for() {
    let begun = Instant::now();
    let run = Project::new("sleep 1000 & echo said; exit 0").run("x");
    assert_eq!(run.end, End::Exit(0));
    assert_eq!(run.output, b"said\n");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn files_that_it_leaves_are_gone_and_what_breaks_it_is_left() {
    let project = Project::new(
        "echo x > \"$TMPDIR/left\"; mkdir \"$TMPDIR/dir\" || exit 3; \
         test $(wc -c < \"$1\") -gt 5 && kill -ABRT $$; exit 0",
    );
    assert!(project.work(Duration::from_millis(1500)) > 5);
    assert!(project.files("scratch").is_empty());
    let crashes = project.files("shared/crashes");
    assert!(!crashes.is_empty());
    assert!(crashes.iter().all(|file| fs::read(file).unwrap().len() > 5));
    assert!(!project.files("shared/corpus").is_empty());
}

#[test]
fn one_that_always_breaks_leaves_a_few_inputs() {
    let project = Project::new("kill -SEGV $$");
    assert!(project.work(Duration::from_millis(700)) > 5);
    let crashes = project.files("shared/crashes").len();
    assert!((1..=8).contains(&crashes), "{crashes}");
    assert!(project.files("shared/corpus").is_empty());
}
