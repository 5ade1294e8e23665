//! Instances with a network of their own, limits that change while they run, and what is left when the
//! hub is killed. All of it needs root.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cohort_host::cgroup::{IoLimit, Layout};
use cohort_host::remains;
use cohort_model::{Exit, InstanceSample, Share};
use cohort_service::{Instance, Isolated, Spec, State, What};
use support::{Hub, get_later, is_alive, needs_root, python, run, server, share, spec, until};

fn isolated(mut spec: Spec) -> Spec {
    spec.network = Isolated::Always;
    spec
}

async fn sample(instance: &Instance) -> InstanceSample {
    let (mut reader, _) = instance.reader().await.unwrap();
    let mut sample = InstanceSample::empty(instance.id());
    assert!(reader.read(&mut sample));
    sample
}

#[test]
fn two_instances_listen_on_one_port_and_do_not_reach_each_other() {
    if !needs_root("instances with a network of their own") {
        return;
    }
    run(async {
        let mut spec = isolated(server());
        spec.command[4] = "0.0.0.0".to_owned();
        spec.port = Some(8000);
        let mut hub = Hub::try_open(spec, 2).await.unwrap();
        assert!(hub.instances.isolates_network());
        let (one, first) = hub.ready(0).await;
        let (_, second) = hub.ready(1).await;
        assert_eq!((first.port(), second.port()), (8000, 8000));
        assert_ne!(first.ip(), second.ip());
        for address in [first, second] {
            assert_eq!(get_later(address, "/").await.unwrap(), b"hello");
        }
        // From within one: the host's end is there, the other instance is not, nor anything else.
        let pid = one.status().pid.unwrap();
        let hub_address = hub.instances.hub_address();
        let reached = move |address: SocketAddr| reach_from(pid, address);
        let listener = std::net::TcpListener::bind((hub_address, 0)).unwrap();
        assert!(reached(listener.local_addr().unwrap()));
        assert!(reached(first));
        assert!(!reached(second));
        assert!(!reached("192.0.2.1:80".parse().unwrap()));
        hub.close().await;
    });
}

/// Whether a connection can be made from the network that `pid` is in.
fn reach_from(pid: i32, address: SocketAddr) -> bool {
    let connect = move || {
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
    };
    std::thread::spawn(connect).join().unwrap()
}

#[test]
fn one_that_listens_on_its_loopback_address_is_reached_all_the_same() {
    if !needs_root("a server on the loopback address of its own network") {
        return;
    }
    run(async {
        let mut spec = isolated(server());
        spec.command[4] = "127.0.0.1".to_owned();
        let mut hub = Hub::open(spec).await;
        let (instance, address) = hub.ready(0).await;
        assert!(!address.ip().is_loopback());
        assert_eq!(get_later(address, "/").await.unwrap(), b"hello");
        let is_forwarded = |event: &cohort_service::Event| match event.what {
            What::Ready { forwarded, .. } => Some(forwarded),
            _ => None,
        };
        assert!(hub.seen.iter().find_map(is_forwarded).unwrap());
        // And again in its next life, when the forwarder of the first must be out of its way.
        instance.restart().await.unwrap();
        instance
            .until(|status| status.state == State::Ready && status.life == 2)
            .await
            .unwrap();
        assert_eq!(
            get_later(address, "/bytes/100000").await.unwrap().len(),
            100_000
        );
        hub.close().await;
    });
}

fn measure(address: SocketAddr, path: &str) -> (usize, Duration) {
    let begin = Instant::now();
    let body = support::get(address, path).unwrap();
    (body.len(), begin.elapsed())
}

fn send(address: SocketAddr, bytes: usize) -> Duration {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream.write_all(&vec![b'x'; bytes]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    begin.elapsed()
}

#[test]
fn the_network_limit_holds_both_ways_changes_live_and_bytes_are_counted() {
    if !needs_root("limits of a network") {
        return;
    }
    run(async {
        let mut hub = Hub::open(isolated(server())).await;
        let (instance, address) = hub.ready(0).await;
        let limit = |network| Share { network, ..share() };
        let before = sample(&instance).await;
        let download = move |bytes: usize| {
            tokio::task::spawn_blocking(move || measure(address, &format!("/bytes/{bytes}")))
        };
        let rate = |bytes: usize, time: Duration| bytes as f64 * 8.0 / time.as_secs_f64() / 1e6;

        let in_force = instance.set(limit(Some(10_000_000))).await.unwrap();
        assert_eq!(in_force.network, Some(10_000_000));
        // Never more than the limit; as much as that, once the host has time for us.
        let (mut down, mut up) = (0.0, 0.0);
        let mut tries = 0;
        while (down < 8.0 || up < 8.0) && tries < 10 {
            tries += 1;
            let (bytes, time) = download(1_250_000).await.unwrap();
            down = rate(bytes, time);
            let sending = tokio::task::spawn_blocking(move || send(address, 1_250_000));
            up = rate(1_250_000, sending.await.unwrap());
            eprintln!("limit 10 Mbit/s: {down:.2} down, {up:.2} up");
            assert!(down < 11.0 && up < 11.0, "{down} {up}");
        }
        assert!(down >= 8.0 && up >= 8.0, "{down} {up}");

        // In the middle of a transfer, which would take 8 s at the first limit.
        let transfer = download(10_000_000);
        let begun = reading(&instance);
        until("it is under way", || reading(&instance) > begun + 100_000).await;
        instance.set(limit(Some(200_000_000))).await.unwrap();
        let (bytes, time) = transfer.await.unwrap();
        assert_eq!(bytes, 10_000_000);
        assert!(time < Duration::from_secs(4), "{time:?}");
        instance.set(limit(None)).await.unwrap();
        let (bytes, time) = download(20_000_000).await.unwrap();
        let free = rate(bytes, time);
        eprintln!("no limit: {free:.0} Mbit/s");
        assert!(free > 100.0, "{free}");

        let after = sample(&instance).await;
        let sent = after.net_sent.unwrap() - before.net_sent.unwrap();
        let received = after.net_received.unwrap() - before.net_received.unwrap();
        let expected = 30_000_000 + tries * 1_250_000;
        // Heads of packets come on top, and acknowledgements.
        assert!(
            (expected..expected * 11 / 10).contains(&sent),
            "{sent} {expected}"
        );
        assert!(
            (tries * 1_250_000..tries * 2_500_000).contains(&received),
            "{received}"
        );
        hub.close().await;
    });
}

/// Bytes that the instance sent so far.
fn reading(instance: &Instance) -> u64 {
    let pid = instance.status().pid.unwrap();
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    let line = text.lines().find(|line| line.contains("eth0:")).unwrap();
    line.split_ascii_whitespace()
        .nth(9)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn the_cpu_limit_is_a_wall_that_moves() {
    if !needs_root("limits of CPU") {
        return;
    }
    run(async {
        let mut hub = Hub::open(python("while True: pass")).await;
        if !hub.instances.limits_cpu() {
            eprintln!("LEFT OUT: limits of CPU: no control groups for it");
            return hub.close().await;
        }
        let instance = hub.make(0).await;
        instance.start().await.unwrap();
        instance.until(|status| status.pid.is_some()).await.unwrap();
        instance
            .set(Share {
                cores: 0.2,
                ..share()
            })
            .await
            .unwrap();
        let narrow = used(&instance).await;
        let begun = sample(&instance).await.throttled_us;
        until_throttled(&instance, begun).await;
        instance
            .set(Share {
                cores: 0.6,
                ..share()
            })
            .await
            .unwrap();
        // Others may use the host meanwhile, so it may take a while until it gets what it may have.
        let mut wide = used(&instance).await;
        let deadline = Instant::now() + support::DEADLINE;
        while wide < 0.35 && Instant::now() < deadline {
            wide = used(&instance).await;
        }
        eprintln!("cores used at 0.2 and 0.6: {narrow:.3}, {wide:.3}");
        assert!(narrow < 0.26, "{narrow}");
        assert!((0.35..0.68).contains(&wide), "{wide}");
        hub.close().await;
    });
}

/// Cores that it uses over one second.
async fn used(instance: &Instance) -> f64 {
    // The period that is under way still has the old limit.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (begin, before) = (Instant::now(), sample(instance).await);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let after = sample(instance).await;
    (after.cpu_us - before.cpu_us) as f64 / begin.elapsed().as_micros() as f64
}

async fn until_throttled(instance: &Instance, begun_us: u64) {
    let deadline = Instant::now() + support::DEADLINE;
    while sample(instance).await.throttled_us <= begun_us {
        assert!(Instant::now() < deadline, "never held back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn the_memory_limit_kills_and_is_told_apart() {
    if !needs_root("limits of memory") {
        return;
    }
    run(async {
        let script = "import sys\n\
            print('go', flush=True)\n\
            kept = []\n\
            while True: kept.append(bytearray(1 << 20))\n";
        let mut spec = python(script);
        spec.restart.quick_crashes_max = 0;
        let mut hub = Hub::open(spec).await;
        if !hub.instances.limits_memory() {
            eprintln!("LEFT OUT: limits of memory: no control groups for it");
            return hub.close().await;
        }
        let instance = hub.make(0).await;
        let wanted = Share {
            memory: 64 << 20,
            ..share()
        };
        assert_eq!(instance.set(wanted).await.unwrap().memory, 64 << 20);
        instance.start().await.unwrap();
        let exit = hub
            .until(|event| match &event.what {
                What::Exited { exit, .. } => Some(exit.clone()),
                _ => None,
            })
            .await;
        assert_eq!(exit, Exit::OutOfMemory);
        let reason = hub.given_up().await;
        assert!(reason.contains("killed for memory"), "{reason}");
        hub.close().await;
    });
}

#[test]
fn descriptors_tasks_and_memory_of_an_instance_are_read() {
    if !needs_root("telemetry of control groups") {
        return;
    }
    run(async {
        let script = "import threading, time\n\
            files = [open('/dev/null') for _ in range(50)]\n\
            for _ in range(7): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n\
            kept = bytearray(40 << 20)\n\
            print('grown', flush=True)\n\
            time.sleep(1000)\n";
        let mut spec = python(script);
        spec.ready = Some(cohort_service::Ready::LogLine {
            pattern: "grown".to_owned(),
        });
        let mut hub = Hub::open(spec).await;
        let (instance, _) = hub.ready(0).await;
        let sample = sample(&instance).await;
        assert!(sample.open_files >= 53, "{sample:?}");
        assert!(sample.tasks >= 8, "{sample:?}");
        assert!(sample.memory_anon > 40 << 20, "{sample:?}");
        // The host may have no disk that can be limited; that is said, and no error.
        let limit = IoLimit {
            read: Some(10 << 20),
            write: Some(10 << 20),
        };
        let limited = instance.set_io(limit).await.unwrap();
        assert_eq!(instance.set_io(IoLimit::default()).await.unwrap(), limited);
        hub.close().await;
    });
}

#[test]
fn an_init_that_is_killed_is_made_anew() {
    if !needs_root("an init that is lost") {
        return;
    }
    run(async {
        let mut hub = Hub::open(isolated(server())).await;
        let (instance, _) = hub.ready(0).await;
        let status = instance.status();
        let server = status.pid.unwrap();
        let init = cohort_host::process::stat(Path::new("/"), server)
            .unwrap()
            .parent;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), nix::sys::signal::SIGKILL)
            .unwrap();
        let status = instance
            .until(|status| status.state == State::Ready && status.life == 2)
            .await
            .unwrap();
        assert!(!is_alive(server));
        let body = get_later(status.address.unwrap(), "/").await.unwrap();
        assert_eq!(body, b"hello");
        hub.close().await;
    });
}

const VICTIM: &str = "COHORT_TEST_VICTIM";

/// What the hub that is to be killed does: run as a process of its own by the test below.
#[test]
fn helper_a_hub_that_waits_to_be_killed() {
    let Ok(file) = std::env::var(VICTIM) else {
        return;
    };
    run(async {
        let script = "import os, time\n\
            if os.fork() == 0: os.setsid()\n\
            time.sleep(1000)\n";
        let mut spec = spec(&["python3", "-u", "-c", script]);
        spec.network = Isolated::WherePermitted;
        let mut hub = Hub::open(spec).await;
        let mut told = vec![hub.instances.scratch().display().to_string()];
        for number in 0..2 {
            let (instance, _) = hub.ready(number).await;
            let (mut reader, _) = instance.reader().await.unwrap();
            let mut sample = InstanceSample::empty(instance.id());
            reader.read(&mut sample);
            assert!(sample.processes >= 2, "{sample:?}");
            told.push(instance.status().pid.unwrap().to_string());
        }
        let folder = PathBuf::from(&file);
        std::fs::write(folder.with_extension("new"), told.join("\n")).unwrap();
        std::fs::rename(folder.with_extension("new"), &folder).unwrap();
        std::future::pending::<()>().await;
    });
}

#[test]
fn nothing_is_left_of_a_hub_that_was_killed() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let mut hub = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "helper_a_hub_that_waits_to_be_killed",
                "--nocapture",
            ])
            .env(VICTIM, &file)
            .env("TMPDIR", folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        until("it runs two servers", || file.exists()).await;
        let told = std::fs::read_to_string(&file).unwrap();
        let mut lines = told.lines();
        let scratch = PathBuf::from(lines.next().unwrap());
        let servers: Vec<i32> = lines.map(|line| line.parse().unwrap()).collect();
        assert_eq!(servers.len(), 2);
        assert!(servers.iter().all(|pid| is_alive(*pid)));
        let groups = groups_of(servers[0]);
        let mine = format!("cohort-{}-", hub.id());
        assert_eq!(bridges_of(hub.id()).len(), usize::from(support::is_root()));
        hub.kill().unwrap();
        hub.wait().unwrap();
        // The inits see to the processes by themselves, those that left their group included.
        until("the servers are gone", || {
            !servers.iter().any(|pid| is_alive(*pid))
        })
        .await;
        until("their children are gone", || {
            processes_in(&groups).is_empty()
        })
        .await;
        // The next start sees to the rest.
        assert!(scratch.exists());
        let layout = Layout::detect(Path::new("/")).unwrap();
        let removed = remains::clean_up(&layout, folder.path());
        assert!(removed.directories >= 1, "{removed:?}");
        assert!(!scratch.exists());
        if support::is_root() {
            // By us, or by another Cohort that started just now.
            assert!(
                groups.iter().all(|group| group.contains(&mine)),
                "{groups:?}"
            );
            assert!(!groups.iter().any(|group| Path::new(group).exists()));
            assert_eq!(bridges_of(hub.id()), Vec::<String>::new());
        } else {
            eprintln!("LEFT OUT: bridges and groups of a killed hub: need root");
        }
    });
}

/// Names of the bridges that a process made.
fn bridges_of(pid: u32) -> Vec<String> {
    std::fs::read_dir("/sys/class/net")
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with(&format!("co{pid:x}-b")))
        .collect()
}

/// Folders of the groups that a process is in.
fn groups_of(pid: i32) -> Vec<String> {
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let mounts: Vec<&str> = mounts
        .lines()
        .filter(|line| line.contains(" cgroup"))
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    own.lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .filter(|path| path.contains("cohort-"))
        .flat_map(|path| mounts.iter().map(move |mount| format!("{mount}{path}")))
        .filter(|folder| Path::new(folder).exists())
        .collect()
}

fn processes_in(groups: &[String]) -> Vec<String> {
    groups
        .iter()
        .filter_map(|group| std::fs::read_to_string(format!("{group}/cgroup.procs")).ok())
        .filter(|text| !text.trim().is_empty())
        .collect()
}
