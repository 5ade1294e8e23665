//! `cohort run` and `cohort resume`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use cohort_host::cgroup::Layout;
use cohort_host::{HostBudget, budget, remains};
use cohort_hub::{Cases, Face, Outcome, Past, Preview, Seat, Setup, Show, Work};
use cohort_model::{CampaignStart, Ending, SuiteKind};
use cohort_report::{View, words};
use cohort_store::{Campaign, Project};
use cohort_workload::{Progress, Request, SuiteConfig, project_root, pytest, recognize};

use crate::arguments::{self, Faces, RunFlags};
use crate::config::{self, EdgeCases, File, Means, Resolved};
use crate::exit::Exit;
use crate::faces::{self, Shared};
use crate::failure::Failure;
use crate::report::{EventFile, JunitFile};
use crate::{case, harness, past, say, service};

/// Tests that a dry run names, longest first.
const DRY_RUN_NAMED: usize = 20;
/// Edge cases in a summary at the end of a campaign.
const CASES_SUMMED_UP: usize = 10;

/// Where a command works, and with what.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) project: Project,
    file: Option<File>,
}

impl Place {
    /// Where a new campaign runs. A command that was typed runs where it was typed, as it would
    /// without Cohort; what `cohort.toml` says, in this directory or above within its project, is run
    /// where that is. Its record is kept where `cohort.toml` is, else in the root of the project that
    /// the directory belongs to.
    fn new(directory: &Path, typed: bool) -> Result<Self, Failure> {
        let project = project_root(directory);
        let file = config::load(directory, project.as_deref())?;
        let beside = file.as_ref().map(File::root);
        let root = beside.filter(|_| !typed).unwrap_or(directory).to_owned();
        let home = beside.map(Path::to_owned).or(project);
        Ok(Self {
            project: Project::new(home.as_deref().unwrap_or(directory)),
            root,
            file,
        })
    }

    /// Where campaigns were: where a new one would be kept, else the nearest directory above that
    /// holds some.
    pub(crate) fn of_campaigns(directory: &Path) -> Result<Self, Failure> {
        let place = Self::new(directory, false)?;
        if Project::is_known(place.project.root()) {
            return Ok(place);
        }
        let mut above = directory.ancestors();
        let known = above.find(|directory| Project::is_known(directory));
        known.map_or(Ok(place), |known| Self::new(known, false))
    }
}

pub(crate) fn run(directory: &Path, flags: &RunFlags, color: bool) -> Result<Exit, Failure> {
    let place = Place::new(directory, !flags.command.is_empty())?;
    let (mut resolved, host) = resolved(&place, flags)?;
    let _lock = place.project.lock()?;
    let exit = run_locked(&place, flags, &mut resolved, (&host, color));
    place.project.tidy();
    exit
}

fn run_locked(
    place: &Place,
    flags: &RunFlags,
    resolved: &mut Resolved,
    (host, color): (&HostBudget, bool),
) -> Result<Exit, Failure> {
    clean_up();
    let service = config::service::resolve(place.file.as_ref(), flags, resolved.budget.cores)?;
    if let Some(service) = &service
        && !harness::is_meant(place, resolved)
    {
        return service::run(place, service, resolved, (flags, color));
    }
    match harness::run(place, resolved, flags.dry_run)? {
        harness::Done::Unbroken => return Ok(Exit::Passed),
        harness::Done::Suite | harness::Done::Nothing => {}
    }
    let setup = setup(place, resolved, None)?;
    if flags.dry_run {
        let preview = cohort_hub::preview(setup)?;
        say::print(|out| write_preview(&preview, host, out))?;
        return Ok(Exit::Passed);
    }
    conduct(setup, resolved, &flags.faces, color)
}

pub(crate) fn resume(
    directory: &Path,
    campaign: &arguments::Campaign,
    faces: Faces,
    color: bool,
) -> Result<Exit, Failure> {
    let mut place = Place::of_campaigns(directory)?;
    let _lock = place.project.lock()?;
    let campaign = place.project.campaign(campaign.name.as_deref())?;
    let past = Past::read(campaign.name(), campaign.log_reader()?)?;
    place.root = place.project.root().join(&past.start.directory);
    if past.complete {
        return Err(Failure::Complete(campaign.name().to_owned()));
    }
    clean_up();
    let (resolved, flags) = as_then(&place, &past.start, faces)?;
    let setup = setup(&place, &resolved, Some((campaign, past)))?;
    conduct(setup, &resolved, &flags.faces, color)
}

/// What a campaign is run with that is to be as the one that `start` began, within what there is now.
fn as_then(
    place: &Place,
    start: &CampaignStart,
    faces: Faces,
) -> Result<(Resolved, RunFlags), Failure> {
    let flags = RunFlags {
        command: start.command.clone(),
        strict: start.strict,
        policy: Some(start.policy),
        faces,
        ..RunFlags::default()
    };
    let (mut resolved, _) = resolved(place, &flags)?;
    resolved.isolation = start.isolation;
    let (now, then) = (&mut resolved.budget, &start.budget);
    now.cores = now.cores.min(then.cores);
    now.memory = now.memory.min(then.memory);
    now.instances = now.instances.min(then.instances);
    resolved.budget.timeout_us = start.budget.timeout_us;
    resolved.budget.stall_us = start.budget.stall_us;
    if start.suite == SuiteKind::Exec {
        resolved.suite.command.clear();
        resolved.suite.given = false;
        harness::take_suite_again(place, &start.command, &mut resolved);
    }
    Ok((resolved, flags))
}

/// What is run again of a case, in a campaign of its own.
pub(crate) fn again(
    place: Place,
    suite: &case::Suite,
    cases: Cases,
    (faces, color): (Faces, bool),
) -> Result<(View, Outcome), Failure> {
    let _lock = place.project.lock()?;
    let (setup, resolved, flags) = setup_again(place, suite, cases, faces)?;
    match perform(setup, &resolved, &flags.faces, color)? {
        Performed::Done(done) => Ok(*done),
        Performed::NotRun => Err(Failure::Misplaced(
            "pytest was asked to do something else than to run tests",
        )),
    }
}

/// The user's shell in an instance in which a case can be run again.
pub(crate) fn sit(
    place: Place,
    suite: &case::Suite,
    cases: Cases,
    seat: Seat,
) -> Result<ExitStatus, Failure> {
    let _lock = place.project.lock()?;
    let (setup, _, _) = setup_again(place, suite, cases, Faces::default())?;
    let (status, left) = cohort_hub::sit(setup, seat)?;
    for left in &left {
        say::note(format_args!("could not clean up: {left}"));
    }
    Ok(status)
}

fn setup_again(
    mut place: Place,
    suite: &case::Suite,
    cases: Cases,
    faces: Faces,
) -> Result<(Setup, Resolved, RunFlags), Failure> {
    clean_up();
    place.root = match suite.directory.as_str() {
        "" => place.project.root().to_owned(),
        directory => place.project.root().join(directory),
    };
    let (resolved, flags) = match &suite.start {
        Some(start) => as_then(&place, start, faces)?,
        None => {
            let is_exec = suite.kind == SuiteKind::Exec;
            let command = if is_exec {
                Vec::new()
            } else {
                suite.command.clone()
            };
            let flags = RunFlags {
                command,
                faces,
                ..RunFlags::default()
            };
            let mut resolved = resolved(&place, &flags)?.0;
            if is_exec {
                harness::take_suite_again(&place, &suite.command, &mut resolved);
            }
            (resolved, flags)
        }
    };
    let mut setup = setup(&place, &resolved, None)?;
    setup.cases = Some(cases);
    Ok((setup, resolved, flags))
}

/// Plays an edge case of the server that `cohort.toml` names again.
pub(crate) fn again_for_service(
    place: &Place,
    repeat: &cohort_hub::service::ServiceRepeat,
) -> Result<cohort_hub::service::ServiceRepeated, Failure> {
    for_service(place, |service, resolved| {
        service::again(place, service, resolved, repeat)
    })
}

/// The user's shell beside a server in which a case can be played again.
pub(crate) fn sit_beside(
    place: &Place,
    repeat: &cohort_hub::service::ServiceRepeat,
    seat: cohort_hub::service::ServiceSeat,
) -> Result<(), Failure> {
    let left = for_service(place, |service, resolved| {
        service::sit(place, service, resolved, (repeat, seat))
    })?;
    for left in &left {
        say::note(format_args!("could not clean up: {left}"));
    }
    Ok(())
}

fn for_service<T>(
    place: &Place,
    then: impl FnOnce(&config::service::Service, &Resolved) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let flags = RunFlags::default();
    let (resolved, _) = resolved(place, &flags)?;
    let _lock = place.project.lock()?;
    clean_up();
    let service = config::service::resolve(place.file.as_ref(), &flags, resolved.budget.cores)?;
    let Some(service) = service else {
        return Err(Failure::Misplaced(
            "it is of a server, and no cohort.toml here names one",
        ));
    };
    then(&service, &resolved)
}

fn resolved(place: &Place, flags: &RunFlags) -> Result<(Resolved, HostBudget), Failure> {
    let layout = Layout::detect(Path::new("/"))?;
    let host = budget::detect(Path::new("/"), &layout);
    let means = Means {
        cores: host.cores,
        memory: host.memory,
        // The hub finds out when it makes its groups.
        holds_memory: false,
    };
    let resolved = config::resolve(place.file.as_ref(), flags, &means)?;
    for note in &resolved.notes {
        say::note(note);
    }
    Ok((resolved, host))
}

/// What an earlier Cohort that was killed left behind is removed first.
fn clean_up() {
    if let Ok(layout) = Layout::detect(Path::new("/")) {
        let gone = remains::clean_up(&layout, &std::env::temp_dir());
        if gone != remains::Remains::default() {
            say::note(format_args!(
                "cleaned up after one that was killed: {} control groups, {} processes, {} directories",
                gone.groups, gone.processes, gone.directories
            ));
        }
    }
}

fn cases(wanted: &EdgeCases) -> Cases {
    let work = match &wanted.stress {
        None => Work::Suite,
        Some(stress) => Work::Stress {
            test: stress.test.clone(),
            rate: stress.rate,
            doubt: stress.doubt,
        },
    };
    Cases {
        share: wanted.share,
        after: Duration::from_micros(wanted.after_us),
        work,
    }
}

fn setup(
    place: &Place,
    resolved: &Resolved,
    resume: Option<(Campaign, Past)>,
) -> Result<Setup, Failure> {
    let suite = &resolved.suite;
    let own = !suite.given && suite.list.is_some();
    let request = Request {
        root: place.root.clone(),
        command: if suite.given {
            suite.command.clone()
        } else {
            Vec::new()
        },
        config: SuiteConfig {
            command: if suite.given || own {
                Vec::new()
            } else {
                suite.command.clone()
            },
            list: suite.list.clone().filter(|_| !suite.given),
            run: suite.run.clone().filter(|_| !suite.given),
            env: suite.env.clone(),
        },
    };
    let recognized = recognize(&request).map_err(|source| match request.command.as_slice() {
        [one] if one.contains(' ') => Failure::Quoted {
            command: one.clone(),
            source,
        },
        _ => Failure::Suite(source),
    })?;
    if request.command.is_empty() && request.config.command.is_empty() && !own {
        let command = recognized.command().join(" ");
        say::note(format_args!(
            "running `{command}` (recognized from {})",
            place.root.display()
        ));
    }
    let executable = std::env::current_exe().map_err(|source| Failure::File {
        action: "find this program's own file, that of",
        path: PathBuf::from("/proc/self/exe"),
        source,
    })?;
    Ok(Setup {
        project: place.project.clone(),
        root: place.root.clone(),
        suite: recognized,
        budget: resolved.budget,
        policy: resolved.policy,
        isolation: resolved.isolation,
        cases: resolved.cases.as_ref().map(cases),
        strict: resolved.strict,
        hz: resolved.hz,
        resume,
        executable,
        progress: Box::new(|progress| {
            if let Progress::Listing { done: 0, of } = progress
                && of > 1
            {
                say::note(format_args!("asking {of} test programs for their tests"));
            }
        }),
    })
}

/// What became of a campaign that was to be run.
enum Performed {
    Done(Box<(View, Outcome)>),
    /// The suite's own runner was asked for something else, and did it.
    NotRun,
}

fn perform(
    setup: Setup,
    resolved: &Resolved,
    flags: &Faces,
    color: bool,
) -> Result<Performed, Failure> {
    let events = resolved.events.as_deref().map(EventFile::open);
    let events = events.transpose()?;
    let before = match &setup.resume {
        Some((campaign, _)) => past::view(campaign)?,
        None => View::default(),
    };
    let view = Shared::new(before.into());
    let shared = Rc::clone(&view);
    let outcome = match cohort_hub::run(setup, |campaign, show| {
        let shown = (show > Show::Failed).then(|| campaign.clone());
        let screen = faces::screen(&shared, flags.progress, color, shown);
        let mut all: Vec<Box<dyn Face>> = vec![screen];
        if let Some(events) = events {
            all.push(Box::new(events));
        }
        all
    }) {
        Err(cohort_hub::Error::Pytest(pytest::Error::NotRun { stdout, stderr })) => {
            past::pass_on(&stdout, &stderr)?;
            return Ok(Performed::NotRun);
        }
        outcome => outcome?,
    };
    let view = Rc::unwrap_or_clone(view).into_inner();
    for note in &outcome.notes {
        say::note(note);
    }
    for left in &outcome.left {
        say::note(format_args!("could not clean up: {left}"));
    }
    Ok(Performed::Done(Box::new((view, outcome))))
}

fn conduct(setup: Setup, resolved: &Resolved, flags: &Faces, color: bool) -> Result<Exit, Failure> {
    let junit = resolved.junit.as_deref().map(JunitFile::open);
    let junit = junit.transpose()?;
    let root = setup.root.clone();
    let (view, outcome) = match perform(setup, resolved, flags, color)? {
        Performed::Done(done) => *done,
        Performed::NotRun => return Ok(Exit::Passed),
    };
    let said = match outcome.said.as_str() {
        "" => Ok(()),
        said => past::pass_on(format!("{said}\n\n").as_bytes(), b""),
    };
    let page = past::write_page(&view, &outcome.campaign);
    let told = past::Told {
        running: false,
        cases_max: CASES_SUMMED_UP,
    };
    let summed_up =
        said.and_then(|()| past::write_summary(&view, &outcome.campaign, &root, &told, color));
    if let Some(junit) = junit {
        junit.write(&view, &outcome.campaign)?;
    }
    page.and(summed_up)?;
    Ok(exit(&view, &outcome, resolved.strict))
}

fn exit(view: &View, outcome: &Outcome, strict: bool) -> Exit {
    match outcome.end.ending {
        Ending::Broken => Exit::Host,
        Ending::Interrupted if outcome.end.message.as_deref() == Some("stopped by the user") => {
            Exit::Interrupted
        }
        _ if view.counts.failures() > 0 => Exit::Failed,
        _ if view.is_for_cases() && case::any_failed(view) => Exit::Failed,
        Ending::Interrupted => Exit::Failed,
        Ending::Complete if view.is_for_cases() => Exit::Passed,
        Ending::Complete if outcome.end.suite_exit.is_some() => Exit::Failed,
        Ending::Complete if view.total() == 0 => Exit::NoTests,
        Ending::Complete if strict && !view.load_sensitive.is_empty() => Exit::LoadSensitive,
        Ending::Complete => Exit::Passed,
    }
}

fn write_preview(preview: &Preview, host: &HostBudget, out: &mut dyn Write) -> io::Result<()> {
    let plan = &preview.plan;
    let known = preview
        .estimates
        .iter()
        .filter(|estimate| estimate.runs > 0)
        .count();
    writeln!(
        out,
        "{} in {}, {known} of them known from earlier campaigns",
        words::counted(plan.tests.len() as u64, "test"),
        words::counted(plan.groups.len() as u64, "group"),
    )?;
    writeln!(
        out,
        "budget: {:.2} cores, {}, at most {}",
        preview.budget.cores,
        words::bytes(preview.budget.memory),
        words::counted(u64::from(preview.budget.instances), "instance")
    )?;
    for source in &host.sources {
        writeln!(out, "  {source}")?;
    }
    for line in preview.notes.iter().chain(&preview.missing) {
        writeln!(out, "note: {line}")?;
    }
    let mut order: Vec<usize> = (0..plan.tests.len()).collect();
    let wall = |index: usize| preview.estimates[index].wall_us.p50;
    order.sort_by(|&a, &b| wall(b).total_cmp(&wall(a)).then(a.cmp(&b)));
    writeln!(out, "expected (p50), longest first:")?;
    for &index in order.iter().take(DRY_RUN_NAMED) {
        let estimate = &preview.estimates[index];
        writeln!(
            out,
            "  {:>9}  {:>5.2} cores  {:>9}  {}{}",
            words::duration(estimate.wall_us.p50 as u64),
            estimate.cores.p50,
            words::bytes(estimate.memory.p50 as u64),
            words::printable(&plan.tests[index].name),
            if plan.tests[index].ignored {
                "  (ignored)"
            } else {
                ""
            },
        )?;
    }
    if order.len() > DRY_RUN_NAMED {
        writeln!(out, "  ... and {} more", order.len() - DRY_RUN_NAMED)?;
    }
    Ok(())
}
