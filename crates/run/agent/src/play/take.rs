//! A capsule, read: its threads re-executed, its requests numbered in the order in which they were sent.

use std::collections::BTreeMap;

use cohort_fuzzer::Edit;
use cohort_model::{CaseRequest, ThreadId};
use cohort_scenario::{Outcome, Recording, Request, Script};

use super::capsule::{Capsule, Error};
use super::edits;
use super::needs::Known;
use super::pieces;
use crate::agent::Agent;
use crate::http::Target;

/// What is shown of a body, bytes.
const BODY_BYTES_MAX: usize = 2 << 10;

/// Where a request is: track, scene, call, place in the call.
pub type Spot = (usize, usize, usize, usize);

/// A capsule that can be played.
#[derive(Debug)]
pub(crate) struct Take {
    /// Its threads.
    pub(super) parts: Vec<Part>,
    /// Its requests, by their numbers.
    pub(crate) requests: Vec<CaseRequest>,
    pub(super) numbers: BTreeMap<Spot, u32>,
    /// What is changed of requests, by their numbers.
    pub(super) edits: BTreeMap<u32, Vec<Edit>>,
    /// When its first request was sent, microseconds since 1970.
    pub(super) began_us: u64,
}

/// One thread.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) recording: Recording,
    /// Iterations that count, as places among the recording's.
    pub(super) scenes: Vec<usize>,
}

impl Take {
    /// Reads a capsule.
    pub(super) fn of(
        agent: &Agent,
        capsule: &Capsule,
        requests_max: u32,
        remarks: &mut Vec<String>,
    ) -> Result<Take, Error> {
        let script = match &agent.script {
            Some(own) if *own.bundle() == capsule.bundle => own.clone(),
            _ => Script::from_bundle(capsule.bundle.clone())
                .map_err(|error| Error::Nothing(error.to_string()))?,
        };
        let mut parts = Vec::new();
        let mut threads = Vec::new();
        for track in &capsule.tracks {
            let birth = track.birth.clone();
            let read = Recording::read(&script, birth, &track.recorded, capsule.remembers);
            let recording = match read {
                Ok(recording) => recording,
                Err(error) => {
                    remarks.push(format!("{} cannot be played: {error}", track.thread));
                    continue;
                }
            };
            let scenes = chosen(&recording, track.iteration, track.last);
            if !scenes.is_empty() {
                parts.push(Part { recording, scenes });
                threads.push(track.thread);
            }
        }
        let mut take = Take {
            parts,
            requests: Vec::new(),
            numbers: BTreeMap::new(),
            edits: BTreeMap::new(),
            began_us: 0,
        };
        let edits: BTreeMap<Spot, Vec<Edit>> = capsule.edits.iter().cloned().collect();
        take.number(agent, (&threads, &edits), requests_max as usize, remarks);
        if take.requests.is_empty() {
            let why = remarks.last().map_or("they sent nothing", String::as_str);
            return Err(Error::Nothing(why.to_owned()));
        }
        Ok(take)
    }

    /// Numbers the requests; of too many, the last ones count.
    fn number(
        &mut self,
        agent: &Agent,
        (threads, edits): (&[ThreadId], &BTreeMap<Spot, Vec<Edit>>),
        most: usize,
        remarks: &mut Vec<String>,
    ) {
        let mut spots: Vec<(u64, Spot)> = Vec::new();
        for (track, part) in self.parts.iter().enumerate() {
            for &scene in &part.scenes {
                for (at, call) in part.recording.scenes[scene].calls.iter().enumerate() {
                    let places = 0..call.requests.len();
                    spots.extend(places.map(|place| (call.sent_us, (track, scene, at, place))));
                }
            }
        }
        spots.sort_unstable();
        if spots.len() > most {
            let left = spots.len() - most;
            remarks.push(format!(
                "{left} earlier requests of its threads are left out"
            ));
            spots.drain(..left);
        }
        self.began_us = spots.first().map_or(0, |(sent_us, _)| *sent_us);
        let mut known: BTreeMap<(usize, usize), Known> = BTreeMap::new();
        for (number, (sent_us, spot)) in spots.iter().enumerate() {
            let number = number as u32;
            self.numbers.insert(*spot, number);
            let (track, scene, at, place) = *spot;
            let recording = &self.parts[track].recording;
            let call = &recording.scenes[scene].calls[at];
            let request = &call.requests[place];
            let outcome = recording.outcome(call, place);
            // Where iterations know of earlier ones, so do values.
            let of = if recording.remembers() { 0 } else { scene };
            let known = known.entry((track, of)).or_default();
            let mut shown = match edits.get(spot) {
                Some(edits) => {
                    self.edits.insert(number, edits.clone());
                    show(agent, &edits::edited(request, edits), outcome.as_ref())
                }
                None => show(agent, request, outcome.as_ref()),
            };
            shown.thread = threads[track];
            shown.iteration = recording.scenes[scene].in_vu;
            shown.call = at as u32;
            shown.after_us = sent_us - self.began_us;
            shown.uses = known.used_by(request, call.sent_us);
            if let (Some(outcome), Some(answered_us)) = (&outcome, call.answered_us) {
                known.add(number, outcome, answered_us);
            }
            if shown.took_us == 0 {
                shown.took_us = call.answered_us.map_or(0, |us| us.saturating_sub(*sent_us));
            }
            self.requests.push(shown);
        }
    }
}

/// The iterations that count.
fn chosen(recording: &Recording, iteration: Option<u64>, last: u32) -> Vec<usize> {
    let scenes = recording.scenes.iter();
    let all: Vec<usize> = match iteration {
        Some(wanted) => scenes
            .enumerate()
            .filter(|(_, scene)| scene.in_vu == wanted)
            .map(|(place, _)| place)
            .collect(),
        None => (0..scenes.len()).collect(),
    };
    let from = all.len().saturating_sub(last as usize);
    all[from..].to_vec()
}

fn show(agent: &Agent, request: &Request, outcome: Option<&Outcome>) -> CaseRequest {
    let (url, path) = match agent.resolve(&request.url) {
        Ok(Target::Instance { path, .. }) => (path.to_string(), path.to_string()),
        Ok(Target::Other { path, .. }) => (request.url.clone(), path.to_string()),
        Err(_) => (request.url.clone(), request.url.clone()),
    };
    let own = request.named.then_some(request.name.as_str());
    let body = match std::str::from_utf8(&request.body) {
        Ok(text) => {
            let cut = (0..=BODY_BYTES_MAX.min(text.len())).rev();
            let cut = cut.into_iter().find(|at| text.is_char_boundary(*at));
            text[..cut.unwrap_or(0)].to_owned()
        }
        Err(_) => format!("({} bytes that are no text)", request.body.len()),
    };
    let (status, took_us) = match outcome {
        Some(Ok(response)) => (response.status, response.timings.duration_us()),
        Some(Err(error)) => (0, error.timings.duration_us()),
        None => (0, 0),
    };
    CaseRequest {
        thread: ThreadId(0),
        iteration: 0,
        call: 0,
        after_us: 0,
        endpoint: agent.endpoint(&request.method, own, &path),
        method: request.method.clone(),
        headers: request.headers.clone(),
        pieces: pieces::of(&url, &request.body),
        url,
        body,
        status,
        took_us,
        uses: Vec::new(),
    }
}
