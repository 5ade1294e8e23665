//! Finding the tests: building and listing for suites of processes, a live collector for pytest.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use cohort_host::cgroup::Layout;
use cohort_host::init::FromInit;
use cohort_host::{HostBudget, budget};
use cohort_model::{Allotment, Budget, InstanceId, Plan, ThreadId};
use cohort_orchestrator::Orchestrator;
use cohort_workload::pytest::protocol::{FromPython, Role};
use cohort_workload::pytest::{self, Pytest};
use cohort_workload::{Discovery, Launches, Show, Stop, Suite};
use tokio::net::UnixListener;
use tokio::sync::mpsc::{self, Receiver};

use crate::cases::Cases;
use crate::event::{EVENTS_MAX, Event, Events, accept_python, listen_to_signals};
use crate::ground::{Ground, Wanted};
use crate::instance::Instance;
use crate::python::{COLLECTOR, Python, WORKER_THREAD};
use crate::threads::order_start;
use crate::{Error, Preview, Setup};

/// How the tests of a campaign are run.
pub(crate) enum Runner {
    Processes(Launches),
    Python(Box<Python>),
}

/// A campaign that is ready to begin.
pub(crate) struct Discovered {
    pub(crate) setup: Setup,
    pub(crate) plan: Plan,
    pub(crate) budget: Budget,
    pub(crate) host: HostBudget,
    pub(crate) notes: Vec<String>,
    pub(crate) show: Show,
    /// How long finding them took.
    pub(crate) prepared: Duration,
    pub(crate) ground: Ground,
    pub(crate) runner: Runner,
    /// pytest's collector, or spare ones.
    pub(crate) instances: Instances,
    pub(crate) events: Events,
    pub(crate) happened: Receiver<Event>,
}

impl Discovered {
    pub(crate) async fn preview(self) -> Preview {
        let policy = self.setup.policy;
        let orchestrator = Orchestrator::new(self.budget, policy, self.plan.clone(), 0);
        let tests = 0..self.plan.tests.len() as u32;
        let estimates = tests
            .map(|test| orchestrator.estimate(cohort_model::TestId(test)))
            .collect();
        let missing = self.ground.missing.clone();
        self.ground.clear(self.instances, Vec::new()).await;
        Preview {
            plan: self.plan,
            estimates,
            budget: self.budget,
            host: self.host,
            notes: self.notes,
            missing,
        }
    }
}

/// Instances that are made while the tests are still being found, so that the first ones need not wait
/// for theirs.
const SPARES: u32 = 12;
/// Memory that they may use until they are asked for, bytes.
const SPARE_BYTES: u64 = 64 << 20;

/// Finds the tests. `look_only`: nothing is going to run.
pub(crate) async fn discover(mut setup: Setup, look_only: bool) -> Result<Discovered, Error> {
    let since = Instant::now();
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    listen_to_signals(&events)?;
    let (ground, budget, host) = stand(&setup, &events)?;
    let found = match setup.suite.clone() {
        Suite::Pytest(suite) => {
            let resumed = setup.resume.is_some();
            // One in which what fails is tried again.
            let most = u32::from(setup.cases.is_some() && !look_only);
            let mut spares = spares(&setup, &ground, most.min(budget.instances));
            let list = (&events, &mut happened);
            match collected(suite, resumed, (&ground, &mut spares), list).await {
                Ok(mut found) => {
                    found.instances.append(&mut spares);
                    Ok(found)
                }
                Err((error, mut instances)) => {
                    instances.append(&mut spares);
                    Err((error, instances))
                }
            }
        }
        suite => {
            let most = if look_only {
                0
            } else {
                SPARES.min(budget.instances)
            };
            let mut spares = spares(&setup, &ground, most);
            let listed = listed(
                suite,
                &mut setup,
                (&ground, &mut spares),
                look_only,
                &mut happened,
            );
            match listed.await {
                Ok(found) => Ok(Found {
                    instances: spares,
                    ..found
                }),
                Err(error) => Err((error, spares)),
            }
        }
    };
    let known = found.and_then(|mut found| match know(&setup, &ground, &mut found.plan) {
        Ok(()) => {
            let asked = setup.cases.as_ref().is_some_and(Cases::is_stress);
            let weak = asked.then(cohort_conditions::weak).flatten();
            found.notes.extend(weak.map(str::to_owned));
            Ok(found)
        }
        Err(error) => Err((error, found.instances)),
    });
    match known {
        Ok(found) => Ok(Discovered {
            setup,
            plan: found.plan,
            budget,
            host,
            notes: found.notes,
            show: found.show,
            prepared: since.elapsed(),
            ground,
            runner: found.runner,
            instances: found.instances,
            events,
            happened,
        }),
        Err((error, instances)) => {
            ground.clear(instances, Vec::new()).await;
            Err(error)
        }
    }
}

/// What was found.
struct Found {
    plan: Plan,
    notes: Vec<String>,
    show: Show,
    runner: Runner,
    /// pytest's collector, or spare ones.
    instances: Instances,
}

/// Begins to make `most` instances, under the numbers that will be asked for first.
fn spares(setup: &Setup, ground: &Ground, most: u32) -> Instances {
    let first = setup.resume.as_ref().map_or(0, |(_, past)| past.next_id);
    let allotment = Allotment {
        cpu_weight: 100,
        memory: SPARE_BYTES,
    };
    (first..first + most)
        .map(InstanceId)
        // What cannot be made now is tried again when it is asked for.
        .filter_map(|id| Some((id, ground.open(id, &allotment, true).ok()?)))
        .collect()
}

/// Takes a spare instance into use as far as that can be done before it is asked for.
async fn prepare_spare(ground: &Ground, spares: &mut Instances, event: Event) {
    match event {
        Event::Made(id) => {
            if let Some(spare) = spares.get_mut(&id)
                && ground.enter(id, spare).await.is_err()
            {
                discard(spares, id).await;
            }
        }
        Event::Init(id, message) => match *message {
            FromInit::Ready { .. } => {
                if let Some(spare) = spares.get_mut(&id) {
                    spare.ready = true;
                }
            }
            _ => discard(spares, id).await,
        },
        Event::InitGone(id, _) => discard(spares, id).await,
        _ => {}
    }
}

/// A spare that came to nothing is as if it had never been.
async fn discard(spares: &mut Instances, id: InstanceId) {
    if let Some(spare) = spares.remove(&id) {
        // Its name must be free again before it is asked for.
        let _ = spare.close(id).await;
    }
}

/// Adds what earlier campaigns tell of the tests of `plan`.
fn know(setup: &Setup, ground: &Ground, plan: &mut Plan) -> Result<(), Error> {
    plan.history = setup.project.history().of(setup.suite.kind(), plan)?;
    if let Some((_, past)) = &setup.resume {
        plan.concluded = past.results_for(plan);
    }
    plan.cases = match &setup.cases {
        Some(cases) => Some(cases.plan(setup, ground, plan)?),
        None => None,
    };
    Ok(())
}

/// Builds and lists a suite of processes, in a thread of its own, so that it can be stopped.
async fn listed(
    suite: Suite,
    setup: &mut Setup,
    (ground, spares): (&Ground, &mut Instances),
    look_only: bool,
    happened: &mut Receiver<Event>,
) -> Result<Found, Error> {
    let stop = Stop::default();
    let (scratch, home) = (ground.scratch.clone(), setup.project.home().to_owned());
    let mut progress = std::mem::replace(&mut setup.progress, Box::new(|_| ()));
    let stopped = stop.clone();
    let mut listing = tokio::task::spawn_blocking(move || {
        let mut discovery = Discovery {
            scratch: &scratch,
            home: &home,
            stop: &stopped,
            look_only,
            progress: &mut progress,
        };
        match suite {
            Suite::Cargo(mut cargo) => cargo.discover(&mut discovery),
            Suite::Exec(mut exec) => exec.discover(&mut discovery),
            Suite::Pytest(_) => unreachable!("pytest is collected by a process of its own"),
        }
    });
    let listed = loop {
        tokio::select! {
            listed = &mut listing => break listed,
            event = happened.recv() => match event {
                Some(Event::Stop) | None => {
                    let stop = stop.clone();
                    tokio::task::spawn_blocking(move || stop.stop());
                }
                Some(event) => prepare_spare(ground, spares, event).await,
            },
        }
    };
    let listed = listed.map_err(|error| Error::Host {
        what: "list the tests".to_owned(),
        source: error.into(),
    })?;
    let listed = listed.map_err(|error| match error {
        cohort_workload::Error::Stopped => Error::Stopped,
        error => error.into(),
    })?;
    Ok(Found {
        plan: listed.plan,
        notes: listed.notes,
        show: listed.show,
        runner: Runner::Processes(listed.launches),
        instances: Instances::new(),
    })
}

/// Has pytest's collector list the tests; it stays, to fork workers.
async fn collected(
    suite: Pytest,
    resumed: bool,
    (ground, spares): (&Ground, &mut Instances),
    (events, happened): (&Events, &mut Receiver<Event>),
) -> Result<Found, Failed> {
    let (python, instance) = collect(suite, (ground, spares), (events, happened)).await?;
    let list = python
        .collected
        .as_ref()
        .expect("the collector has answered");
    let mut notes = list.notes.clone();
    if !python.forks {
        let why = list
            .why_not
            .clone()
            .unwrap_or_else(|| "of its isolation".to_owned());
        notes.push(format!(
            "each instance collects the tests anew, since {why}"
        ));
    }
    if resumed {
        notes.push(
            "reports of pytest itself tell only of what was run since the campaign was resumed"
                .to_owned(),
        );
    }
    Ok(Found {
        plan: Plan {
            costly_instances: !python.forks,
            ..pytest::plan(list)
        },
        notes,
        show: if list.live { Show::All } else { Show::Failed },
        runner: Runner::Python(Box::new(python)),
        instances: Instances::from([(COLLECTOR, instance)]),
    })
}

/// Makes the ground, within what the host and the budget allow.
fn stand(setup: &Setup, events: &Events) -> Result<(Ground, Budget, HostBudget), Error> {
    let layout = Layout::detect(Path::new("/"))?;
    let mut host = budget::detect(Path::new("/"), &layout);
    // A part of the host: only as many CPUs, so that tests do not take the rest for theirs.
    let partial = (setup.budget.cores < host.cores).then_some(setup.budget.cores);
    if let Some(cores) = partial {
        host.cpus = budget::some_cpus(&host.cpus, cores, std::process::id());
    }
    let wanted = Wanted {
        cpus: partial.map_or_else(Vec::new, |_| host.cpus.clone()),
        executable: setup.executable.clone(),
        isolation: setup.isolation,
        visible: visible(setup),
        events: events.clone(),
    };
    let ground = Ground::prepare(layout, wanted)?;
    let budget = Budget {
        holds_memory: ground.holds_memory(),
        instances: setup.budget.instances.min(ground.instances_max()),
        ..setup.budget
    };
    ground.limit(budget.memory, partial);
    Ok((ground, budget, host))
}

/// What a private `/tmp` must not hide: the project, this program, and what the environment names.
fn visible(setup: &Setup) -> Vec<std::path::PathBuf> {
    let mut paths = vec![setup.root.clone(), setup.executable.clone()];
    let named = ["VIRTUAL_ENV", "CARGO_TARGET_DIR"];
    paths.extend(
        named
            .into_iter()
            .filter_map(std::env::var_os)
            .map(Into::into),
    );
    let programs = std::env::var_os("PATH").unwrap_or_default();
    paths.extend(std::env::split_paths(&programs));
    let temporary = std::env::temp_dir();
    paths.retain(|path| path.is_absolute() && path.exists());
    paths.retain(|path| path.starts_with(&temporary) || path.starts_with("/tmp"));
    paths
}

/// Instances by their number.
pub(crate) type Instances = BTreeMap<InstanceId, Instance>;

type Failed = (Error, Instances);

/// Starts pytest's collector and waits for its list.
async fn collect(
    suite: Pytest,
    (ground, spares): (&Ground, &mut Instances),
    (events, happened): (&Events, &mut Receiver<Event>),
) -> Result<(Python, Instance), Failed> {
    let mut python = prepare(suite, ground, events).map_err(|error| (error, Instances::new()))?;
    let allotment = Allotment {
        cpu_weight: 100,
        memory: u64::MAX >> 1,
    };
    let mut instance = ground
        .open(COLLECTOR, &allotment, true)
        .map_err(|error| (error, Instances::new()))?;
    if let Err(error) = ground.enter(COLLECTOR, &mut instance).await {
        return Err((error, Instances::from([(COLLECTOR, instance)])));
    }
    let launch = python
        .suite
        .collector_launch(&python.start_with(&instance.scratch));
    let order = order_start(ThreadId(WORKER_THREAD), launch, (&instance.scratch, 0));
    if let Err(error) = instance.tell(&order).await {
        return Err((error, Instances::from([(COLLECTOR, instance)])));
    }
    match listen(&mut python, (ground, spares), happened).await {
        Ok(()) => {
            let isolated = ground.isolation != cohort_model::Isolation::default();
            let forkable = python.collected.as_ref().is_some_and(|list| list.forkable);
            python.forks = forkable && !isolated;
            Ok((python, instance))
        }
        Err(error) => Err((error, Instances::from([(COLLECTOR, instance)]))),
    }
}

fn prepare(suite: Pytest, ground: &Ground, events: &Events) -> Result<Python, Error> {
    let socket = ground.shared.join("s");
    let failed = |what: &str| {
        let what = format!("{what} {}", socket.display());
        move |source| Error::Host { what, source }
    };
    let listener = UnixListener::bind(&socket).map_err(failed("listen on"))?;
    tokio::spawn(accept_python(listener, events.clone()));
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut random))
        .map_err(failed("make a token for"))?;
    Ok(Python {
        suite,
        token: random.iter().map(|byte| format!("{byte:02x}")).collect(),
        plugin_dir: Pytest::plugin_write(&ground.shared)?,
        socket,
        collected: None,
        collector: None,
        forks: false,
        workers: BTreeMap::new(),
        connections: HashMap::new(),
        behind: HashMap::new(),
        names: Vec::new(),
        next_worker: 0,
    })
}

async fn listen(
    python: &mut Python,
    (ground, spares): (&Ground, &mut Instances),
    happened: &mut Receiver<Event>,
) -> Result<(), Error> {
    loop {
        let event = happened.recv().await.unwrap_or(Event::Stop);
        match event {
            Event::Made(id) | Event::Init(id, _) | Event::InitGone(id, _) if id != COLLECTOR => {
                prepare_spare(ground, spares, event).await;
            }
            Event::Stop => return Err(Error::Stopped),
            Event::PythonCame(connection, stream) => {
                python.connections.insert(connection, stream);
            }
            Event::Python(connection, message) => match *message {
                FromPython::Hello(hello)
                    if hello.role == Role::Collector && hello.token == python.token =>
                {
                    python.collector = Some(connection);
                    python.behind.insert(connection, None);
                }
                FromPython::Collected(list) if python.collector == Some(connection) => {
                    let stopped = list.stopped;
                    python.names = pytest::plan(&list)
                        .tests
                        .into_iter()
                        .map(|test| test.name)
                        .collect();
                    let empty = list.tests.is_empty();
                    python.collected = Some(list);
                    if !stopped && !empty {
                        return Ok(());
                    }
                }
                _ => {}
            },
            Event::Init(_, message) => match *message {
                FromInit::Ended(ended) => {
                    return Err(pytest::Error::of_collector(
                        ended.exit_code,
                        ended.signal,
                        &ended.stdout,
                        &ended.stderr,
                    )
                    .into());
                }
                FromInit::StartFailed { message, .. } => {
                    let missing = message.contains("(os error 2)");
                    return Err(cohort_workload::Error::Start {
                        program: python.suite.command().remove(0),
                        source: if missing {
                            std::io::ErrorKind::NotFound.into()
                        } else {
                            std::io::Error::other(message)
                        },
                    }
                    .into());
                }
                FromInit::SetupFailed { message } => {
                    return Err(Error::Host {
                        what: message,
                        source: std::io::ErrorKind::Other.into(),
                    });
                }
                FromInit::Ready { .. } | FromInit::Started { .. } => {}
            },
            Event::InitGone(_, why) => {
                return Err(Error::Host {
                    what: format!("run pytest's collector: {why}"),
                    source: std::io::ErrorKind::Other.into(),
                });
            }
            _ => {}
        }
    }
}
