//! A campaign of a service from its first to its last breath.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use cohort_handoff::AgentId;
use cohort_host::HostBudget;
use cohort_model::{
    Budget, CampaignStart, FORMAT, InstanceId, Isolation, LoadWindow, Record, ServiceSeen,
    SuiteKind,
};
use cohort_otlp::Receiver as OtlpReceiver;
use cohort_service::{Instances, Settings};
use cohort_store::Campaign;
use cohort_telemetry::calls::{Calls, Tracepoint};
use cohort_telemetry::{Collector, HostReader, Settings as Pace};
use tokio::sync::mpsc::{self, Receiver};

use super::ServiceSetup;
use super::agents::Agents;
use super::begin::{self, Prepared};
use super::event::{Event, Events, listen_to_signals};
use super::examples::Examples;
use super::fuzz::Fuzzing;
use super::keep::Keeping;
use super::metrics::Measured;
use super::once::Once;
use super::plan::Timetable;
use super::replicas::{CAPSULES, Replicas};
use super::script_log::ScriptLog;
use super::shell::{Hub, Phase};
use super::tally::Tally;
use super::threads::Threads;
use crate::ledger::Ledger;
use crate::{Error, Face, Outcome, runtime};
use cohort_host::chain;

/// Events that may wait for the hub.
const EVENTS_MAX: usize = 4096;
/// Between readings of the host.
const HOST_INTERVAL: Duration = Duration::from_millis(250);
/// Cores of the host for each agent.
const CORES_AN_AGENT: f64 = 2.0;
/// Where the journals of threads lie, in the campaign's directory.
const JOURNALS: &str = "journals";
/// Where the logs of instances lie.
const LOGS: &str = "logs";

/// Runs a campaign of a service to its end. `faces` is called once the campaign has a directory.
///
/// # Errors
/// Anything that keeps it from beginning; what goes wrong later is in its [`Outcome`].
pub fn run(
    setup: ServiceSetup,
    faces: impl FnOnce(&Campaign) -> Vec<Box<dyn Face>>,
) -> Result<Outcome, Error> {
    runtime()?.block_on(async move {
        let host = begin::host()?;
        let (mut hub, mut happened) = hub(setup, faces).await?;
        if let Err(error) = hub.conduct(&host, &mut happened).await {
            hub.broken.get_or_insert(chain(&error));
        }
        Ok(hub.finish().await)
    })
}

/// A hub on its ground: nothing runs yet.
///
/// # Errors
/// Anything that keeps a campaign from beginning.
pub(crate) async fn hub(
    setup: ServiceSetup,
    faces: impl FnOnce(&Campaign) -> Vec<Box<dyn Face>>,
) -> Result<(Hub, Receiver<Event>), Error> {
    let prepared = begin::prepare(&setup.scenario)?;
    let (events, happened) = mpsc::channel(EVENTS_MAX);
    listen_to_signals(&events)?;
    let host = begin::host()?;
    let campaign = setup.project.create_campaign()?;
    let ground = match lay_ground(&setup, &campaign, &host, &events).await {
        Ok(ground) => ground,
        Err(error) => {
            // What came to nothing leaves nothing.
            let _ = std::fs::remove_dir_all(campaign.path());
            return Err(error);
        }
    };
    let hub = Hub::new(setup, prepared, campaign, (ground, events), faces)?;
    Ok((hub, happened))
}

async fn lay_ground(
    setup: &ServiceSetup,
    campaign: &Campaign,
    host: &HostBudget,
    events: &Events,
) -> Result<Instances, Error> {
    let logs = campaign.path().join(LOGS);
    let capsules = campaign.path().join(CAPSULES);
    for directory in [&logs, &campaign.path().join(JOURNALS), &capsules] {
        std::fs::create_dir_all(directory).map_err(|source| Error::Host {
            what: format!("create {}", directory.display()),
            source,
        })?;
    }
    let (sender, mut receiver) = mpsc::channel(EVENTS_MAX);
    let events = events.clone();
    tokio::spawn(async move {
        while let Some(event) = receiver.recv().await {
            if events.send(Event::Instance(event)).await.is_err() {
                return;
            }
        }
    });
    let settings = Settings {
        spec: begin::spec(&setup.sut, &setup.scenario.driver)?,
        instances: setup.instances as usize,
        executable: setup.executable.clone(),
        init_arguments: vec!["instance-init".to_owned()],
        logs,
        temp_dir: std::env::temp_dir(),
        cpus: host.cpus.clone(),
    };
    Ok(Instances::open(settings, sender).await?)
}

impl Hub {
    fn new(
        setup: ServiceSetup,
        prepared: Prepared,
        campaign: Campaign,
        (ground, events): (Instances, Events),
        faces: impl FnOnce(&Campaign) -> Vec<Box<dyn Face>>,
    ) -> Result<Self, Error> {
        let epoch = Instant::now();
        let load = begin::load(&setup, &prepared, epoch);
        let ledger = Ledger::new(campaign.log_writer()?, faces(&campaign));
        let agents = Agents::new(&setup.executable, &campaign.path().join(JOURNALS), &events);
        Ok(Self {
            timetable: Timetable::new(&prepared.options, setup.scenario.seed),
            notes: prepared.notes.clone(),
            setup,
            prepared,
            ledger,
            epoch,
            events,
            ground,
            places: BTreeMap::new(),
            agents,
            slots: Vec::new(),
            load,
            threads: Threads::default(),
            tally: Tally::default(),
            measured: Measured::default(),
            collector: None,
            otlp: None,
            tracepoint: Tracepoint::find(Path::new("/")).ok(),
            cpus: Vec::new(),
            seen: Vec::new(),
            urgent: false,
            phase: Phase::Opening,
            once: Once::default(),
            exits: Vec::new(),
            left: Vec::new(),
            stopping: None,
            reports_due: BTreeSet::new(),
            stopped: None,
            broken: None,
            said: String::new(),
            script_log: ScriptLog::new(campaign.path()),
            window_began: epoch,
            stepped: epoch,
            agent_deaths: 0,
            player_deaths: 0,
            replicas: Replicas::default(),
            keeping: Keeping::default(),
            asked: super::scan::Asked::default(),
            examples: Examples::default(),
            fuzzing: Fuzzing::default(),
            out: super::helpers::Out::default(),
            to_watch: Vec::new(),
            campaign,
        })
    }

    async fn conduct(
        &mut self,
        host: &HostBudget,
        happened: &mut Receiver<Event>,
    ) -> Result<(), Error> {
        self.cpus.clone_from(&host.cpus);
        let mut missing: Vec<String> = self.ground.missing().to_vec();
        if self.setup.sut.otel {
            match OtlpReceiver::start(self.ground.hub_address()).await {
                Ok(receiver) => self.otlp = Some(receiver),
                Err(error) => {
                    missing.push(format!("no OpenTelemetry is received ({})", chain(&error)));
                }
            }
        }
        if self.tracepoint.is_none() {
            missing.push(
                "system calls are not counted: the kernel's tracepoints cannot be read".to_owned(),
            );
        }
        let started = self.start_record(missing);
        self.ledger.add(Record::Started(started));
        self.collector = Some(self.start_collector(host)?);
        let agents = (host.cores / CORES_AN_AGENT).floor().max(1.0) as u32;
        let agents = agents.min(self.setup.instances);
        self.load.agents = agents;
        for _ in 0..agents {
            let agent = self.agents.start(&self.load)?;
            self.slots.push(AgentId(agent));
        }
        if self.setup.tries_cases() {
            let player = self.agents.start(&self.load)?;
            self.replicas.player = Some(AgentId(player));
        }
        self.run(happened).await
    }

    fn start_record(&self, missing: Vec<String>) -> CampaignStart {
        let setup = &self.setup;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        CampaignStart {
            format: FORMAT,
            campaign: self.campaign.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            suite: SuiteKind::Service,
            command: setup.sut.command.clone(),
            directory: relative(&setup.sut.directory, setup.project.root()),
            unix_s: now.map_or(0, |since| since.as_secs()),
            preparing_us: 0,
            budget: Budget {
                cores: setup.cores,
                memory: setup.memory,
                instances: setup.instances,
                timeout_us: 0,
                stall_us: 0,
                holds_memory: self.ground.limits_memory(),
            },
            policy: setup.policy,
            isolation: Isolation {
                net: self.ground.isolates_network(),
                ..Isolation::default()
            },
            missing,
            strict: false,
        }
    }

    fn start_collector(&self, host: &HostBudget) -> Result<Collector, Error> {
        let interval = Duration::from_secs_f64(1.0 / self.setup.hz);
        let pace = Pace {
            instance_interval: interval,
            host_interval: HOST_INTERVAL.max(interval),
            epoch: self.epoch,
            start: cohort_model::At(0),
        };
        let reader = HostReader::new(
            Path::new("/"),
            self.ground.reader(),
            &host.cpus,
            self.ground.scratch(),
        );
        let events = self.events.clone();
        let ring = Box::new(move |batch| events.try_send(Event::Samples(Box::new(batch))).is_ok());
        Ok(Collector::start(pace, reader, ring)?)
    }

    /// Variables of one instance that have to do with Cohort.
    pub(crate) fn environment(&self, instance: InstanceId) -> Vec<(String, String)> {
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let given = self
            .setup
            .sut
            .env
            .get(name)
            .cloned()
            .or_else(|| std::env::var(name).ok());
        let ours = self
            .otlp
            .as_ref()
            .map(|receiver| receiver.environment(instance, self.campaign.name(), given.as_deref()));
        let is_ours = |key: &str| key == name || !self.setup.sut.env.contains_key(key);
        ours.unwrap_or_default()
            .into_iter()
            .filter(|(key, _)| is_ours(key))
            .collect()
    }

    /// From now on an instance is read, counted and listened to.
    pub(crate) async fn watch(&mut self, id: InstanceId) {
        let Some(instance) = self.ground.get(id).cloned() else {
            return;
        };
        if self.replicas.is_one(id)
            && let Ok((reader, _)) = instance.reader().await
        {
            self.replicas.read_by(id, reader);
        }
        if let (Some(collector), Ok((reader, groups))) = (&self.collector, instance.reader().await)
        {
            collector.watch(id, reader, instance.scratch().to_owned());
            if let (Some(tracepoint), Some(place)) = (self.tracepoint, self.places.get_mut(&id))
                && let Ok(calls) = Calls::open(tracepoint, &groups, &self.cpus)
            {
                place.count(calls);
            }
        }
        if let Some(receiver) = &self.otlp {
            receiver.watch(id, None);
        }
    }

    /// The address that an instance sends from is known once it is ready.
    pub(crate) fn heard_from(&self, id: InstanceId, address: IpAddr) {
        if let Some(receiver) = self
            .otlp
            .as_ref()
            .filter(|_| self.ground.isolates_network())
        {
            receiver.watch(id, Some(address));
        }
    }

    /// What instances said of themselves in this window.
    pub(crate) fn add_spans(&mut self, windows: &mut [LoadWindow]) {
        let Some(receiver) = &self.otlp else {
            return;
        };
        for complaint in receiver.take_complaints() {
            self.ledger.note(&complaint.sentence);
        }
        for told in receiver.take(self.now()) {
            let exceptions: Vec<_> = told
                .exceptions
                .iter()
                .map(|one| super::spans::exception(told.instance, one))
                .collect();
            if !exceptions.is_empty() {
                self.seen.push(ServiceSeen::Excepted { exceptions });
            }
            if let Some(window) = windows
                .iter_mut()
                .find(|window| window.instance == told.instance)
            {
                window.spans = told
                    .operations
                    .iter()
                    .map(super::spans::operation)
                    .collect();
                let metrics = told.metrics.iter().take(super::spans::METRICS_MAX);
                window.metrics = metrics.map(super::spans::metric).collect();
            }
        }
    }
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root)
        .map_or_else(|_| String::new(), |path| path.display().to_string())
}
