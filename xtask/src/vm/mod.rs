//! The tests of control groups on a kernel that has only version 2 of them, all controllers switched
//! on: a virtual machine without hardware support, so that it runs anywhere.
//!
//! ```text
//! cargo test --no-run -> test binaries -+
//! busybox, their libraries -------------+-> initramfs -> qemu, Debian's kernel -> serial line
//! ```
//!
//! Debian's cloud kernel, qemu and busybox are installed where that is allowed; where they cannot be
//! had, it is said why, and nothing is tested.

mod initramfs;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::run;
use initramfs::Initramfs;

/// Debian packages that bring the machine and its programs.
const PACKAGES: [&str; 2] = ["qemu-system-x86", "busybox-static"];
/// Debian package that names the kernel's package.
const KERNEL: &str = "linux-image-cloud-amd64";
const QEMU: &str = "qemu-system-x86_64";
const BUSYBOX: &str = "busybox";
/// What the scripts of some tests need beyond it.
const SHELL: &str = "bash";

/// The test programs that have something to do with the kernel.
const TESTS: [&str; 4] = ["groups", "init", "adapting", "bad_input"];

/// A test that moves more bytes than an emulated processor should.
const TOO_MUCH: &str = "a_gigabyte_of_output_is_bounded";

/// Memory of the machine, MiB.
const MEMORY_MIB: u32 = 3072;
/// The whole run may take this long.
const TIME_MAX: Duration = Duration::from_secs(900);

/// The machine has come up, and has run everything.
const READY: &str = "== ready";
const DONE: &str = "== done";

/// Runs the tests and hands each line that they print to `see`.
///
/// # Errors
/// In words, why they could not be run or did not come to their end.
pub(crate) fn test(mut see: impl FnMut(&str)) -> Result<(), String> {
    let work = run::target_dir().join("vm");
    let kernel = tools(&work)?;
    let programs = programs().map_err(|error| error.to_string())?;
    let image = work.join("initramfs");
    write_image(&image, &programs).map_err(|error| error.to_string())?;
    boot(&kernel, &image, &mut see)
}

/// Finds or installs what the machine is made of. Gives the kernel.
fn tools(work: &Path) -> Result<PathBuf, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the machine is made for x86-64 alone".to_owned());
    }
    let there = || run::exists(QEMU) && which(BUSYBOX).is_some_and(|path| is_static(&path));
    if !there() {
        eprintln!("installing {}", PACKAGES.join(" and "));
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "-qq", "--no-install-recommends"]);
        let installed = run::output(Command::new("apt-get").args(["update", "-qq"]))
            .and_then(|_| run::output(install.args(PACKAGES)));
        if !there() {
            let why = installed.map_or_else(|error| error.to_string(), |_| "still absent".into());
            return Err(format!(
                "{QEMU} or a static {BUSYBOX} cannot be had ({why})"
            ));
        }
    }
    kernel(work).map_err(|error| format!("Debian's kernel cannot be had ({error})"))
}

/// The kernel image, unpacked from its package when it is not there yet.
fn kernel(work: &Path) -> Result<PathBuf, Error> {
    let folder = work.join("kernel");
    if let Some(kernel) = kernel_in(&folder) {
        return Ok(kernel);
    }
    run::remove_dir(&folder)?;
    run::make_dir(&folder)?;
    let names = run::output(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let package = names
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .unwrap_or(KERNEL);
    run::output(
        Command::new("apt-get")
            .args(["download", "-qq", package])
            .current_dir(&folder),
    )?;
    let unpack = "for deb in *.deb; do dpkg-deb -x \"$deb\" .; done; rm -f *.deb";
    run::output(Command::new("sh").args(["-c", unpack]).current_dir(&folder))?;
    kernel_in(&folder).ok_or_else(|| Error::File {
        path: folder.join("boot"),
        action: "found to hold a kernel",
        source: std::io::ErrorKind::NotFound.into(),
    })
}

fn kernel_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder.join("boot")).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("vmlinuz"))
}

/// The programs that are to be in the machine, where they are here.
struct Programs {
    tests: Vec<PathBuf>,
    others: Vec<PathBuf>,
}

/// Builds the test programs, and the programs that they start.
fn programs() -> Result<Programs, Error> {
    let mut build = run::cargo();
    build.args(["test", "--no-run", "--message-format", "json", "--quiet"]);
    build.args(["-p", "cohort", "-p", "cohort-host"]);
    let messages = run::output(&mut build)?;
    let mut programs = Programs {
        tests: Vec::new(),
        others: Vec::new(),
    };
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    for message in messages {
        let Some(executable) = message["executable"].as_str() else {
            continue;
        };
        let name = message["target"]["name"].as_str().unwrap_or_default();
        let is_test = message["profile"]["test"] == true;
        if is_test && TESTS.contains(&name) {
            programs.tests.push(executable.into());
        } else if !is_test {
            programs.others.push(executable.into());
        }
    }
    Ok(programs)
}

fn write_image(path: &Path, programs: &Programs) -> Result<(), Error> {
    let failed = |source| Error::File {
        path: path.to_path_buf(),
        action: "written",
        source,
    };
    let script = script(&programs.tests);
    let mut image = Initramfs::create(path).map_err(failed)?;
    for folder in ["proc", "sys", "dev", "tmp", "etc", "root", "run"] {
        image.folder(Path::new(folder)).map_err(failed)?;
    }
    let busybox = which(BUSYBOX).unwrap_or_default();
    image.file("bin/busybox", &busybox).map_err(failed)?;
    let applets = run::output(Command::new(&busybox).arg("--list"))?;
    for applet in applets
        .lines()
        .filter(|name| ![BUSYBOX, SHELL].contains(name))
    {
        let link = format!("bin/{applet}");
        image.link(&link, "/bin/busybox").map_err(failed)?;
    }
    image.link("usr/bin", "/bin").map_err(failed)?;
    let shell = which(SHELL).map(|path| path.canonicalize().unwrap_or(path));
    if let Some(shell) = &shell {
        let name = Path::new("bin").join(SHELL);
        image.file(&name.to_string_lossy(), shell).map_err(failed)?;
    }
    let programs = programs.tests.iter().chain(&programs.others);
    for program in programs.clone() {
        image.same(program).map_err(failed)?;
    }
    let mut libraries = BTreeSet::new();
    for program in programs.chain(&shell) {
        libraries.extend(libraries_of(program)?);
    }
    for library in &libraries {
        image.same(library).map_err(failed)?;
    }
    let users = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n";
    image.text("etc/passwd", users, 0o644).map_err(failed)?;
    image.text("init", &script, 0o755).map_err(failed)?;
    image.finish().map_err(failed)
}

/// The first process of the machine.
fn script(tests: &[PathBuf]) -> String {
    let mut script = format!(
        "#!/bin/sh\n\
         export PATH=/bin HOME=/root RUST_BACKTRACE=0\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         mkdir -p /dev/shm; mount -t tmpfs tmp /dev/shm; mount -t tmpfs tmp /tmp; chmod 1777 /tmp\n\
         mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         ip link set lo up\n\
         cd /tmp\n\
         echo '{READY}'; uname -r; cat /sys/fs/cgroup/cgroup.controllers\n"
    );
    for test in tests {
        // One at a time: an emulated processor is slow enough.
        let test = test.display();
        let _ = writeln!(script, "{test} --test-threads 1 --skip {TOO_MUCH} 2>&1");
    }
    let _ = writeln!(script, "echo '{DONE}'; poweroff -f");
    script
}

/// The dynamic loader and the libraries that a program needs.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = run::output(Command::new("ldd").arg(program))?;
    let paths = list
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from);
    Ok(paths.collect())
}

fn boot(kernel: &Path, image: &Path, see: &mut impl FnMut(&str)) -> Result<(), String> {
    let started = Instant::now();
    let mut qemu = Command::new("timeout");
    qemu.arg("--kill-after=5")
        .arg(TIME_MAX.as_secs().to_string());
    qemu.args([
        QEMU,
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
        "-smp",
        "2",
    ]);
    qemu.args([
        "-m",
        &MEMORY_MIB.to_string(),
        "-nographic",
        "-no-reboot",
        "-nic",
        "none",
    ]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1"]);
    qemu.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = qemu.spawn().map_err(|error| format!("{QEMU}: {error}"))?;
    let (mut ready, mut done, mut last) = (false, false, String::new());
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            ready |= line.ends_with(READY);
            done |= line == DONE;
            if ready {
                see(line);
            }
            line.clone_into(&mut last);
        }
    }
    let ended = child.wait().map_err(|error| format!("{QEMU}: {error}"))?;
    if done {
        return Ok(());
    }
    Err(format!(
        "the machine stopped before its end, after {:.0} s with {ended}; the last it said: {last}",
        started.elapsed().as_secs_f64()
    ))
}

/// Where a program is.
fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Whether a program needs no libraries.
fn is_static(program: &Path) -> bool {
    run::output(Command::new("ldd").arg(program)).is_err()
}
