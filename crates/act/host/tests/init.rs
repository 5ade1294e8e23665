//! The init of an instance, as a process, with real children.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use cohort_host::init::{Decoder, Ended, FromInit, Setup, Start, ToInit, encode, spawn};
use cohort_model::Isolation;

const DEADLINE: Duration = Duration::from_secs(120);

/// A hub of one instance.
struct Hub {
    stream: UnixStream,
    decoder: Decoder,
    init: Child,
}

impl Hub {
    /// An init that was told nothing.
    fn silent() -> Hub {
        let (stream, init) = spawn(Path::new(env!("CARGO_BIN_EXE_instance-init")), &[]).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Hub {
            stream,
            decoder: Decoder::default(),
            init,
        }
    }

    fn with(setup: Setup) -> Hub {
        let mut hub = Hub::silent();
        hub.tell(&ToInit::Setup(setup));
        let answer = hub.hear();
        assert!(matches!(answer, FromInit::Ready { .. }), "{answer:?}");
        hub
    }

    fn new() -> Hub {
        Hub::with(Setup {
            output_bytes_max: 1 << 20,
            ..Setup::default()
        })
    }

    fn tell(&mut self, order: &ToInit) {
        self.stream.write_all(&encode(order).unwrap()).unwrap();
    }

    fn hear(&mut self) -> FromInit {
        let mut piece = vec![0; 64 << 10];
        loop {
            if let Some(message) = self.decoder.pop().unwrap() {
                return message;
            }
            match self
                .stream
                .read(&mut piece)
                .expect("the init answers in time")
            {
                0 => panic!("the init hung up"),
                bytes => self.decoder.push(&piece[..bytes]),
            }
        }
    }

    /// Starts a thread and gives the pid of its first process.
    fn start(&mut self, start: Start) -> i32 {
        self.tell(&ToInit::Start(start));
        match self.hear() {
            FromInit::Started { pid, .. } => pid,
            other => panic!("not started: {other:?}"),
        }
    }

    fn ended(&mut self) -> Ended {
        match self.hear() {
            FromInit::Ended(ended) => ended,
            other => panic!("not ended: {other:?}"),
        }
    }

    fn run(&mut self, start: Start) -> Ended {
        self.start(start);
        self.ended()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        until("the init ends", || self.init.try_wait().unwrap().is_some());
    }
}

fn program(program: &str, args: &[&str]) -> Start {
    Start {
        thread: 1,
        program: program.into(),
        args: args.iter().map(OsString::from).collect(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: "/".into(),
        nice: 0,
    }
}

fn shell(script: &str) -> Start {
    program("sh", &["-c", script])
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Neither running nor a zombie.
fn is_gone(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// A script that writes its pid there, and the pid once it is.
fn pid_in(file: &Path) -> i32 {
    let mut pid = None;
    until("a pid is written", || {
        pid = fs::read_to_string(file)
            .ok()
            .and_then(|text| text.strip_suffix('\n')?.parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("\nUid:\t0\t0")
}

#[test]
fn exit_codes_and_signals_are_those_of_the_program() {
    let mut hub = Hub::new();
    for code in [0, 1, 101, 255] {
        let ended = hub.run(shell(&format!("exit {code}")));
        assert_eq!((ended.exit_code, ended.signal), (Some(code), None));
    }
    // 9, 11, and a real-time one.
    for signal in [9, 11, 40] {
        let ended = hub.run(shell(&format!("kill -{signal} $$")));
        assert_eq!((ended.exit_code, ended.signal), (None, Some(signal)));
    }
}

#[test]
fn both_streams_are_kept_apart_and_input_is_empty() {
    let mut hub = Hub::new();
    let ended = hub.run(shell("cat; echo out; echo err >&2; echo out again"));
    assert_eq!(text(&ended.stdout), "out\nout again\n");
    assert_eq!(text(&ended.stderr), "err\n");
    assert_eq!((ended.dropped_bytes, ended.left_behind), (0, 0));
}

#[test]
fn arguments_variables_and_directory_arrive_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let odd = OsString::from_vec(b"a 'b' \"c\"\n$(d) \xff".to_vec());
    let cwd = folder.path().canonicalize().unwrap().join(&odd);
    fs::create_dir(&cwd).unwrap();
    let mut hub = Hub::new();
    let mut start = shell("printf %s \"$0\"; printf %s \"$ODD\"; env | wc -l; pwd -P >&2");
    start.args.push(odd.clone());
    start.env.push(("ODD".into(), odd.clone()));
    start.env.push(("PWD".into(), "/".into()));
    start.cwd.clone_from(&cwd);
    let ended = hub.run(start);
    let odd = odd.into_vec();
    assert!(
        ended.stdout.starts_with(&[odd.clone(), odd].concat()),
        "{ended:?}"
    );
    assert_eq!(
        ended.stderr,
        [cwd.into_os_string().into_vec(), b"\n".to_vec()].concat()
    );
}

#[test]
fn what_was_used_is_told() {
    let mut hub = Hub::new();
    let ended = hub.run(shell(
        "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 0.05",
    ));
    let usage = ended.usage;
    assert_eq!(ended.exit_code, Some(0));
    assert!(usage.user_us > 10_000, "{usage:?}");
    assert!(usage.wall_us >= usage.user_us.max(50_000), "{usage:?}");
    assert!(usage.memory_peak > 100_000 && usage.waits > 0, "{usage:?}");
}

#[test]
fn a_gigabyte_of_output_is_bounded() {
    let mut hub = Hub::with(Setup {
        output_bytes_max: 1000,
        ..Setup::default()
    });
    let ended = hub.run(shell(
        "echo first; dd if=/dev/zero bs=1000000 count=1000 2> /dev/null; echo last",
    ));
    assert_eq!(ended.exit_code, Some(0));
    assert_eq!(ended.dropped_bytes, 1_000_000_011 - 1000);
    assert!(ended.stdout.starts_with(b"first\n") && ended.stdout.ends_with(b"last\n"));
    let marker = b"\n[... 999999011 bytes not kept ...]\n";
    assert!(
        ended
            .stdout
            .windows(marker.len())
            .any(|part| part == marker)
    );
    let status = fs::read_to_string(format!("/proc/{}/status", hub.init.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak_kib: u64 = peak.trim_end_matches("kB").trim().parse().unwrap();
    assert!(peak_kib < 8 * 1024, "the init held {peak_kib} KiB");
}

#[test]
fn ignoring_sigterm_buys_the_grace_and_no_more() {
    let mut hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let stubborn = format!(
        "trap '' TERM; echo $$ >{}; while :; do sleep 0.01; done",
        ready.display()
    );
    hub.start(shell(&stubborn));
    pid_in(&ready);
    let told = Instant::now();
    hub.tell(&ToInit::Kill {
        thread: 1,
        grace_ms: 200,
    });
    let ended = hub.ended();
    assert_eq!((ended.signal, ended.left_behind), (Some(9), 0));
    assert!(told.elapsed() >= Duration::from_millis(200));
}

#[test]
fn sigterm_is_heard_within_the_grace_even_when_stopped() {
    let mut hub = Hub::new();
    let pid = hub.start(shell("kill -STOP $$; exit 3"));
    until("it is stopped", || {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .unwrap()
            .contains(") T ")
    });
    hub.tell(&ToInit::Kill {
        thread: 1,
        grace_ms: 600_000,
    });
    assert_eq!(hub.ended().signal, Some(15));
}

#[test]
fn no_grace_is_sigkill_to_all_of_it() {
    let mut hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    hub.start(shell(&format!(
        "setsid sh -c 'echo $$ >{}; exec sleep 600' & wait",
        file.display()
    )));
    let inner = pid_in(&file);
    hub.tell(&ToInit::Kill {
        thread: 1,
        grace_ms: 0,
    });
    hub.tell(&ToInit::Kill {
        thread: 7,
        grace_ms: 0,
    });
    let ended = hub.ended();
    assert_eq!((ended.signal, ended.left_behind), (Some(9), 0));
    assert!(is_gone(inner));
}

/// A process that left its group, its session and its parent, and holds the output open.
fn daemon(pid_file: &Path) -> String {
    let inner = format!("echo $$ >{}; exec sleep 600", pid_file.display());
    format!(
        "setsid sh -c 'sh -c \"{}\" & exit' ; while ! [ -s {} ]; do :; done; echo done; exit 4",
        inner.replace("$$", "\\$\\$"),
        pid_file.display()
    )
}

#[test]
fn a_daemon_is_gone_after_the_end_and_counted() {
    let mut hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let ended = hub.run(shell(&daemon(&file)));
    assert_eq!(
        (ended.exit_code, ended.left_behind),
        (Some(4), 1),
        "{}",
        text(&ended.stderr)
    );
    assert_eq!(text(&ended.stdout), "done\n");
    assert!(is_gone(pid_in(&file)));
    // Nothing of it disturbs the next.
    assert_eq!(hub.run(shell("exit 0")).left_behind, 0);
}

#[test]
fn a_child_that_closes_its_output_is_waited_for() {
    let mut hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let script = format!(
        "exec >&- 2>&-; while ! [ -e {} ]; do sleep 0.01; done; exit 5",
        go.display()
    );
    let pid = hub.start(shell(&script));
    let closed = |fd: &str| fs::symlink_metadata(format!("/proc/{pid}/fd/{fd}")).is_err();
    until("its output is closed", || closed("1") && closed("2"));
    fs::write(&go, "").unwrap();
    assert_eq!(hub.ended().exit_code, Some(5));
}

#[test]
fn what_cannot_start_is_named() {
    let mut hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    let nul = program("/bin/echo", &["a\0b"]);
    let nowhere = Start {
        cwd: "/no/such/directory".into(),
        ..shell("exit 0")
    };
    for (start, expected) in [
        (
            program("no-such-program", &[]),
            ["no-such-program", "No such file"],
        ),
        (
            program("/no/such/program", &[]),
            ["/no/such/program", "No such file"],
        ),
        (
            program(plain.to_str().unwrap(), &[]),
            [plain.to_str().unwrap(), "denied"],
        ),
        (program("", &[]), ["\"\"", "No such file"]),
        (nul, ["/bin/echo", "NUL"]),
        (nowhere, ["/no/such/directory", "No such file"]),
    ] {
        hub.tell(&ToInit::Start(start));
        let FromInit::StartFailed { thread: 1, message } = hub.hear() else {
            panic!("{expected:?} started");
        };
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
    }
    assert_eq!(hub.run(shell("exit 0")).exit_code, Some(0));
}

#[test]
fn a_child_inherits_nothing_of_the_init() {
    let mut hub = Hub::new();
    // The fourth is the directory that `ls` reads.
    let ended = hub.run(program("ls", &["/proc/self/fd"]));
    assert_eq!(text(&ended.stdout), "0\n1\n2\n3\n");
    let ended = hub.run(program("cat", &["/proc/self/status"]));
    let status = text(&ended.stdout);
    assert!(status.contains("\nSigBlk:\t0000000000000000\n"), "{status}");
    assert!(status.contains("\nSigIgn:\t0000000000000000\n"), "{status}");
    let ended = hub.run(program(
        "cat",
        &["/proc/self/stat", "/proc/self/oom_score_adj"],
    ));
    let fields: Vec<&str> = text(&ended.stdout).split_ascii_whitespace().collect();
    assert_eq!(fields[0], fields[4], "its own process group");
    assert!(
        fields.last().unwrap().parse::<i32>().unwrap() >= 500,
        "{fields:?}"
    );
    let own = fs::read_to_string(format!("/proc/{}/oom_score_adj", hub.init.id())).unwrap();
    assert_eq!(own, fs::read_to_string("/proc/self/oom_score_adj").unwrap());
}

#[test]
fn two_threads_run_side_by_side_and_do_not_harm_each_other() {
    let mut hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let (go, inner) = (folder.path().join("go"), folder.path().join("pid"));
    let script = format!(
        "setsid sh -c 'echo $$ >{}; exec sleep 600' & while ! [ -e {} ]; do sleep 0.01; done; echo one",
        inner.display(),
        go.display()
    );
    hub.start(shell(&script));
    let inner = pid_in(&inner);
    let again = shell("exit 0");
    hub.tell(&ToInit::Start(again));
    assert!(matches!(
        hub.hear(),
        FromInit::StartFailed { thread: 1, .. }
    ));
    let left = "sleep 600 & echo two; exit 2";
    let ended = hub.run(Start {
        thread: 2,
        ..shell(left)
    });
    assert_eq!(
        (ended.thread, ended.exit_code, ended.left_behind),
        (2, Some(2), 1)
    );
    assert_eq!(text(&ended.stdout), "two\n");
    assert!(
        !is_gone(inner),
        "the end of one thread killed a process of the other"
    );
    fs::write(&go, "").unwrap();
    let ended = hub.ended();
    assert_eq!((ended.thread, ended.left_behind), (1, 1));
    assert_eq!(text(&ended.stdout), "one\n");
    assert!(is_gone(inner));
}

#[test]
fn a_lost_hub_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let mut hub = Hub::new();
    let first = hub.start(shell(&format!(
        "trap '' TERM; {}; sleep 600",
        daemon(&file).replace("exit 4", ":")
    )));
    let daemon = pid_in(&file);
    drop(hub);
    assert!(
        is_gone(first) && is_gone(daemon),
        "left after the init ended"
    );
}

#[test]
fn shutdown_reports_what_ran_and_ends() {
    let mut hub = Hub::new();
    hub.start(shell("echo begun; sleep 600"));
    hub.tell(&ToInit::Shutdown);
    assert_eq!(hub.ended().signal, Some(9));
    until("the init ends", || hub.init.try_wait().unwrap().is_some());
    assert_eq!(hub.init.wait().unwrap().code(), Some(0));
}

#[test]
fn sigterm_to_the_init_is_an_order_to_end() {
    let mut hub = Hub::new();
    let pid = hub.start(shell("sleep 600"));
    let status = std::process::Command::new("kill")
        .arg(hub.init.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(hub.ended().signal, Some(9));
    assert!(is_gone(pid));
}

#[test]
fn a_killed_init_takes_its_children_along() {
    let mut hub = Hub::new();
    let pid = hub.start(program("sleep", &["600"]));
    hub.init.kill().unwrap();
    until("its child is gone", || is_gone(pid));
}

#[test]
fn orders_out_of_place_are_survived() {
    let mut hub = Hub::silent();
    hub.tell(&ToInit::Kill {
        thread: 1,
        grace_ms: 0,
    });
    hub.tell(&ToInit::Start(shell("exit 0")));
    assert!(matches!(
        hub.hear(),
        FromInit::StartFailed { thread: 1, .. }
    ));
    hub.tell(&ToInit::Setup(Setup::default()));
    assert!(matches!(hub.hear(), FromInit::Ready { .. }));
    hub.tell(&ToInit::Setup(Setup::default()));
    hub.tell(&ToInit::Kill {
        thread: 1,
        grace_ms: 5,
    });
    let procs_file = PathBuf::from("/nowhere");
    hub.tell(&ToInit::Moved {
        thread: 9,
        procs_file,
        spare: Vec::new(),
    });
    assert_eq!(hub.run(shell("exit 6")).exit_code, Some(6));
}

#[test]
fn nonsense_from_the_hub_ends_the_init() {
    let mut hub = Hub::new();
    let pid = hub.start(program("sleep", &["600"]));
    hub.stream.write_all(&[0xff; 64]).unwrap();
    until("the init ends", || hub.init.try_wait().unwrap().is_some());
    assert!(is_gone(pid));
}

#[test]
fn a_hub_that_does_not_read_holds_up_nothing() {
    let mut hub = Hub::new();
    let threads = 40;
    for thread in 0..threads {
        let start = Start {
            thread,
            ..shell("head -c 100000 /dev/zero")
        };
        hub.tell(&ToInit::Start(start));
    }
    let pid = std::process::id().to_string();
    assert_ne!(pid, "1");
    until("all ended, unread", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", hub.init.id()));
        children.map_or(true, |list| list.trim().is_empty())
    });
    let (mut started, mut ended) = (0, 0);
    while ended < threads {
        match hub.hear() {
            FromInit::Started { .. } => started += 1,
            FromInit::Ended(report) => {
                assert_eq!(report.stdout.len(), 100_000);
                ended += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(started, threads);
}

#[test]
fn a_cgroup_that_cannot_be_entered_is_named() {
    let mut hub = Hub::silent();
    let procs_files = vec![PathBuf::from("/nowhere/cgroup.procs")];
    hub.tell(&ToInit::Setup(Setup {
        procs_files,
        ..Setup::default()
    }));
    let FromInit::SetupFailed { message } = hub.hear() else {
        panic!("it was set up")
    };
    assert!(message.contains("/nowhere/cgroup.procs"), "{message}");
    until("the init ends", || hub.init.try_wait().unwrap().is_some());
}

/// A cgroup below the one where every process may be put, of the tree given.
struct Cgroup(PathBuf);

impl Cgroup {
    /// None, said out loud, where this user may not make one.
    fn new(tree: &str, name: &str) -> Option<Cgroup> {
        let path = Path::new(tree).join(format!("cohort-test-{}-{name}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) if path.join("cgroup.procs").exists() => Some(Cgroup(path)),
            Ok(()) => {
                fs::remove_dir(&path).unwrap();
                None
            }
            Err(error) => {
                eprintln!("left out: {} cannot be made: {error}", path.display());
                None
            }
        }
    }

    fn procs(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        until("the cgroup is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// Version 2 (pure, hybrid) and version 1.
const TREES: [&str; 3] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup/pids",
];

#[test]
fn in_a_cgroup_what_is_left_is_found_by_it() {
    for tree in TREES {
        let Some(cgroup) = Cgroup::new(tree, "home") else {
            continue;
        };
        let mut hub = Hub::with(Setup {
            procs_files: vec![cgroup.procs()],
            own_procs_file: Some(cgroup.procs()),
            output_bytes_max: 1000,
            ..Setup::default()
        });
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let file = folder.path().join(round.to_string());
            let ended = hub.run(shell(&daemon(&file)));
            assert_eq!((ended.exit_code, ended.left_behind), (Some(4), 1), "{tree}");
            assert!(is_gone(pid_in(&file)), "{tree}");
        }
        assert_eq!(hub.run(shell("exit 0")).left_behind, 0, "{tree}");
        let listed = fs::read_to_string(cgroup.procs()).unwrap();
        assert_eq!(listed.trim(), hub.init.id().to_string(), "{tree}");
    }
}

#[test]
fn a_moved_thread_is_swept_where_it_is_then() {
    for tree in TREES {
        let (Some(home), Some(target)) = (Cgroup::new(tree, "source"), Cgroup::new(tree, "target"))
        else {
            continue;
        };
        let mut stranger = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        fs::write(target.procs(), stranger.id().to_string()).unwrap();
        let mut hub = Hub::with(Setup {
            procs_files: vec![home.procs()],
            own_procs_file: Some(home.procs()),
            ..Setup::default()
        });
        let folder = tempfile::tempdir().unwrap();
        let (go, pid) = (folder.path().join("go"), folder.path().join("pid"));
        let script = format!(
            "while ! [ -e {} ]; do :; done; {}",
            go.display(),
            daemon(&pid)
        );
        let first = hub.start(shell(&script));
        fs::write(target.procs(), first.to_string()).unwrap();
        let spare = vec![stranger.id().cast_signed()];
        hub.tell(&ToInit::Moved {
            thread: 1,
            procs_file: target.procs(),
            spare,
        });
        // Answered after the order before it was obeyed; and its end does not touch the moved one.
        assert_eq!(
            hub.run(Start {
                thread: 2,
                ..shell("exit 0")
            })
            .left_behind,
            0,
            "{tree}"
        );
        fs::write(&go, "").unwrap();
        let ended = hub.ended();
        assert_eq!((ended.thread, ended.left_behind), (1, 1), "{tree}");
        assert!(is_gone(pid_in(&pid)), "{tree}");
        assert!(
            stranger.try_wait().unwrap().is_none(),
            "{tree}: a stranger was killed"
        );
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}

#[test]
fn asked_for_namespaces_are_there_or_it_is_said_that_they_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("i3");
    let project = folder.path().join("project");
    fs::create_dir(&scratch).unwrap();
    fs::create_dir(&project).unwrap();
    fs::write(project.join("here"), "").unwrap();
    let mut hub = Hub::silent();
    hub.tell(&ToInit::Setup(Setup {
        instance: 3,
        scratch: scratch.clone(),
        visible: vec![project.clone()],
        isolation: Isolation {
            mount: true,
            pid: true,
            net: true,
        },
        output_bytes_max: 1 << 16,
        ..Setup::default()
    }));
    match hub.hear() {
        FromInit::Ready { missing } => assert_eq!(missing, Vec::<String>::new()),
        FromInit::SetupFailed { message } => {
            assert!(!is_root() || message.contains("not permitted"), "{message}");
            eprintln!("left out, this user may not make namespaces: {message}");
            return;
        }
        other => panic!("{other:?}"),
    }
    let mut start = shell(
        "sleep 600 & ls -d /proc/[0-9]* | wc -l; cat /proc/self/net/dev | grep -c :; \
         echo from-inside >/tmp/file; cat \"$TMPDIR/file\"; ls; echo $$; \
         cat /sys/class/net/lo/flags 2>/dev/null; grep -c . /proc/net/fib_trie",
    );
    start.cwd.clone_from(&project);
    start.env.push(("TMPDIR".into(), scratch.clone().into()));
    let ended = hub.run(start);
    let out = text(&ended.stdout).to_owned();
    let lines: Vec<&str> = out.lines().collect();
    // init, the shell, sleep, ls, wc.
    assert!(lines[0].trim().parse::<u32>().unwrap() <= 5, "{out}");
    assert_eq!(
        lines[2..4],
        ["from-inside", "here"],
        "{out}{}",
        text(&ended.stderr)
    );
    assert_eq!(lines[1].trim(), "1", "only loopback: {out}");
    // Routes appear with the interface: the loopback is up.
    assert!(lines.last().unwrap().parse::<u32>().unwrap() > 0, "{out}");
    assert_eq!(ended.left_behind, 1);
    assert_eq!(
        fs::read_to_string(scratch.join("file")).unwrap(),
        "from-inside\n"
    );
    hub.start(shell("trap '' TERM; setsid sleep 601 & wait"));
    hub.init.kill().unwrap();
    until("all of the namespace is gone", || {
        fs::read_dir("/proc").unwrap().flatten().all(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line != b"sleep\x00601\x00"
        })
    });
}

#[test]
fn a_test_that_removes_its_scratch_directory_harms_only_itself() {
    let mut hub = Hub::new();
    let parent = tempfile::tempdir().unwrap();
    let with_scratch = |script: &str| {
        let mut start = shell(script);
        let scratch = parent.path().join("scratch").into_os_string();
        start.env.push(("TMPDIR".into(), scratch));
        start
    };
    let removed = hub.run(with_scratch("rm -r \"$TMPDIR\""));
    assert_eq!(removed.exit_code, Some(0), "{}", text(&removed.stderr));
    let next = hub.run(with_scratch(
        "echo kept > \"$TMPDIR/file\"; stat -c %a \"$TMPDIR\"",
    ));
    assert_eq!(text(&next.stdout), "700\n", "{}", text(&next.stderr));
    let last = hub.run(with_scratch("cat \"$TMPDIR/file\""));
    assert_eq!(text(&last.stdout), "kept\n");
}
