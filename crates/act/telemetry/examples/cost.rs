//! What collecting costs: eight real instances with a working process each, read ten times a
//! second, and the host twenty times a second, for ten seconds. Measured by the collector itself
//! and, from outside, by the kernel's scheduler (`/proc/self/task/TID/schedstat`).
//!
//! `cargo run --release -p cohort-telemetry --example cost [seconds] [instances]`

use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cohort_host::cgroup::{CampaignGroup, CampaignReader, InstanceGroup, Layout};
use cohort_host::process::Owner;
use cohort_host::{InstanceReader, TreeReader, budget};
use cohort_model::{At, InstanceId, SampleBatch};
use cohort_telemetry::{COST_MAX, Collector, HostReader, Settings};

type Failure = Box<dyn std::error::Error>;

/// One instance, with a process that now and then does something.
struct Working {
    child: Child,
    group: Option<InstanceGroup>,
}

impl Working {
    fn start(campaign: Option<&CampaignGroup>, id: InstanceId) -> Result<Self, Failure> {
        let script = "while true; do sleep 0.05; done";
        let child = Command::new("sh").args(["-c", script]).spawn()?;
        let mut working = Self { child, group: None };
        if let Some(campaign) = campaign {
            let group = campaign.maker().make(id)?;
            group.enter(i32::try_from(working.child.id())?)?;
            working.group = Some(group);
        }
        Ok(working)
    }

    fn reader(&self) -> Result<InstanceReader, Failure> {
        Ok(match &self.group {
            Some(group) => group.reader()?,
            None => {
                let pid = i32::try_from(self.child.id())?;
                InstanceReader::Tree(TreeReader::new(Path::new("/"), pid))
            }
        })
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let count: u32 = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let root = Path::new("/");
    let layout = Layout::detect(root)?;
    let name = format!("{}-cost", Owner::current(root)?);
    let campaign = CampaignGroup::create(&layout, &name)
        .inspect_err(|error| eprintln!("reads process trees instead of groups: {error}"))
        .ok();
    let host = match &campaign {
        Some(campaign) => campaign.reader(),
        None => CampaignReader::without_groups(&layout),
    };
    let cpus = budget::detect(root, &layout).cpus;
    let (sender, batches) = mpsc::channel();
    let settings = Settings {
        instance_interval: Duration::from_millis(100),
        host_interval: Duration::from_millis(50),
        epoch: Instant::now(),
        start: At(0),
    };
    let collector = Collector::start(
        settings,
        HostReader::new(root, host, &cpus, root),
        Box::new(move |batch| sender.send(batch).is_ok()),
    )?;
    let mut working = Vec::new();
    for id in (0..count).map(InstanceId) {
        let instance = Working::start(campaign.as_ref(), id)?;
        collector.watch(id, instance.reader()?, std::path::PathBuf::new());
        working.push(instance);
    }

    let first = wait_for(&batches, At(1_000_000))?;
    let outside = scheduled_us()?;
    let last = wait_for(&batches, first.at.plus_us(seconds * 1_000_000))?;
    let outside = scheduled_us()? - outside;
    let elapsed_us = last.at.since(first.at) as f64;
    let own = (last.collector.cpu_us - first.collector.cpu_us) as f64 / elapsed_us;
    println!("instances             {count}");
    println!(
        "readings              {}",
        last.collector.readings - first.collector.readings
    );
    println!("dropped               {}", last.collector.dropped);
    println!("measured by itself    {:.3} % of a core", own * 100.0);
    println!(
        "measured from outside {:.3} % of a core",
        outside / elapsed_us * 100.0
    );
    println!("allowed               {:.3} % of a core", COST_MAX * 100.0);
    drop(collector);
    drop(working);
    Ok(())
}

/// The first batch that is no earlier than `at` and has instances.
fn wait_for(batches: &mpsc::Receiver<SampleBatch>, at: At) -> Result<SampleBatch, Failure> {
    loop {
        let batch = batches.recv_timeout(Duration::from_secs(10))?;
        if batch.at >= at && !batch.instances.is_empty() {
            return Ok(batch);
        }
    }
}

/// CPU time of the collector's thread as the scheduler counts it, microseconds.
fn scheduled_us() -> Result<f64, Failure> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let folder = task?.path();
        if std::fs::read_to_string(folder.join("comm"))?.trim() == "telemetry" {
            let text = std::fs::read_to_string(folder.join("schedstat"))?;
            let run_ns: f64 = text.split(' ').next().unwrap_or_default().parse()?;
            return Ok(run_ns / 1000.0);
        }
    }
    Err("the collector's thread is not there".into())
}
