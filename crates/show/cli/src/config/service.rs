//! `[sut]` and `[scenario]`: a server, and who calls it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use cohort_hub::service::Variant;

use super::command::CommandLine;
use super::raw::{File, Size, Time};
use super::{Error, Place};
use crate::arguments::RunFlags;

const READY_TIMEOUT_US: u64 = 60_000_000;
const STOP_GRACE_US: u64 = 10_000_000;
const RESTARTS: u32 = 5;
const LOG_BYTES: u64 = 16 << 20;
const LOG_FILES: u32 = 4;
/// Instances at most, where the user does not say.
const INSTANCES_DEFAULT: (u32, u32) = (2, 8);
const INSTANCES_MAX: u32 = 256;

/// `[sut]`: the software under test as a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawSut {
    pub(crate) command: Option<Spanned<CommandLine>>,
    pub(crate) build: Option<Spanned<CommandLine>>,
    pub(crate) variants: BTreeMap<String, Spanned<RawVariant>>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) port: Option<Spanned<u16>>,
    pub(crate) instances: Option<Spanned<u32>>,
    pub(crate) ready: Option<Spanned<RawReady>>,
    pub(crate) stop: RawStop,
    pub(crate) restarts: Option<u32>,
    pub(crate) network: Option<RawNetwork>,
    pub(crate) tls: Option<bool>,
    pub(crate) rate: Option<Spanned<String>>,
    pub(crate) log: RawLog,
    pub(crate) otel: Option<bool>,
}

/// `sut.variants.NAME`: another build of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { build = \"make asan\", command = [\"./server-asan\", \"{port}\"] }"
)]
pub(crate) struct RawVariant {
    pub(crate) command: Option<Spanned<CommandLine>>,
    pub(crate) build: Option<Spanned<CommandLine>>,
    pub(crate) env: BTreeMap<String, String>,
}

/// `sut.ready`: when it may be called.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { http = \"/health\" }"
)]
pub(crate) struct RawReady {
    pub(crate) http: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) tcp: Option<bool>,
    pub(crate) log: Option<String>,
    pub(crate) timeout: Option<Time>,
}

/// `sut.stop`: how it is ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { signal = \"TERM\" }"
)]
pub(crate) struct RawStop {
    pub(crate) signal: Option<Spanned<String>>,
    pub(crate) grace: Option<Time>,
}

/// `sut.log`: how much of its output is kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { size = \"16MiB\" }"
)]
pub(crate) struct RawLog {
    pub(crate) size: Option<Size>,
    pub(crate) files: Option<u32>,
}

/// `sut.network`: of its own, or that of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawNetwork {
    Own,
    Host,
}

/// `[scenario]`: who calls it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(crate) struct RawScenario {
    pub(crate) script: Option<Spanned<PathBuf>>,
    pub(crate) driver: Option<Spanned<CommandLine>>,
    pub(crate) base_url: Option<Spanned<String>>,
    pub(crate) allow: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) vus: Option<u32>,
    pub(crate) duration: Option<Time>,
    pub(crate) iterations: Option<u64>,
    pub(crate) seed: Option<u64>,
}

/// When an instance may be called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ready {
    /// A request to this path is answered with this status, or with any below 400.
    Http { path: String, status: Option<u16> },
    /// Its port takes connections.
    Tcp,
    /// A line of its log holds this.
    Log(String),
}

/// Who calls.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Driver {
    /// A k6 script.
    Script(PathBuf),
    /// A program of the user's, in this directory.
    Program(Vec<String>),
}

/// A campaign of a service, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub(crate) command: Vec<String>,
    pub(crate) build: Option<Vec<String>>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) directory: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) port: Option<u16>,
    pub(crate) instances: u32,
    pub(crate) ready: Option<Ready>,
    pub(crate) ready_timeout_us: u64,
    pub(crate) stop_signal: i32,
    pub(crate) stop_grace_us: u64,
    pub(crate) restarts: u32,
    pub(crate) own_network: bool,
    pub(crate) tls: bool,
    pub(crate) rate: Option<u64>,
    pub(crate) log_bytes: u64,
    pub(crate) log_files: u32,
    pub(crate) otel: bool,
    pub(crate) driver: Driver,
    pub(crate) base_url: Option<String>,
    pub(crate) allow: Vec<String>,
    pub(crate) script_env: BTreeMap<String, String>,
    pub(crate) vus: Option<u32>,
    pub(crate) duration_us: Option<u64>,
    pub(crate) iterations: Option<u64>,
    pub(crate) seed: u64,
}

/// The service that `file` and the flags name, if they name one.
///
/// # Errors
/// With the place, when a value is missing or makes no sense.
pub(crate) fn resolve(
    file: Option<&File>,
    flags: &RunFlags,
    cores: f64,
) -> Result<Option<Service>, Error> {
    let Some(file) = file.filter(|file| names_service(file) && flags.command.is_empty()) else {
        return no_service(flags);
    };
    only_of_a_suite(flags)?;
    let wrong = |place: Place, what: String| Err(Error::Wrong { place, what });
    let (sut, scenario) = (&file.raw.sut, &file.raw.scenario);
    let start = Place::in_file(&file.path, &file.text, 0);
    let Some(command) = &sut.command else {
        let what = "[sut] needs `command`: what starts the server, such as [\"./server\", \"--port\", \"{port}\"]";
        return wrong(start, what.to_owned());
    };
    if let Some(suite) = &file.raw.suite.command {
        let what = "both [sut] and [suite] name what to run: leave one out, or name the suite's command after `cohort run --`";
        return wrong(file.place(suite), what.to_owned());
    }
    let words = not_empty(file, command, "sut.command")?;
    let (low, high) = INSTANCES_DEFAULT;
    let asked = flags
        .instances
        .or_else(|| sut.instances.as_ref().map(|count| *count.get_ref()));
    if let Some(count) = asked.filter(|count| !(1..=INSTANCES_MAX).contains(count)) {
        let place = match (&sut.instances, flags.instances) {
            (Some(written), None) => file.place(written),
            _ => Place::Flag("--instances"),
        };
        return Err(Error::OutOfRange {
            place,
            key: "sut.instances",
            value: count.to_string(),
            range: format!("1 to {INSTANCES_MAX}"),
        });
    }
    if flags.vus.or(scenario.vus) == Some(0) {
        let place = match flags.vus {
            Some(_) => Place::Flag("--vus"),
            None => start,
        };
        return Err(Error::OutOfRange {
            place,
            key: "scenario.vus",
            value: "0".to_owned(),
            range: "at least 1".to_owned(),
        });
    }
    let (ready, ready_timeout_us) = ready(file, sut)?;
    Ok(Some(Service {
        command: words,
        build: match &sut.build {
            Some(build) => Some(not_empty(file, build, "sut.build")?),
            None => None,
        },
        variants: variants(file, sut)?,
        directory: sut
            .directory
            .as_ref()
            .map_or_else(|| file.root().to_owned(), |path| file.root().join(path)),
        env: sut.env.clone(),
        port: sut.port.as_ref().map(|port| *port.get_ref()),
        instances: asked.unwrap_or((cores.ceil() as u32).clamp(low, high)),
        ready,
        ready_timeout_us,
        stop_signal: signal(file, sut)?,
        stop_grace_us: sut.stop.grace.map_or(STOP_GRACE_US, |Time(us)| us),
        restarts: sut.restarts.unwrap_or(RESTARTS),
        own_network: sut.network != Some(RawNetwork::Host),
        tls: sut.tls.unwrap_or(false),
        rate: rate(file, sut)?,
        log_bytes: sut.log.size.map_or(LOG_BYTES, |Size(bytes)| bytes),
        log_files: sut.log.files.unwrap_or(LOG_FILES).max(1),
        otel: sut.otel.unwrap_or(true),
        driver: driver(file, scenario, flags, start)?,
        base_url: base_url(file, scenario)?,
        allow: scenario.allow.clone(),
        script_env: scenario.env.clone(),
        vus: flags.vus.or(scenario.vus),
        duration_us: flags.duration.or(scenario.duration.map(|Time(us)| us)),
        iterations: flags.iterations.or(scenario.iterations),
        seed: flags.seed.or(scenario.seed).unwrap_or(1),
    }))
}

/// Other builds, in the order of their names.
fn variants(file: &File, sut: &RawSut) -> Result<Vec<Variant>, Error> {
    let one = |(name, written): (&String, &Spanned<RawVariant>)| {
        let raw = written.get_ref();
        let key = format!("sut.variants.{name}");
        // Without either it would be the same build.
        if raw.command.is_none() && raw.env.is_empty() {
            return Err(Error::Wrong {
                place: file.place(written),
                what: format!(
                    "{key} needs `command`, what starts this build, such as [\"./server-{name}\", \"{{port}}\"]; or `env`"
                ),
            });
        }
        let command = raw.command.as_ref().or(sut.command.as_ref());
        let words = |words: Option<&Spanned<CommandLine>>, key: &str| {
            words.map_or(Ok(Vec::new()), |it| not_empty(file, it, key))
        };
        Ok(Variant {
            name: name.clone(),
            command: words(command, &format!("{key}.command"))?,
            build: words(raw.build.as_ref(), &format!("{key}.build"))?,
            env: raw.env.clone().into_iter().collect(),
        })
    };
    sut.variants.iter().map(one).collect()
}

fn names_service(file: &File) -> bool {
    let (sut, scenario) = (&file.raw.sut, &file.raw.scenario);
    sut.command.is_some() || scenario.script.is_some() || scenario.driver.is_some()
}

/// Flags that only a suite knows are not swallowed by a service.
fn only_of_a_suite(flags: &RunFlags) -> Result<(), Error> {
    let given = [
        ("--strict", flags.strict),
        ("--timeout", flags.timeout.is_some()),
        ("--stall", flags.stall.is_some()),
        ("--isolate", !flags.isolate.is_empty()),
        ("--stress", flags.stress.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Error::Wrong {
            place: Place::Flag(flag),
            what: "only a suite knows it, and cohort.toml names a server; leave it out".to_owned(),
        }),
        None => Ok(()),
    }
}

/// Flags that only a service knows are not swallowed by a suite.
fn no_service(flags: &RunFlags) -> Result<Option<Service>, Error> {
    let given = [
        ("--vus", flags.vus.is_some()),
        ("--duration", flags.duration.is_some()),
        ("--iterations", flags.iterations.is_some()),
        ("--seed", flags.seed.is_some()),
        ("--script", flags.script.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Error::Wrong {
            place: Place::Flag(flag),
            what: "only a campaign of a service knows it; write a cohort.toml with `[sut] command = [...]` and `[scenario] script = \"...\"`"
                .to_owned(),
        }),
        None => Ok(None),
    }
}

fn not_empty(file: &File, words: &Spanned<CommandLine>, key: &str) -> Result<Vec<String>, Error> {
    let CommandLine(given) = words.get_ref();
    match given.first() {
        Some(first) if !first.trim().is_empty() => Ok(given.clone()),
        _ => Err(Error::Wrong {
            place: file.place(words),
            what: format!("{key} is empty; write a command"),
        }),
    }
}

fn ready(file: &File, sut: &RawSut) -> Result<(Option<Ready>, u64), Error> {
    let Some(written) = &sut.ready else {
        return Ok((None, READY_TIMEOUT_US));
    };
    let raw = written.get_ref();
    let mut ways = Vec::new();
    if let Some(path) = &raw.http {
        ways.push(Ready::Http {
            path: if path.starts_with('/') {
                path.clone()
            } else {
                format!("/{path}")
            },
            status: raw.status,
        });
    }
    if raw.tcp == Some(true) {
        ways.push(Ready::Tcp);
    }
    if let Some(text) = &raw.log {
        ways.push(Ready::Log(text.clone()));
    }
    if sut.tls == Some(true) && matches!(ways[..], [Ready::Http { .. }]) {
        return Err(Error::Wrong {
            place: file.place(written),
            what: "sut.ready.http is asked without TLS, and sut.tls is true; wait for tcp or a line of its log"
                .to_owned(),
        });
    }
    if ways.len() > 1 {
        return Err(Error::Wrong {
            place: file.place(written),
            what: "sut.ready names more than one way; keep one of http, tcp, log".to_owned(),
        });
    }
    let timeout_us = raw.timeout.map_or(READY_TIMEOUT_US, |Time(us)| us);
    Ok((ways.pop(), timeout_us))
}

fn signal(file: &File, sut: &RawSut) -> Result<i32, Error> {
    let Some(written) = &sut.stop.signal else {
        return Ok(nix::sys::signal::Signal::SIGTERM as i32);
    };
    let name = written.get_ref().to_uppercase();
    let full = if name.starts_with("SIG") {
        name
    } else {
        format!("SIG{name}")
    };
    full.parse::<nix::sys::signal::Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| Error::Wrong {
            place: file.place(written),
            what: format!(
                "{:?} is no signal; expected one such as \"TERM\", \"INT\" or \"QUIT\"",
                written.get_ref()
            ),
        })
}

/// `100Mbit` and the like, as bits in a second.
fn rate(file: &File, sut: &RawSut) -> Result<Option<u64>, Error> {
    let Some(written) = &sut.rate else {
        return Ok(None);
    };
    let text = written.get_ref().trim().to_lowercase();
    let digits = text
        .trim_end_matches(|c: char| c.is_alphabetic())
        .trim_end();
    let unit = match text[digits.len()..].trim() {
        "bit" => Some(1.0),
        "kbit" => Some(1e3),
        "mbit" => Some(1e6),
        "gbit" => Some(1e9),
        _ => None,
    };
    let number = digits.parse::<f64>().ok().filter(|number| *number > 0.0);
    match (number, unit) {
        (Some(number), Some(unit)) if number * unit >= 8_000.0 => Ok(Some((number * unit) as u64)),
        _ => Err(Error::Wrong {
            place: file.place(written),
            what: format!(
                "{:?} is no rate; expected one such as \"100Mbit\", of at least 8kbit",
                written.get_ref()
            ),
        }),
    }
}

fn driver(
    file: &File,
    scenario: &RawScenario,
    flags: &RunFlags,
    start: Place,
) -> Result<Driver, Error> {
    if let Some(script) = &flags.script {
        return Ok(Driver::Script(script.clone()));
    }
    match (&scenario.script, &scenario.driver) {
        (Some(script), None) => {
            let path = file.root().join(script.get_ref());
            if path.is_file() {
                return Ok(Driver::Script(path));
            }
            Err(Error::Wrong {
                place: file.place(script),
                what: format!("there is no script {}", path.display()),
            })
        }
        (None, Some(words)) => Ok(Driver::Program(not_empty(file, words, "scenario.driver")?)),
        (Some(_), Some(words)) => Err(Error::Wrong {
            place: file.place(words),
            what: "[scenario] names both a script and a driver; keep one".to_owned(),
        }),
        (None, None) => Err(Error::Wrong {
            place: start,
            what: "a server is named, but not who calls it: add [scenario] with script = \"load.js\" (a k6 script; \
                   `cohort script from-openapi FILE` or `from-har FILE` writes a first one) or driver = [\"python\", \"drive.py\"]"
                .to_owned(),
        }),
    }
}

fn base_url(file: &File, scenario: &RawScenario) -> Result<Option<String>, Error> {
    let Some(written) = &scenario.base_url else {
        return Ok(None);
    };
    let text = written.get_ref().trim_end_matches('/');
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() => Ok(Some(text.to_owned())),
        _ => Err(Error::Wrong {
            place: file.place(written),
            what: format!(
                "{:?} is no address; expected one such as \"http://localhost:8080\", as the script writes it",
                written.get_ref()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;

    fn with(text: &str, flags: &RunFlags) -> Result<Option<Service>, String> {
        let file = parse("/nowhere/cohort.toml".into(), text.to_owned())
            .map_err(|error| error.to_string())?;
        resolve(Some(&file), flags, 2.0).map_err(|error| error.to_string())
    }

    fn refused(text: &str) -> String {
        with(text, &RunFlags::default()).expect_err("must be refused")
    }

    const WHOLE: &str = r#"
        [sut]
        command = ["./server", "--port", "{port}"]
        build = "make server"
        directory = "srv"
        env = { DB = "{scratch}/db" }
        port = 8080
        instances = 3
        ready = { http = "health", status = 204, timeout = "5s" }
        stop = { signal = "int", grace = "2s" }
        restarts = 1
        network = "host"
        rate = "10Mbit"
        log = { size = "1MiB", files = 2 }
        otel = false
        [scenario]
        driver = "python drive.py"
        base_url = "http://localhost:8080/"
        allow = ["https://auth.example"]
        env = { USERS = "3" }
        vus = 5
        duration = "30s"
        seed = 9
    "#;

    #[test]
    fn every_key() {
        let service = with(WHOLE, &RunFlags::default()).unwrap().unwrap();
        assert_eq!(service.command, ["./server", "--port", "{port}"]);
        assert_eq!(
            service.build,
            Some(vec!["make".to_owned(), "server".to_owned()])
        );
        assert_eq!(service.directory, Path::new("/nowhere/srv"));
        assert_eq!(
            (service.port, service.instances, service.restarts),
            (Some(8080), 3, 1)
        );
        let ready = Ready::Http {
            path: "/health".to_owned(),
            status: Some(204),
        };
        assert_eq!(
            (service.ready, service.ready_timeout_us),
            (Some(ready), 5_000_000)
        );
        assert_eq!((service.stop_signal, service.stop_grace_us), (2, 2_000_000));
        assert_eq!(
            (service.own_network, service.rate, service.otel),
            (false, Some(10_000_000), false)
        );
        assert_eq!((service.log_bytes, service.log_files), (1 << 20, 2));
        assert_eq!(
            service.driver,
            Driver::Program(vec!["python".to_owned(), "drive.py".to_owned()])
        );
        assert_eq!(service.base_url.as_deref(), Some("http://localhost:8080"));
        assert_eq!(
            (service.vus, service.duration_us, service.seed),
            (Some(5), Some(30_000_000), 9)
        );
    }

    #[test]
    fn flags_win_and_a_typed_command_is_a_suite() {
        let flags = RunFlags {
            vus: Some(7),
            seed: Some(3),
            instances: Some(4),
            ..RunFlags::default()
        };
        let service = with(WHOLE, &flags).unwrap().unwrap();
        assert_eq!(
            (service.vus, service.seed, service.instances),
            (Some(7), 3, 4)
        );
        let typed = RunFlags {
            command: vec!["pytest".to_owned()],
            ..RunFlags::default()
        };
        assert_eq!(with(WHOLE, &typed), Ok(None));
        assert_eq!(with("", &RunFlags::default()), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_names_its_place() {
        let sut = "[sut]\ncommand = 'x'\n";
        let cases = [
            (sut.to_owned(), "but not who calls it"),
            (
                "[scenario]\ndriver = 'x'".to_owned(),
                "[sut] needs `command`",
            ),
            (
                format!("{sut}[scenario]\nscript = 'nowhere.js'"),
                "cohort.toml:4:10: there is no script /nowhere/nowhere.js",
            ),
            (
                format!("{sut}stop = {{ signal = 'HALT' }}\n[scenario]\ndriver = 'x'"),
                "\"HALT\" is no signal",
            ),
            (
                format!("{sut}rate = '10'\n[scenario]\ndriver = 'x'"),
                "\"10\" is no rate",
            ),
            (
                format!("{sut}tls = true\nready = {{ http = '/up' }}\n[scenario]\ndriver = 'x'"),
                "wait for tcp or a line of its log",
            ),
            (
                format!("{sut}ready = {{ tcp = true, log = 'up' }}\n[scenario]\ndriver = 'x'"),
                "more than one way",
            ),
            (
                format!("{sut}[scenario]\ndriver = 'x'\nscript = 'y'"),
                "both a script and a driver",
            ),
            (
                format!("{sut}[scenario]\ndriver = 'x'\nbase_url = 'localhost'"),
                "is no address",
            ),
            (
                format!("{sut}instances = 0\n[scenario]\ndriver = 'x'"),
                "cohort.toml:3:13: sut.instances is 0; expected 1 to 256",
            ),
            (
                "[sut]\ncommand = ''\n[scenario]\ndriver = 'x'".to_owned(),
                "sut.command is empty",
            ),
            (format!("{sut}raedy = {{}}"), "did you mean `ready`?"),
            (
                format!("{sut}[sut.variants.asan]\nbuild = 'make asan'\n[scenario]\ndriver = 'x'"),
                "sut.variants.asan needs `command`",
            ),
            (
                format!("{sut}[sut.variants.asan]\ncomand = 'x'\n[scenario]\ndriver = 'x'"),
                "did you mean `command`?",
            ),
            (
                format!("{sut}[suite]\ncommand = 'pytest'\n[scenario]\ndriver = 'x'"),
                "both [sut] and [suite]",
            ),
        ];
        for (text, said) in cases {
            let error = refused(&text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn flags_of_a_service_need_one() {
        let flags = RunFlags {
            vus: Some(1),
            ..RunFlags::default()
        };
        let error = with("", &flags).expect_err("must be refused");
        assert!(
            error.starts_with("--vus: only a campaign of a service"),
            "{error}"
        );
    }
}
