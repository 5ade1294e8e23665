//! Control groups and what is left of them, on the real host. Where it has none, or lets us make
//! none, each test says so and leaves its real half out.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cohort_host::cgroup::{CampaignGroup, Controller, Layout, Version};
use cohort_host::kernel_file;
use cohort_host::kernel_file::Buffer;
use cohort_host::process::{self, Owner};
use cohort_host::remains::{self, SCRATCH_MARKER};
use cohort_model::{Allotment, HostSample, InstanceId, InstanceSample};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const DEADLINE: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;

fn campaign(what: &str) -> Option<(Layout, CampaignGroup)> {
    let root = Path::new("/");
    let layout = Layout::detect(root).unwrap();
    let name = format!("{}-{what}", Owner::current(root).unwrap());
    match CampaignGroup::create(&layout, &name) {
        Ok(campaign) => Some((layout, campaign)),
        Err(error) => {
            eprintln!("LEFT OUT: {what} on real control groups: {error}");
            None
        }
    }
}

/// A child that is killed at the end of its test, passed or not.
struct Guarded(Child);

impl Guarded {
    fn shell(script: &str) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// The next line of its output.
    fn says(&mut self) -> String {
        let mut line = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        line.trim().to_owned()
    }

    fn tell(&mut self) {
        std::io::Write::write_all(self.0.stdin.as_mut().unwrap(), b"\n").unwrap();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn allotment(memory: u64) -> Allotment {
    Allotment {
        cpu_weight: 100,
        memory,
    }
}

#[test]
fn an_instance_is_entered_read_and_removed() {
    let Some((_, campaign)) = campaign("read") else {
        return;
    };
    let instance = campaign.maker().make(InstanceId(4)).unwrap();
    let mut reader = instance.reader().unwrap();
    let mut sample = InstanceSample::empty(InstanceId(4));
    assert!(reader.read(&mut sample));
    assert_eq!((sample.processes, sample.cpu_us), (0, 0));

    // Enters by itself, as an init does, and only then computes.
    let entering: String = instance
        .procs_files()
        .iter()
        .map(|path| format!("echo 0 > {}; ", path.display()))
        .collect();
    let script = format!(
        "exec 3<&0; {entering} i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; (read a <&3) & echo done; read b"
    );
    let mut child = Guarded::shell(&script);
    assert_eq!(child.says(), "done");
    assert!(instance.pids().contains(&child.pid()));
    until("both processes are counted", || {
        reader.read(&mut sample) && sample.processes == 2
    });
    assert_eq!(sample.tasks, 2);
    assert!(sample.open_files >= 4, "{sample:?}");
    assert!(sample.cpu_us > 1000, "{sample:?}");
    if campaign.controls(Controller::Memory) {
        assert!(
            sample.memory > 0 && sample.memory_peak >= sample.memory,
            "{sample:?}"
        );
        assert_eq!(sample.oom_kills, 0);
    } else {
        eprintln!("LEFT OUT: memory of a real instance: no memory controller");
    }
    let mut host = HostSample {
        memory_available: u64::MAX,
        ..HostSample::default()
    };
    campaign.reader().read(&mut Buffer::default(), &mut host);
    assert!(host.campaign_cpu_us >= sample.cpu_us, "{host:?}");

    assert_eq!(instance.kill_all(&[]), 2);
    assert!(instance.pids().is_empty());
    instance.remove().unwrap();
    assert!(!reader.read(&mut sample), "gone");
    let folders = campaign.folders();
    campaign.remove().unwrap();
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn allotments_reach_the_kernel() {
    let Some((layout, campaign)) = campaign("allot") else {
        return;
    };
    let mut instance = campaign.maker().make(InstanceId(0)).unwrap();
    campaign.set_memory_limit(512 * MIB).unwrap();
    campaign.set_cpu_limit(1.5).unwrap();
    instance.set_task_limit(500).unwrap();
    let in_force = instance
        .set(&Allotment {
            cpu_weight: 250,
            memory: 100 * MIB,
        })
        .unwrap();
    assert_eq!(
        in_force,
        Allotment {
            cpu_weight: 250,
            memory: 100 * MIB
        }
    );
    let file = |controller: Controller, v1: &str, v2: &str| {
        if !campaign.controls(controller) {
            eprintln!("LEFT OUT: {controller:?} is not controlled here");
            return None;
        }
        let name = if layout.serving(controller)?.version == Version::V1 {
            v1
        } else {
            v2
        };
        instance
            .procs_files()
            .iter()
            .find_map(|path| std::fs::read(path.parent()?.join(name)).ok())
            .and_then(|text| kernel_file::number(&text))
    };
    let expect = |found: Option<u64>, values: [u64; 2]| {
        assert!(
            found.is_none_or(|found| values.contains(&found)),
            "{found:?}"
        );
    };
    expect(
        file(Controller::Cpu, "cpu.shares", "cpu.weight"),
        [2560, 250],
    );
    expect(
        file(Controller::Memory, "memory.limit_in_bytes", "memory.high"),
        [132 * MIB, 100 * MIB],
    );
}

#[test]
fn a_process_is_held_at_its_limit_and_goes_on_with_more() {
    let Some((layout, campaign)) = campaign("hold") else {
        return;
    };
    let mut instance = campaign.maker().make(InstanceId(0)).unwrap();
    let Some(signal) = instance.hold_signal().unwrap() else {
        eprintln!("LEFT OUT: holding: this host cannot");
        return;
    };
    let hierarchy = layout.serving(Controller::Memory);
    let version = hierarchy.map(|hierarchy| hierarchy.version);
    instance.set(&allotment(24 * MIB)).unwrap();
    assert!(!instance.is_held());
    // Doubles a string until it has 64 MiB.
    let mut child = Guarded::shell(
        "read a; exec awk 'BEGIN { s = \"x\"; while (length(s) < 67108864) s = s s; print \"done\" }'",
    );
    instance.enter(child.pid()).unwrap();
    child.tell();

    let mut polled = [PollFd::new(signal.as_fd(), PollFlags::POLLIN)];
    assert_eq!(
        poll(&mut polled, PollTimeout::from(20_000u16)).unwrap(),
        1,
        "no signal"
    );
    until("it is held", || instance.is_held());
    if layout.serving(Controller::Memory).unwrap().version == Version::V1 {
        // Asleep in the kernel, in its page fault.
        until("it stands still", || {
            process::stat(Path::new("/"), child.pid()).unwrap().state == b'D'
        });
        assert!(instance.is_held());
    }
    let mut reader = instance.reader().unwrap();
    let mut sample = InstanceSample::empty(InstanceId(0));
    // The kernel adds up its statistics every two seconds or after many changes.
    until("what it holds is anonymous", || {
        reader.read(&mut sample) && sample.memory_anon > 16 * MIB
    });
    assert!(
        sample.memory_peak >= 24 * MIB && sample.memory_anon > sample.memory_file,
        "{sample:?}"
    );
    // Version 2 slows it down before it runs into a limit.
    assert!(instance.limit_hits() > 0 || version == Some(Version::V2));
    assert!(child.0.try_wait().unwrap().is_none(), "still alive");

    instance.set(&allotment(512 * MIB)).unwrap();
    assert_eq!(child.says(), "done");
    assert!(child.0.wait().unwrap().success());
    until("it is not held any more", || !instance.is_held());
}

#[test]
fn a_held_process_can_be_killed() {
    let Some((_, campaign)) = campaign("heldkill") else {
        return;
    };
    let mut instance = campaign.maker().make(InstanceId(0)).unwrap();
    if instance.hold_signal().unwrap().is_none() {
        eprintln!("LEFT OUT: killing what is held: this host cannot hold");
        return;
    }
    instance.set(&allotment(16 * MIB)).unwrap();
    let mut child = Guarded::shell("read a; exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'");
    instance.enter(child.pid()).unwrap();
    child.tell();
    until("it is held", || instance.is_held());
    assert_eq!(instance.kill_all(&[]), 1);
    assert!(instance.pids().is_empty());
}

#[test]
fn a_tree_that_keeps_forking_is_moved_whole_and_killed() {
    let Some((_, campaign)) = campaign("move") else {
        return;
    };
    let (source, target) = (
        campaign.maker().make(InstanceId(0)).unwrap(),
        campaign.maker().make(InstanceId(1)).unwrap(),
    );
    let mut spared = Guarded::shell("read a");
    source.enter(spared.pid()).unwrap();
    let mut forking = Guarded::shell(
        "read a; while true; do /bin/true; (sleep 0.01 & wait); done & echo on; wait",
    );
    source.enter(forking.pid()).unwrap();
    forking.tell();
    assert_eq!(forking.says(), "on");

    let moved = source.move_into(&target, &[spared.pid()]).unwrap();
    assert!(moved >= 2, "{moved}");
    assert_eq!(source.pids(), [spared.pid()]);
    assert!(target.pids().contains(&forking.pid()));

    assert_eq!(source.kill_all(&[spared.pid()]), 0);
    assert!(spared.0.try_wait().unwrap().is_none());
    assert!(target.kill_all(&[]) >= 2);
    until("all are gone", || target.pids().is_empty());
    assert!(source.pids().contains(&spared.pid()));
    spared.tell();
    spared.0.wait().unwrap();
}

#[test]
fn what_is_killed_may_have_groups_of_its_own() {
    let Some((_, campaign)) = campaign("nested") else {
        return;
    };
    let instance = campaign.maker().make(InstanceId(0)).unwrap();
    let child = Guarded::shell("read a");
    instance.enter(child.pid()).unwrap();
    let nested: Vec<_> = instance
        .procs_files()
        .iter()
        .map(|path| path.with_file_name("own"))
        .collect();
    for folder in &nested {
        std::fs::create_dir(folder).unwrap();
        if let Err(error) = std::fs::write(folder.join("cgroup.procs"), child.pid().to_string()) {
            eprintln!("LEFT OUT: a process in {}: {error}", folder.display());
        }
    }
    campaign.remove().unwrap();
    assert!(nested.iter().all(|folder| !folder.exists()));
}

/// The name of a Cohort that ended.
fn dead_owner() -> Owner {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let owner = Owner::current(Path::new("/")).unwrap();
    child.wait().unwrap();
    Owner {
        pid,
        start_ticks: owner.start_ticks,
        ..owner
    }
}

#[test]
fn groups_of_a_dead_cohort_are_cleaned_up_and_those_of_a_living_one_are_not() {
    let root = Path::new("/");
    let Some((layout, living)) = campaign("living") else {
        return;
    };
    let kept = living.maker().make(InstanceId(0)).unwrap();
    let mut alive = Guarded::shell("read a");
    kept.enter(alive.pid()).unwrap();

    let owner = dead_owner();
    assert!(owner.is_dead(root));
    let dead = CampaignGroup::create(&layout, &owner.to_string()).unwrap();
    let instance = dead.maker().make(InstanceId(7)).unwrap();
    let mut left = Guarded::shell("sleep 1000 & echo started; wait");
    instance.enter(left.pid()).unwrap();
    let folders = dead.folders();
    assert_eq!(left.says(), "started");
    // The sleeper may have been forked before its parent entered.
    let members = instance.pids();
    for orphan in process::descendants(root, left.pid()) {
        instance.enter(orphan).unwrap();
    }
    assert!(!members.is_empty());

    let temp = tempfile::tempdir().unwrap();
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| remains::clean_up(&layout, temp.path()));
        let other = scope.spawn(|| remains::clean_up(&layout, temp.path()));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert!(
        folders.iter().all(|folder| !folder.exists()),
        "{one:?} {other:?}"
    );
    assert!(one.processes + other.processes >= 2, "{one:?} {other:?}");
    assert!(one.groups + other.groups >= 2, "{one:?} {other:?}");
    assert!(!left.0.wait().unwrap().success());
    assert!(
        alive.0.try_wait().unwrap().is_none(),
        "a living Cohort's process was touched"
    );
    assert!(kept.pids().contains(&alive.pid()));
    drop(dead);
}

#[test]
fn only_marked_directories_of_the_dead_are_cleaned_up() {
    let temp = tempfile::tempdir().unwrap();
    let dead = dead_owner();
    let living = Owner::current(Path::new("/")).unwrap();
    let make = |name: String, marked: bool| {
        let path = temp.path().join(name);
        std::fs::create_dir_all(path.join("i0/sub")).unwrap();
        std::fs::write(path.join("i0/sub/file"), "x").unwrap();
        if marked {
            std::fs::write(path.join(SCRATCH_MARKER), "").unwrap();
        }
        path
    };
    let stale = [
        make(dead.to_string(), true),
        make(format!("{dead}-x"), true),
    ];
    let kept = [
        make(format!("{dead}-unmarked"), false),
        make(living.to_string(), true),
        make(
            Owner {
                namespace: 1,
                ..dead
            }
            .to_string(),
            true,
        ),
        make("cohort-notes".to_owned(), true),
    ];
    // A link into someone's directory, under a stale name, is not followed.
    std::os::unix::fs::symlink(&kept[3], temp.path().join(format!("{dead}-link"))).unwrap();
    std::fs::set_permissions(
        stale[0].join("i0/sub"),
        std::os::unix::fs::PermissionsExt::from_mode(0o0),
    )
    .unwrap();

    let nothing = Layout {
        root: "/".into(),
        hierarchies: Vec::new(),
    };
    let remains = remains::clean_up(&nothing, temp.path());
    assert_eq!(
        (remains.directories, remains.groups, remains.processes),
        (2, 0, 0)
    );
    assert!(stale.iter().all(|path| !path.exists()));
    assert!(kept.iter().all(|path| path.join("i0/sub/file").exists()));
}
