//! `cohort run` beside a `cohort.toml` that names a server.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use cohort_hub::service as hub;
use cohort_hub::{Face, Outcome};
use cohort_model::{At, Ending, Record};
use cohort_report::sarif::sarif;
use cohort_report::service::{Lines, ServiceSummary, ServiceView, frame, page};
use cohort_report::words;
use cohort_store::Campaign;
use console::Term;

use crate::arguments::{Progress, RunFlags};
use crate::config::service::{Driver, Ready, Service};
use crate::config::{Fuzz, Resolved};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{EventFile, JunitFile};
use crate::run::Place;
use crate::terminal::Frame;
use crate::{faces, helpers, past, say};

/// Lines of a live frame at most.
const FRAME_LINES_MAX: usize = 16;
/// The report with pictures, in the campaign's directory.
const PAGE: &str = "report.html";

type Shared = Rc<RefCell<ServiceView>>;

/// Runs it, or says what would be run.
pub(crate) fn run(
    place: &Place,
    service: &Service,
    resolved: &Resolved,
    (flags, color): (&RunFlags, bool),
) -> Result<Exit, Failure> {
    let executable = std::env::current_exe().map_err(|source| Failure::File {
        action: "find this program's own file, that of",
        path: PathBuf::from("/proc/self/exe"),
        source,
    })?;
    let setup = setup(place, service, resolved, executable)?;
    if flags.dry_run {
        let preview = hub::preview(&setup)?;
        say::print(|out| write_preview(&setup, &preview, out))?;
        return Ok(Exit::Passed);
    }
    let events = resolved
        .events
        .as_deref()
        .map(EventFile::open)
        .transpose()?;
    let junit = resolved.junit.as_deref().map(JunitFile::open).transpose()?;
    let view = Shared::default();
    let shared = Rc::clone(&view);
    let outcome = hub::run(setup, |_| {
        let screen = screen(&shared, flags.faces.progress, color);
        let mut all: Vec<Box<dyn Face>> = vec![screen];
        if let Some(events) = events {
            all.push(Box::new(events));
        }
        all
    })?;
    let view = Rc::unwrap_or_clone(view).into_inner();
    for line in outcome.notes.iter() {
        say::note(line);
    }
    for left in &outcome.left {
        say::note(format_args!("could not clean up: {left}"));
    }
    if !outcome.said.is_empty() {
        say::print(|out| out.write_all(outcome.said.as_bytes()))?;
    }
    write_page(&view, &outcome.campaign)?;
    let summed_up = write_summary(&view, &outcome.campaign, (&place.root, false), color);
    if let Some(junit) = junit {
        junit.write_service(&view)?;
    }
    summed_up?;
    Ok(exit(&view, &outcome))
}

/// Plays a kept edge case again.
pub(crate) fn again(
    place: &Place,
    service: &Service,
    resolved: &Resolved,
    repeat: &hub::ServiceRepeat,
) -> Result<hub::ServiceRepeated, Failure> {
    let setup = setup_again(place, service, resolved)?;
    Ok(hub::repeat(setup, repeat, |_, _| {})?)
}

/// A shell beside the server of a case; gives what could not be removed, in words.
pub(crate) fn sit(
    place: &Place,
    service: &Service,
    resolved: &Resolved,
    (repeat, seat): (&hub::ServiceRepeat, hub::ServiceSeat),
) -> Result<Vec<String>, Failure> {
    let setup = setup_again(place, service, resolved)?;
    let (_, left) = hub::sit(setup, repeat, seat)?;
    Ok(left)
}

fn setup_again(
    place: &Place,
    service: &Service,
    resolved: &Resolved,
) -> Result<hub::ServiceSetup, Failure> {
    let executable = std::env::current_exe().map_err(|source| Failure::File {
        action: "find this program's own file, that of",
        path: PathBuf::from("/proc/self/exe"),
        source,
    })?;
    let mut setup = setup(place, service, resolved, executable)?;
    setup.instances = 1;
    setup.helpers = None;
    Ok(setup)
}

/// Headers with what variables of the environment stand for: secrets are in no file then.
fn headers(written: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, Failure> {
    let one = |(name, value): (&String, &String)| {
        let Some(variable) = value.strip_prefix('$') else {
            return Ok((name.clone(), value.clone()));
        };
        match std::env::var(variable) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => Err(Failure::Unset {
                key: format!("helpers.scan.headers.{name}"),
                variable: variable.to_owned(),
            }),
        }
    };
    written.iter().map(one).collect()
}

fn setup(
    place: &Place,
    service: &Service,
    resolved: &Resolved,
    executable: PathBuf,
) -> Result<hub::ServiceSetup, Failure> {
    let service = service.clone();
    let cores = resolved.budget.cores;
    let scan = resolved.scan.as_ref();
    let headers = scan.map(|scan| headers(&scan.headers)).transpose()?;
    let scan = scan.map(|scan| hub::ServiceScan {
        listens: scan.listens.clone(),
        connects: scan.connects.clone(),
        headers: headers.unwrap_or_default(),
        advisories: scan.advisories.as_ref().map(|path| place.root.join(path)),
        roots: roots(&place.root, &service.directory),
    });
    let program = service.command.first().cloned();
    let helpers = resolved
        .helpers
        .as_ref()
        .map(|rules| helpers::for_campaign(&place.root, program.as_deref(), (rules, scan), cores));
    Ok(hub::ServiceSetup {
        project: place.project.clone(),
        root: place.root.clone(),
        sut: hub::Sut {
            command: service.command,
            build: service.build,
            variants: service.variants,
            directory: service.directory,
            env: service.env,
            port: service.port,
            ready: service.ready.map(|ready| match ready {
                Ready::Http { path, status } => hub::Ready::Http { path, status },
                Ready::Tcp => hub::Ready::Tcp,
                Ready::Log(text) => hub::Ready::Log(text),
            }),
            ready_timeout_us: service.ready_timeout_us,
            stop_signal: service.stop_signal,
            stop_grace_us: service.stop_grace_us,
            restarts: service.restarts,
            own_network: service.own_network,
            tls: service.tls,
            rate: service.rate,
            log_bytes: service.log_bytes,
            log_files: service.log_files,
            otel: service.otel,
        },
        instances: service.instances,
        cases: resolved.cases.as_ref().map(|cases| hub::ServiceCases {
            share: cases.share,
            after_us: cases.after_us,
        }),
        fuzz: resolved
            .fuzz
            .as_ref()
            .map(|wanted| fuzz(place, wanted))
            .transpose()?,
        helpers: helpers.transpose()?,
        scenario: hub::Scenario {
            driver: match service.driver {
                Driver::Script(path) => hub::Driver::Script(path),
                Driver::Program(words) => hub::Driver::Program(words),
            },
            base_url: service.base_url,
            allow: service.allow,
            env: service.script_env,
            vus: service.vus,
            duration_us: service.duration_us,
            iterations: service.iterations,
            seed: service.seed,
        },
        cores: resolved.budget.cores,
        memory: resolved.budget.memory,
        policy: resolved.policy,
        hz: resolved.hz,
        executable,
    })
}

/// Where lock files may be: the project's directory and the server's.
fn roots(root: &Path, directory: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_owned(), directory.to_owned()];
    all.dedup();
    all
}

/// What is changed, with the description of the API if there is one.
fn fuzz(place: &Place, wanted: &Fuzz) -> Result<hub::ServiceFuzz, Failure> {
    let openapi = wanted.openapi.as_ref().map(|path| {
        let path = place.root.join(path);
        let text = std::fs::read_to_string(&path).map_err(|source| Failure::Named {
            action: "read the description of the API, `openapi` in [fuzz], from",
            path: path.clone(),
            source,
        })?;
        let read = cohort_draft::openapi_as_json(&text);
        read.map_err(|source| Failure::Draft { path, source })
    });
    Ok(hub::ServiceFuzz {
        time_us: wanted.time_us,
        openapi: openapi.transpose()?,
    })
}

fn write_preview(
    setup: &hub::ServiceSetup,
    preview: &hub::Preview,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(
        out,
        "{} of `{}` in {}",
        words::counted(u64::from(setup.instances), "instance"),
        setup.sut.command.join(" "),
        setup.sut.directory.display()
    )?;
    writeln!(
        out,
        "budget for all: {:.2} cores, {}",
        setup.cores,
        words::bytes(setup.memory)
    )?;
    let driver = match &setup.scenario.driver {
        hub::Driver::Script(path) => format!("the script {}", path.display()),
        hub::Driver::Program(words) => format!("the program `{}`", words.join(" ")),
    };
    writeln!(
        out,
        "driven by {driver}: {} at most, {} at most",
        words::counted(u64::from(preview.threads_max), "thread"),
        words::duration(preview.duration_us)
    )?;
    for scenario in &preview.scenarios {
        writeln!(out, "  {scenario}")?;
    }
    for line in &preview.notes {
        writeln!(out, "note: {line}")?;
    }
    Ok(())
}

/// A campaign as far as its log goes.
pub(crate) fn view(campaign: &Campaign) -> Result<ServiceView, Failure> {
    let mut view = ServiceView::default();
    for record in campaign.log_reader()? {
        view.apply(&record?);
    }
    Ok(view)
}

/// Writes the report with pictures into the campaign's directory.
pub(crate) fn write_page(view: &ServiceView, campaign: &Campaign) -> Result<(), Failure> {
    let security = sarif(view.weaknesses.iter(), view.cases.values());
    past::write_sarif(security, campaign)?;
    let path = campaign.path().join(PAGE);
    std::fs::write(&path, page(view)).map_err(|source| Failure::File {
        action: "write the report",
        path,
        source,
    })
}

pub(crate) fn write_summary(
    view: &ServiceView,
    campaign: &Campaign,
    (root, running): (&Path, bool),
    color: bool,
) -> Result<(), Failure> {
    let summary = ServiceSummary {
        view,
        directory: &past::directory(campaign, root),
        running,
        width: faces::columns(),
        color,
    };
    say::print(|out| summary.write(out))
}

fn exit(view: &ServiceView, outcome: &Outcome) -> Exit {
    match outcome.end.ending {
        Ending::Broken => Exit::Host,
        Ending::Interrupted => Exit::Interrupted,
        Ending::Complete if view.faults().next().is_some() || !view.failures().is_empty() => {
            Exit::Failed
        }
        Ending::Complete => Exit::Passed,
    }
}

fn screen(view: &Shared, kind: Progress, color: bool) -> Box<dyn Face> {
    let term = Term::stderr();
    let view = Rc::clone(view);
    match kind {
        Progress::Live => Box::new(Live::new(view, term, color)),
        Progress::Auto if faces::is_live(&term) => Box::new(Live::new(view, term, color)),
        Progress::None => Box::new(Silent(view)),
        Progress::Auto | Progress::Plain => Box::new(Plain {
            view,
            lines: Lines::new(color),
        }),
    }
}

struct Silent(Shared);

impl Face for Silent {
    fn see(&mut self, record: &Record) {
        self.0.borrow_mut().apply(record);
    }

    fn note(&mut self, line: &str) {
        say::note(line);
    }
}

struct Plain {
    view: Shared,
    lines: Lines,
}

impl Face for Plain {
    fn see(&mut self, record: &Record) {
        self.view.borrow_mut().apply(record);
        for line in self.lines.after(&self.view.borrow(), record) {
            say::line(line);
        }
    }

    fn note(&mut self, line: &str) {
        say::note(line);
    }
}

struct Live {
    view: Shared,
    lines: Lines,
    frame: Frame,
    color: bool,
    started: Instant,
}

impl Live {
    fn new(view: Shared, term: Term, color: bool) -> Self {
        Self {
            view,
            lines: Lines::new(color),
            frame: Frame::new(term, FRAME_LINES_MAX),
            color,
            started: Instant::now(),
        }
    }

    fn draw(&mut self, above: &[String]) {
        let (width, height) = self.frame.room();
        let view = self.view.borrow();
        let now = At(self.started.elapsed().as_micros() as u64);
        let lines = frame(&view, view.at().max(now), width, height, self.color);
        self.frame.draw(above, &lines);
    }
}

impl Face for Live {
    fn see(&mut self, record: &Record) {
        self.view.borrow_mut().apply(record);
        let above = self.lines.after(&self.view.borrow(), record);
        if !above.is_empty() {
            self.draw(&above);
        }
        if matches!(record, Record::Ended(_)) {
            self.frame.clear();
        }
    }

    fn tick(&mut self) {
        self.draw(&[]);
    }

    fn note(&mut self, line: &str) {
        self.frame.clear();
        say::note(line);
    }
}
