//! An edge case of a service that was kept is played again so many times, each time against a server that has just begun, and it is
//! counted how often it shows.

use std::path::PathBuf;
use std::time::Duration;

use cohort_agent::protocol::ToAgent;
use cohort_model::{
    CaseId, CasePart, CaseRequest, Condition, InstanceId, Played, Recipe, ServiceCommand,
    ServiceSeen, Share, Symptom, SymptomKind,
};
use cohort_orchestrator::service::Gauge;
use cohort_replicator::sameness::same;
use tokio::sync::mpsc::Receiver;

use super::event::Event;
use super::shell::{Hub, Phase};
use super::{ServiceSetup, open};
use crate::Error;

/// The instance that it is played against.
pub(super) const INSTANCE: InstanceId = InstanceId(0);
/// Between looks at the clock.
const BEAT: Duration = Duration::from_millis(20);

/// What is played.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceRepeat {
    /// Which case.
    pub case: CaseId,
    /// The file that plays it, as a campaign kept it.
    pub play: PathBuf,
    /// The endpoint that it is about; empty: the whole server.
    pub subject: String,
    /// How it looked; none: whatever is odd counts.
    pub symptom: Option<Symptom>,
    /// How it is played; no parts: all of its requests are sent.
    pub recipe: Recipe,
    /// The server is to have run for so long before, microseconds.
    pub age_us: u64,
    /// A call of its endpoint that takes so long is slow, microseconds; 0: that is not what it is about.
    pub bound_us: u64,
    /// How many times.
    pub runs: u32,
}

impl ServiceRepeat {
    /// How a play of it is judged.
    pub(super) fn gauge(&self) -> Result<Gauge, Error> {
        let symptom = self.symptom.as_ref();
        let gauge = symptom.map_or(Some(Gauge::Odd), |it| Gauge::of_kept(it, self.bound_us));
        let unknown = "it is about something that grows which is not known here";
        gauge.ok_or_else(|| Error::Scenario(unknown.to_owned()))
    }
}

/// How often it showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRepeated {
    /// Plays that say something.
    pub runs: u32,
    /// Of those, with the same symptom.
    pub failed: u32,
    /// What the user should know.
    pub notes: Vec<String>,
    /// The user ended it before it was done.
    pub stopped: bool,
    /// What could not be removed, in words.
    pub left: Vec<String>,
}

/// Plays it. `told` hears of each play: how many there were, and how many showed it.
///
/// # Errors
/// Anything that keeps it from beginning: the server does not get ready, the file is none of this version.
pub fn repeat(
    setup: ServiceSetup,
    repeat: &ServiceRepeat,
    told: impl FnMut(u32, u32),
) -> Result<ServiceRepeated, Error> {
    crate::runtime()?.block_on(async move {
        let (mut hub, mut happened) = open::hub(setup, |_| Vec::new()).await?;
        // No scenario begins here, and whoever interrupts it does not want to wait.
        hub.phase = Phase::Closing;
        let done = hub.repeat(repeat, &mut happened, told).await;
        let directory = hub.campaign.path().to_owned();
        let left = hub.end_quietly().await;
        // It is no campaign that anybody asks for later.
        let _ = std::fs::remove_dir_all(directory);
        let mut done = done?;
        done.left = left;
        Ok(done)
    })
}

impl Hub {
    async fn repeat(
        &mut self,
        repeat: &ServiceRepeat,
        happened: &mut Receiver<Event>,
        mut told: impl FnMut(u32, u32),
    ) -> Result<ServiceRepeated, Error> {
        let gauge = repeat.gauge()?;
        let mut done = ServiceRepeated::default();
        let Some(requests) = self.prepare(repeat, happened).await? else {
            done.stopped = true;
            return Ok(done);
        };
        for play in 0..repeat.runs {
            if repeat.age_us > 0 && !self.until_old(repeat, play, happened).await? {
                done.stopped = true;
                break;
            }
            self.carry_out(command(repeat, &gauge, play, &requests))
                .await;
            let Some(played) = self.until_tried(play, happened).await? else {
                done.stopped = true;
                break;
            };
            if played.void.is_empty() {
                done.runs += 1;
                done.failed += u32::from(shows(repeat, &gauge, &requests, &played));
            } else if done.notes.len() < 5 {
                done.notes
                    .push(format!("a play says nothing: {}", played.void));
            }
            told(done.runs, done.failed);
        }
        Ok(done)
    }

    /// What plays it, and what it is played against; gives the requests, `None` when the user ends it.
    pub(super) async fn prepare(
        &mut self,
        repeat: &ServiceRepeat,
        happened: &mut Receiver<Event>,
    ) -> Result<Option<Vec<CaseRequest>>, Error> {
        let player = self.agents.start(&self.load)?;
        self.replicas.player = Some(cohort_handoff::AgentId(player));
        self.agents.tell(
            player,
            ToAgent::Capsule {
                capsule: 0,
                file: repeat.play.clone(),
            },
        );
        let share = Share {
            cores: self.setup.cores,
            memory: self.setup.memory,
            network: self.setup.sut.rate,
        };
        let open = ServiceCommand::OpenReplica {
            instance: INSTANCE,
            share,
        };
        self.carry_out(open).await;
        self.until_captured(happened).await
    }

    /// Until the player has read the file and the instance is ready; `None` when the user ends it.
    async fn until_captured(
        &mut self,
        happened: &mut Receiver<Event>,
    ) -> Result<Option<Vec<CaseRequest>>, Error> {
        let (mut requests, mut ready) = (None, false);
        loop {
            for seen in std::mem::take(&mut self.seen) {
                match seen {
                    ServiceSeen::CaseCaptured { failed, .. } if !failed.is_empty() => {
                        return Err(Error::Scenario(failed));
                    }
                    ServiceSeen::CaseCaptured {
                        requests: found, ..
                    } => requests = Some(found),
                    ServiceSeen::InstanceReady { .. } => ready = true,
                    ServiceSeen::InstanceFailed { reason, .. } => {
                        return Err(Error::Scenario(format!("no instance got ready: {reason}")));
                    }
                    ServiceSeen::Interrupted => return Ok(None),
                    _ => {}
                }
            }
            if let (Some(_), true) = (&requests, ready) {
                return Ok(requests);
            }
            self.pump(happened).await;
        }
    }

    /// Until the server has run for as long as it takes; false when the user ends it.
    async fn until_old(
        &mut self,
        repeat: &ServiceRepeat,
        play: u32,
        happened: &mut Receiver<Event>,
    ) -> Result<bool, Error> {
        if play > 0 {
            self.begin_replica_anew(INSTANCE);
            if self.until_ready(happened).await?.is_none() {
                return Ok(false);
            }
        }
        let since = std::time::Instant::now();
        while since.elapsed() < Duration::from_micros(repeat.age_us) {
            self.pump(happened).await;
            let seen = std::mem::take(&mut self.seen);
            if seen.contains(&ServiceSeen::Interrupted) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Until the server answers; `None` when the user ends it.
    pub(super) async fn until_ready(
        &mut self,
        happened: &mut Receiver<Event>,
    ) -> Result<Option<()>, Error> {
        loop {
            for seen in std::mem::take(&mut self.seen) {
                match seen {
                    ServiceSeen::InstanceReady { .. } => return Ok(Some(())),
                    ServiceSeen::InstanceFailed { reason, .. } => {
                        return Err(Error::Scenario(format!("no instance got ready: {reason}")));
                    }
                    ServiceSeen::Interrupted => return Ok(None),
                    _ => {}
                }
            }
            self.pump(happened).await;
        }
    }

    /// Until a play is over; `None` when the user ends it.
    pub(super) async fn until_tried(
        &mut self,
        number: u32,
        happened: &mut Receiver<Event>,
    ) -> Result<Option<Played>, Error> {
        loop {
            let mut interrupted = false;
            for seen in std::mem::take(&mut self.seen) {
                match seen {
                    ServiceSeen::CaseTried { play, played, .. } if play == number => {
                        return Ok(Some(played));
                    }
                    ServiceSeen::Interrupted => interrupted = true,
                    _ => {}
                }
            }
            if interrupted {
                return Ok(None);
            }
            self.pump(happened).await;
        }
    }

    pub(super) async fn pump(&mut self, happened: &mut Receiver<Event>) {
        tokio::select! {
            event = happened.recv() => self.happen(event.unwrap_or(Event::Stop)),
            () = tokio::time::sleep(BEAT) => self.follow_plays(std::time::Instant::now()),
        }
        for id in std::mem::take(&mut self.to_watch) {
            self.watch(id).await;
        }
    }

    /// Ends all there is; gives what could not be removed, in words.
    pub(super) async fn end_quietly(mut self) -> Vec<String> {
        self.agents.end().await;
        let mut left = std::mem::take(&mut self.left);
        left.extend(self.ground.close().await);
        left
    }
}

pub(super) fn command(
    repeat: &ServiceRepeat,
    gauge: &Gauge,
    play: u32,
    requests: &[CaseRequest],
) -> ServiceCommand {
    let parts = &repeat.recipe.parts;
    let named = parts.iter().filter_map(|part| match part {
        CasePart::Request(number) => Some(*number),
        _ => None,
    });
    let mut keep: Vec<u32> = named.collect();
    if keep.is_empty() {
        keep = (0..requests.len() as u32).collect();
    }
    let conditions = repeat.recipe.conditions.iter();
    let copies = conditions
        .into_iter()
        .find_map(|condition| match condition {
            Condition::Copies { count } => Some(*count),
            _ => None,
        });
    let (together, rounds) = gauge.rounds();
    let of = |number: &u32| requests.get(*number as usize);
    let in_time = gauge.in_time(keep.iter().filter_map(of));
    ServiceCommand::TryCase {
        case: repeat.case,
        capsule: 0,
        play,
        instance: INSTANCE,
        recipe: repeat.recipe.clone(),
        variant: String::new(),
        without: without(parts, &keep, requests),
        keep,
        fresh: play > 0 && repeat.age_us == 0,
        copies: copies.unwrap_or(1) * together,
        rounds,
        hangs: gauge.hangs(),
        grows: gauge.grows(),
        in_time,
        patience_us: gauge.patience_us(None),
    }
}

/// Pieces that were left out: of requests of which those that are left are told.
fn without(parts: &[CasePart], keep: &[u32], requests: &[CaseRequest]) -> Vec<(u32, String)> {
    let cut = |number: u32| {
        parts
            .iter()
            .any(|part| matches!(part, CasePart::Piece(of, _) if *of == number))
    };
    let mut left_out = Vec::new();
    for &number in keep.iter().filter(|number| cut(**number)) {
        let pieces = requests.get(number as usize).map(|request| &request.pieces);
        for piece in pieces.into_iter().flatten() {
            if !parts.contains(&CasePart::Piece(number, piece.clone())) {
                left_out.push((number, piece.clone()));
            }
        }
    }
    left_out
}

/// Whether a play shows the case.
pub(super) fn shows(
    repeat: &ServiceRepeat,
    gauge: &Gauge,
    requests: &[CaseRequest],
    played: &Played,
) -> bool {
    let is_its = |number: u32| {
        let request = requests.get(number as usize);
        request.is_some_and(|request| request.endpoint == repeat.subject)
    };
    match gauge {
        Gauge::Odd | Gauge::Hangs => {}
        Gauge::Slow(_) | Gauge::Slower => return gauge.took_long(played, is_its),
        Gauge::Grows(what) => {
            let grown = played.grown.as_ref();
            return grown.is_some_and(|grown| what.grew(grown, 0.0));
        }
    }
    let answered = |symptom: &Symptom| {
        matches!(
            symptom.kind,
            SymptomKind::ErrorAnswer | SymptomKind::WrongAnswer | SymptomKind::Hang
        )
    };
    played.odd.iter().any(|(endpoint, symptom)| {
        let about = repeat.subject.is_empty() || *endpoint == repeat.subject || !answered(symptom);
        about
            && repeat
                .symptom
                .as_ref()
                .is_none_or(|known| same(known, symptom))
    })
}
