//! Hosts that exist only as folders, for tests.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// The process that a made host takes for its own.
pub(crate) const OWN_PID: i32 = 4242;

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn host(cgroup: &str, mounts: &str) -> TempDir {
    let host = tempfile::tempdir().unwrap();
    put(host.path(), "proc/self/cgroup", cgroup);
    put(host.path(), "proc/self/mountinfo", mounts);
    put(
        host.path(),
        "proc/self/status",
        "Name:\tcohort\nCpus_allowed_list:\t0-2,5\n",
    );
    put(
        host.path(),
        "proc/meminfo",
        "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n",
    );
    host
}

/// Pure version 2; this process is alone in `own`, and every group offers `controllers`.
pub(crate) fn v2(own: &str, controllers: &str) -> TempDir {
    let host = host(
        &format!("0::{own}\n"),
        "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    );
    let mut folder = "sys/fs/cgroup".to_owned();
    let names: Vec<&str> = own.split('/').filter(|name| !name.is_empty()).collect();
    for depth in 0..=names.len() {
        if depth > 0 {
            folder = format!("{folder}/{}", names[depth - 1]);
            put(host.path(), &format!("{folder}/cgroup.type"), "domain\n");
        }
        let procs = if depth == names.len() {
            format!("{OWN_PID}\n")
        } else {
            String::new()
        };
        put(host.path(), &format!("{folder}/cgroup.procs"), &procs);
        put(
            host.path(),
            &format!("{folder}/cgroup.controllers"),
            &format!("{controllers}\n"),
        );
        put(host.path(), &format!("{folder}/cgroup.subtree_control"), "");
    }
    host
}

/// Version 1 as in a container: `cpu` and `cpuacct` in one hierarchy, `own` mounted as the root.
pub(crate) fn v1(own: &str) -> TempDir {
    let cgroup = format!(
        "9:name=systemd:{own}\n4:memory:{own}\n3:cpu,cpuacct:{own}\n2:pids:{own}\n1:blkio:{own}\n"
    );
    let mut mounts =
        format!("39 31 0:30 {own} /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n");
    for name in ["memory", "cpu,cpuacct", "pids", "blkio"] {
        mounts += &format!("32 31 0:29 {own} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n");
    }
    let host = host(&cgroup, &mounts);
    for name in ["memory", "cpu,cpuacct", "pids", "blkio", "systemd"] {
        put(
            host.path(),
            &format!("sys/fs/cgroup/{name}/cgroup.procs"),
            &format!("1\n{OWN_PID}\n"),
        );
    }
    host
}

/// Version 1 controllers, and a version 2 tree without any.
pub(crate) fn hybrid() -> TempDir {
    let host = v1("/");
    put(
        host.path(),
        "proc/self/cgroup",
        "4:memory:/\n3:cpu,cpuacct:/\n2:pids:/\n1:blkio:/\n0::/\n",
    );
    let mounts = fs::read_to_string(host.path().join("proc/self/mountinfo")).unwrap();
    let mounts = mounts + "38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    put(host.path(), "proc/self/mountinfo", &mounts);
    put(
        host.path(),
        "sys/fs/cgroup/unified/cgroup.procs",
        &format!("1\n{OWN_PID}\n"),
    );
    put(
        host.path(),
        "sys/fs/cgroup/unified/cgroup.controllers",
        "\n",
    );
    host
}
