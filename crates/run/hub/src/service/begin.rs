//! From what the user wrote to a hub that can run: the script is read, the server is built, the
//! ground is laid, agents are started.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cohort_agent::protocol::{BatchLimits, HostHeader, HttpSettings, Load, Submetric};
use cohort_host::cgroup::Layout;
use cohort_host::{HostBudget, budget};
use cohort_model::{At, CasePlan, Policy, ServicePlan};
use cohort_scenario::{Bundle, Script};
use cohort_schedule::{Options, Overrides};
use cohort_service::{Isolated, LogRules, Ready as SutReady, Restart, Spec, Stop};

use super::{Driver, Preview, Ready, Scenario, ServiceSetup, Sut, address};
use crate::Error;

/// How long one driver program is run when the user does not say, microseconds.
const PROGRAM_US: u64 = 60_000_000;
/// Longest time a script may compute without asking for anything, microseconds.
const COMPUTE_US_MAX: u64 = 10_000_000;
/// Bytes of one thread's journal that are always permitted, and the most that ever are: it takes seconds to
/// re-execute.
const JOURNAL_BYTES: std::ops::RangeInclusive<u64> = 4 << 20..=16 << 20;
/// Part of the memory for all that journals may take together.
const JOURNALS_PART: u64 = 64;

/// The scenario, read and checked.
pub(crate) struct Prepared {
    /// Empty when a program drives.
    pub(crate) bundle: Bundle,
    pub(crate) options: Options,
    pub(crate) base_urls: Vec<String>,
    pub(crate) notes: Vec<String>,
    /// Its threads may know something of earlier iterations.
    pub(crate) remembers: bool,
}

impl Prepared {
    /// Threads at once, at most.
    pub(crate) fn threads_max(&self) -> u32 {
        let scenarios = self.options.scenarios.iter();
        scenarios
            .map(|scenario| scenario.executor.vus_max() as u32)
            .sum()
    }

    /// How long iterations begin, microseconds; those under way then have their grace.
    fn scheduled_us(&self) -> u64 {
        let scenarios = self.options.scenarios.iter();
        let end = scenarios.map(cohort_schedule::Scenario::end_us).max();
        end.unwrap_or_default()
    }

    /// What `__ENV.BASE_URL` says where the user does not.
    pub(crate) fn base_url(&self) -> String {
        self.base_urls.first().cloned().unwrap_or_default()
    }

    /// Whether the script exports a function of this name.
    pub(crate) fn exports(&self, name: &str) -> bool {
        self.bundle.exports.iter().any(|export| export == name)
    }
}

/// Reads the script, or makes options for a program.
///
/// # Errors
/// The script or its options make no sense; the message names file and line.
pub(crate) fn prepare(scenario: &Scenario) -> Result<Prepared, Error> {
    let overrides = Overrides {
        vus: scenario.vus.map(u64::from),
        duration_us: scenario.duration_us,
        iterations: scenario.iterations,
        stages: None,
    };
    let (mut bundle, written, remembers) = match &scenario.driver {
        Driver::Script(path) => {
            let script = Script::load(path, &scenario.env)
                .map_err(|error| Error::Scenario(error.to_string()))?;
            (
                script.bundle().clone(),
                script.options(),
                script.remembers(),
            )
        }
        Driver::Program(_) => {
            let seconds = scenario.duration_us.unwrap_or(PROGRAM_US) / 1_000_000;
            let vus = scenario.vus.unwrap_or(1);
            let written = serde_json::json!({ "vus": vus, "duration": format!("{seconds}s") });
            (Bundle::default(), written, false)
        }
    };
    let options = Options::parse_with(&written, &overrides)
        .map_err(|error| Error::Scenario(in_file(&scenario.driver, &error.to_string())))?;
    bundle.options = options.told(&written).to_string();
    let mut notes = options.warnings.clone();
    let keeps_cookies = options.no_cookies_reset;
    let found = address::find(scenario.base_url.as_deref(), &bundle);
    if matches!(scenario.driver, Driver::Script(_)) {
        notes.extend(found.note);
        check_exports(&scenario.driver, &bundle, &options)?;
    }
    Ok(Prepared {
        bundle,
        options,
        base_urls: found.base_urls,
        notes,
        remembers: remembers || keeps_cookies,
    })
}

fn in_file(driver: &Driver, error: &str) -> String {
    match driver {
        Driver::Script(path) => format!("{}: {error}", path.display()),
        Driver::Program(_) => error.to_owned(),
    }
}

/// Every scenario must name a function that there is.
fn check_exports(driver: &Driver, bundle: &Bundle, options: &Options) -> Result<(), Error> {
    for scenario in &options.scenarios {
        if !bundle.exports.contains(&scenario.exec) {
            let what = format!(
                "scenario {:?} runs the function {:?}, which the script does not export; it exports {}",
                scenario.name,
                scenario.exec,
                bundle.exports.join(", ")
            );
            return Err(Error::Scenario(in_file(driver, &what)));
        }
    }
    Ok(())
}

/// What would be run.
///
/// # Errors
/// As for a run, as far as nothing has to be started for it.
pub fn preview(setup: &ServiceSetup) -> Result<Preview, Error> {
    let prepared = prepare(&setup.scenario)?;
    spec(&setup.sut, &setup.scenario.driver)?;
    let scenarios = prepared.options.scenarios.iter().map(|scenario| {
        format!(
            "{}: {}, {} threads at most",
            scenario.name,
            scenario.executor.name(),
            scenario.executor.vus_max()
        )
    });
    Ok(Preview {
        threads_max: prepared.threads_max(),
        duration_us: prepared.options.longest_us(),
        scenarios: scenarios.collect(),
        notes: prepared.notes,
    })
}

/// The server as [`cohort_service`] wants it.
///
/// # Errors
/// It makes no sense.
pub(crate) fn spec(sut: &Sut, driver: &Driver) -> Result<Spec, Error> {
    let is_called = matches!(driver, Driver::Script(_));
    let mut spec = Spec::new(sut.command.clone(), sut.directory.clone());
    spec.env = sut.env.clone().into_iter().collect();
    spec.build = sut.build.clone().unwrap_or_default();
    spec.variants.clone_from(&sut.variants);
    spec.port = sut.port;
    spec.ready = sut.ready.clone().map(|ready| match ready {
        Ready::Http { path, status } => SutReady::Http { url: path, status },
        Ready::Tcp => SutReady::Tcp,
        Ready::Log(pattern) => SutReady::LogLine { pattern },
    });
    // A script calls it, so that it is not ready before it listens.
    if spec.ready.is_none() && !spec.has_port() && is_called {
        spec.ready = Some(SutReady::Listens);
    }
    spec.ready_within = Duration::from_micros(sut.ready_timeout_us);
    spec.stop = Stop {
        signal: sut.stop_signal,
        grace: Duration::from_micros(sut.stop_grace_us),
    };
    spec.restart = Restart {
        quick_crashes_max: sut.restarts,
        ..spec.restart
    };
    spec.logs = LogRules {
        bytes_max: sut.log_bytes,
        files_max: sut.log_files,
        files: Vec::new(),
    };
    spec.network = if sut.own_network {
        Isolated::WherePermitted
    } else {
        Isolated::Never
    };
    spec.check()?;
    Ok(spec)
}

/// What this process may use.
///
/// # Errors
/// Control groups cannot be looked at.
pub(crate) fn host() -> Result<HostBudget, Error> {
    let layout = Layout::detect(Path::new("/"))?;
    Ok(budget::detect(Path::new("/"), &layout))
}

/// The second record of the log.
pub(crate) fn plan(
    setup: &ServiceSetup,
    prepared: &Prepared,
    limits_cpu: bool,
    cases: Option<CasePlan>,
) -> ServicePlan {
    ServicePlan {
        instances: setup.instances,
        cores: setup.cores,
        memory: setup.memory,
        network: setup.sut.rate.map(|rate| rate * u64::from(setup.instances)),
        policy: setup.policy,
        seed: setup.scenario.seed,
        threads_max: prepared.threads_max(),
        duration_us: prepared.scheduled_us(),
        limits_cpu: limits_cpu && setup.policy == Policy::Adaptive,
        hands_over: matches!(setup.scenario.driver, Driver::Script(_)),
        leans: !prepared.remembers && matches!(setup.scenario.driver, Driver::Script(_)),
        cases,
        helpers: setup.helpers.as_ref().map(super::ServiceHelpers::plan),
        fuzz: setup
            .fuzz
            .as_ref()
            .map(|fuzz| fuzz.plan(setup.scenario.seed)),
    }
}

/// The largest journal of one of so many threads, bytes.
fn journal_bytes_max(memory: u64, threads: u32) -> u64 {
    let each = memory / JOURNALS_PART / u64::from(threads.max(1));
    each.clamp(*JOURNAL_BYTES.start(), *JOURNAL_BYTES.end())
}

/// What every agent is told first. `epoch` is the zero of the campaign's time.
pub(crate) fn load(setup: &ServiceSetup, prepared: &Prepared, epoch: Instant) -> Load {
    let options = &prepared.options;
    let bundle = match setup.scenario.driver {
        Driver::Script(_) => Some(prepared.bundle.clone()),
        Driver::Program(_) => None,
    };
    let ago = epoch.elapsed();
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = Duration::from_nanos(cohort_agent::monotonic_ns());
    Load {
        bundle,
        start_monotonic_ns: now.saturating_sub(ago).as_nanos() as u64,
        start_wall_ms: wall.saturating_sub(ago).as_millis() as u64,
        journal_directory: std::path::PathBuf::new(),
        journal_bytes_max: journal_bytes_max(setup.memory, prepared.threads_max()),
        seed: setup.scenario.seed,
        http: http(setup, prepared),
        submetrics: options
            .submetrics()
            .into_iter()
            .map(|of| Submetric {
                name: of.name,
                metric: of.metric,
                tags: of.tags.into_iter().collect(),
            })
            .collect(),
        agent: 0,
        agents: 1,
        cases: setup.tries_cases(),
        remembers: prepared.remembers,
        compute_us_max: COMPUTE_US_MAX,
    }
}

fn http(setup: &ServiceSetup, prepared: &Prepared) -> HttpSettings {
    let options = &prepared.options;
    let usual = HttpSettings::default();
    let allow = setup.scenario.allow.iter().map(|host| {
        let host = host
            .split_once("://")
            .map_or(host.as_str(), |(_, host)| host);
        host.trim_end_matches('/').to_owned()
    });
    HttpSettings {
        base_urls: prepared.base_urls.clone(),
        hosts_allowed: allow.collect(),
        insecure: options.insecure_skip_tls_verify,
        insecure_instances: setup.sut.tls,
        // What a server makes of the name that it is called by is the same as without Cohort.
        host_header: match prepared.base_urls.as_slice() {
            [only] if only == address::ANYWHERE => HostHeader::Instance,
            _ => HostHeader::Script,
        },
        user_agent: options
            .user_agent
            .clone()
            .unwrap_or(usual.user_agent.clone()),
        batch: BatchLimits {
            total: options.batch,
            per_host: options.batch_per_host,
        },
        no_connection_reuse: options.no_connection_reuse,
        no_thread_connection_reuse: options.no_vu_connection_reuse,
        requests_per_s: options.requests_per_s,
        ..usual
    }
}

/// Microseconds since the campaign began.
pub(crate) fn at(epoch: Instant) -> At {
    at_of(epoch, Instant::now())
}

/// Campaign time at an instant.
pub(crate) fn at_of(epoch: Instant, instant: Instant) -> At {
    At(instant.duration_since(epoch).as_micros() as u64)
}
