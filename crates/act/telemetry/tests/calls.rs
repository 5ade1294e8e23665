//! System calls of real processes in a real control group, and what counting them costs.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use cohort_host::budget;
use cohort_host::cgroup::{CampaignGroup, InstanceGroup, Layout};
use cohort_host::process::Owner;
use cohort_model::InstanceId;
use cohort_telemetry::calls::{Calls, CallsError, Tracepoint};

/// A campaign's groups on this host, and what is needed to count in them; else says why not.
struct Host {
    campaign: CampaignGroup,
    tracepoint: Tracepoint,
    cpus: Vec<u32>,
}

impl Host {
    fn new(name: &str) -> Option<Self> {
        let root = Path::new("/");
        let layout = Layout::detect(root).unwrap();
        let name = format!("{}-{name}", Owner::current(root).unwrap());
        let campaign = CampaignGroup::create(&layout, &name)
            .inspect_err(|error| println!("left out: {error}"))
            .ok()?;
        let tracepoint = Tracepoint::find(root)
            .inspect_err(|error| println!("left out: {error}"))
            .ok();
        let Some(tracepoint) = tracepoint else {
            campaign.remove().unwrap();
            return None;
        };
        let cpus = budget::detect(root, &layout).cpus;
        Some(Self {
            campaign,
            tracepoint,
            cpus,
        })
    }

    /// `None` when it is not permitted.
    fn open(&self, group: &InstanceGroup) -> Option<Calls> {
        match Calls::open(self.tracepoint, &folders(group), &self.cpus) {
            Ok(calls) => Some(calls),
            Err(error @ (CallsError::Forbidden(_) | CallsError::NoGroup { .. })) => {
                println!("left out: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn folders(group: &InstanceGroup) -> Vec<PathBuf> {
    let files = group.procs_files();
    let folder = |file: &PathBuf| file.parent().map(Path::to_owned);
    files.iter().filter_map(folder).collect()
}

/// Runs it in the group, to its end.
#[expect(
    unsafe_code,
    reason = "the child enters its group between fork and exec"
)]
fn run_in(group: &InstanceGroup, program: &str, arguments: &[&str]) {
    let files = group.procs_files();
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: writes to files only; the allocator is not used by another thread of this test here.
    unsafe {
        command.pre_exec(move || files.iter().try_for_each(|file| std::fs::write(file, "0")));
    }
    let status = command.status().unwrap();
    assert!(status.success(), "{program}: {status}");
}

#[test]
fn calls_are_counted_by_kind_in_the_instance_that_makes_them() {
    let Some(host) = Host::new("calls") else {
        return;
    };
    let busy = host.campaign.maker().make(InstanceId(0)).unwrap();
    let quiet = host.campaign.maker().make(InstanceId(1)).unwrap();
    if let (Some(calls), Some(others)) = (host.open(&busy), host.open(&quiet)) {
        // One read and one write a block.
        let copy = [
            "if=/dev/zero",
            "of=/dev/null",
            "bs=16",
            "count=50000",
            "status=none",
        ];
        run_in(&busy, "dd", &copy);
        let file = calls.read().unwrap();
        println!("dd: {file:?}");
        assert!((100_000..100_500).contains(&file.file), "{file:?}");
        assert!(file.memory >= 5 && file.process >= 1, "{file:?}");
        assert!(
            file.all >= file.file + file.memory + file.process,
            "{file:?}"
        );
        assert!(file.network < 20 && file.lock < 50, "{file:?}");

        // Children are counted, in one CPU or another.
        run_in(
            &busy,
            "sh",
            &["-c", "for i in 1 2 3 4 5; do sleep 0.001; done"],
        );
        let slept = calls.read().unwrap().since(&file);
        println!("sh: {slept:?}");
        assert!(slept.process >= 15 && slept.waiting >= 5, "{slept:?}");
        assert_eq!(others.read().unwrap(), Default::default());
    }
    busy.remove().unwrap();
    quiet.remove().unwrap();
    host.campaign.remove().unwrap();
}

#[test]
fn what_counting_costs_is_told() {
    let Some(host) = Host::new("cost") else {
        return;
    };
    let group = host.campaign.maker().make(InstanceId(0)).unwrap();
    let copy = [
        "if=/dev/zero",
        "of=/dev/null",
        "bs=1",
        "count=200000",
        "status=none",
    ];
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        run_in(&group, "dd", &copy);
        let without = start.elapsed();
        let Some(calls) = host.open(&group) else {
            break;
        };
        let start = Instant::now();
        run_in(&group, "dd", &copy);
        let with = start.elapsed();
        let made = calls.read().unwrap().all;
        assert!(made >= 400_000, "{made}");
        rounds.push((without, with, made));
        let start = Instant::now();
        for _ in 0..1000 {
            calls.read().unwrap();
        }
        println!("a reading: {:?}", start.elapsed() / 1000);
    }
    for (without, with, made) in &rounds {
        let each = (with.as_secs_f64() - without.as_secs_f64()) / *made as f64;
        println!(
            "without {without:?}, with {with:?}: {:.0} ns a call",
            each * 1e9
        );
    }
    group.remove().unwrap();
    host.campaign.remove().unwrap();
}

#[test]
fn a_folder_that_is_no_group_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(tracepoint) = Tracepoint::find(Path::new("/")) else {
        println!("left out: no tracepoint of system calls is found here");
        return;
    };
    let error = Calls::open(tracepoint, &[folder.path().to_owned()], &[0]).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("perf_event hierarchy") || told.contains("CAP_PERFMON"),
        "{told}"
    );
}
