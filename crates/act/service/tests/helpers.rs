//! Helpers beside an instance: in its network, in groups of their own, and gone without a trace.

mod support;

use std::net::SocketAddr;
use std::path::Path;

use cohort_host::init::Ended;
use cohort_model::InstanceId;
use cohort_service::{Errand, Isolated};
use support::{Hub, needs_root, run, server, until};

/// Visits one after the other; in the end there is as much as at first.
const VISITS: u32 = 200;
/// Another number of them, for measurements.
const VISITS_VARIABLE: &str = "COHORT_TEST_VISITS";

fn errand(deployment: u32, directory: &Path, command: &[&str]) -> Errand {
    Errand {
        deployment,
        instance: InstanceId(0),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        directory: directory.to_owned(),
        path: std::env::var_os("PATH").unwrap(),
        network_of: None,
        cores: 1.0,
        memory: 64 << 20,
        output: 1 << 20,
    }
}

async fn visit(hub: &Hub, errand: Errand) -> Ended {
    let mut helper = hub.instances.helpers().start(errand).await.unwrap();
    let ended = helper.ended().await.unwrap();
    assert_eq!(helper.end().await, Vec::<String>::new());
    ended
}

fn said(ended: &Ended) -> String {
    String::from_utf8_lossy(&ended.stdout).trim().to_owned()
}

#[test]
fn it_reaches_what_its_instance_reaches() {
    if !needs_root("a helper in the network of its instance") {
        return;
    }
    run(async {
        let mut spec = server();
        spec.network = Isolated::Always;
        let mut hub = Hub::open(spec).await;
        let (instance, address) = hub.ready(0).await;
        let directory = tempfile::tempdir().unwrap();
        let look = "import os, sys, urllib.request; \
                    print(os.readlink('/proc/self/ns/net'), urllib.request.urlopen(sys.argv[1]).read().decode())";
        let port = address.port();
        // By the loopback address, which only those in its network reach.
        let own = SocketAddr::from(([127, 0, 0, 1], port));
        let url = format!("http://{own}/");
        let mut errand = errand(0, directory.path(), &["python3", "-c", look, &url]);
        let pid = instance.status().pid.unwrap();
        errand.network_of = Some(pid);
        let ended = visit(&hub, errand).await;
        let network = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        assert_eq!(
            said(&ended),
            format!("{} hello", network.display()),
            "{ended:?}"
        );
        hub.close().await;
    });
}

#[test]
fn hundreds_of_visits_leave_nothing_not_even_what_forked_away() {
    run(async {
        let mut hub = Hub::open(server()).await;
        hub.ready(0).await;
        let directory = tempfile::tempdir().unwrap();
        let before = open_files();
        let visits = std::env::var(VISITS_VARIABLE).ok();
        let visits = visits.map_or(VISITS, |it| it.parse().unwrap());
        for number in 0..visits {
            let script = "setsid sleep 1000 & echo $!";
            let command = ["sh", "-c", script];
            let ended = visit(&hub, errand(number, directory.path(), &command)).await;
            let pid: i32 = said(&ended).parse().unwrap();
            assert!(
                !support::is_alive(pid),
                "what visit {number} started still runs"
            );
        }
        // Other tests of this process open and close files meanwhile.
        let more = open_files().saturating_sub(before);
        assert!(more < visits as usize / 2, "{more} files more are open");
        // Groups that were left would keep that of the campaign from being removed.
        hub.close().await;
    });
}

#[test]
fn one_that_is_withdrawn_while_it_runs_is_gone() {
    run(async {
        let mut hub = Hub::open(server()).await;
        hub.ready(0).await;
        let directory = tempfile::tempdir().unwrap();
        let told = directory.path().join("pid");
        let script = "trap '' TERM INT; echo $$ > pid; while :; do sleep 0.01; done";
        let errand = errand(0, directory.path(), &["sh", "-c", script]);
        let helper = hub.instances.helpers().start(errand).await.unwrap();
        until("it runs", || read(&told).ends_with('\n')).await;
        let pid: i32 = read(&told).trim().parse().unwrap();
        assert_eq!(helper.end().await, Vec::<String>::new());
        assert!(!support::is_alive(pid));
        hub.close().await;
    });
}

#[test]
fn one_that_takes_more_memory_than_it_may_is_killed_and_not_its_instance() {
    if !needs_root("a memory limit of a helper") {
        return;
    }
    run(async {
        let mut hub = Hub::open(server()).await;
        let (_, address) = hub.ready(0).await;
        let directory = tempfile::tempdir().unwrap();
        let script = "x = bytearray(512 << 20); print(len(x))";
        let ended = visit(
            &hub,
            errand(0, directory.path(), &["python3", "-c", script]),
        )
        .await;
        assert_eq!(ended.signal, Some(9), "{ended:?}");
        assert_eq!(support::get_later(address, "/").await.unwrap(), b"hello");
        hub.close().await;
    });
}

#[test]
fn a_program_that_is_not_there_is_named_and_leaves_nothing() {
    run(async {
        let mut hub = Hub::open(server()).await;
        hub.ready(0).await;
        let directory = tempfile::tempdir().unwrap();
        let errand = errand(0, directory.path(), &["no-such-program"]);
        let error = hub.instances.helpers().start(errand).await.unwrap_err();
        let error = cohort_host::chain(&error);
        assert!(error.contains("no-such-program"), "{error}");
        hub.close().await;
    });
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
