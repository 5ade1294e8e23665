//! Where a capsule is played: a machine for each thread and copy, all at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use cohort_fuzzer::Edit;
use cohort_scenario::{Cue, Note, Outcome, Playback, Request, Told};
use tokio::sync::Notify;
use tokio::sync::oneshot::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::edits::edited;
use super::pieces::{body_without, url_without};
use super::take::Take;
use crate::agent::Agent;
use crate::http::{Connections, Exchanged, Going, Target};
use crate::odd::beginning;
use crate::protocol::{FromAgent, PlayOrder, Played, PlayedAnswers, TransportError};

/// Sleeps are cut to this where times do not matter.
const SLEEP_MAX: Duration = Duration::from_millis(5);
/// Where it is measured what grows, it is repeated for so long when that is often enough ...
const GROWS_FOR: Duration = Duration::from_millis(2_500);
const GROWS_ROUNDS: u32 = 40;
/// ... and for so long when it is not.
const GROWS_FOR_MAX: Duration = Duration::from_secs(6);
/// What may hang is repeated no more after so long.
const REPEATED_FOR: Duration = Duration::from_secs(6);
/// Once a call was waited for in vain, others that wait are given so long more.
const HUNG_WAIT: Duration = Duration::from_millis(300);
/// How long each answer took is kept for so many.
const TOOK_MAX: usize = 1_000;

/// What all threads of a play share.
pub(super) struct Stage {
    agent: Rc<Agent>,
    order: PlayOrder,
    /// What is changed of requests, by their numbers.
    edits: BTreeMap<u32, Vec<Edit>>,
    diary: RefCell<Diary>,
    begun: Instant,
    rounds: Rounds,
    /// Connections stay open until what the instance uses was read: they are not what it is about.
    open: RefCell<Vec<Rc<Connections>>>,
    /// Of what hangs: a call was waited for in vain, for as long as any is.
    hung: Notify,
}

/// What a play held on to.
#[must_use = "what the instance uses is read before it is let go of"]
pub(super) struct Held(Rc<Stage>);

impl Held {
    /// Whether what the instance uses is read once the play is over.
    pub(super) fn is_read(&self) -> bool {
        self.0.order.grows
    }
}

/// Repetitions of all threads together.
#[derive(Default)]
struct Rounds {
    done: Cell<u32>,
    /// How many were done when half was told.
    half: Cell<Option<u32>>,
}

/// What happened.
#[derive(Default)]
struct Diary {
    played: Played,
    answers: BTreeMap<(Option<u32>, String), PlayedAnswers>,
    failed_checks: BTreeMap<(String, String), u64>,
}

/// What is sent and looked at by one thread of a play in one iteration.
#[derive(Default)]
struct Trail {
    /// Whether the last answer of a request was a live one.
    live: BTreeMap<(String, String), bool>,
    /// The endpoint of the last live answer that was no error, while nothing else was answered since.
    last: Option<String>,
}

/// Plays it; ends early when `ended` says so.
pub(super) async fn play(
    agent: &Rc<Agent>,
    take: &Rc<Take>,
    order: PlayOrder,
    ended: Receiver<()>,
) -> (Played, Held) {
    let stage = Rc::new(Stage {
        agent: Rc::clone(agent),
        diary: RefCell::new(Diary::default()),
        begun: Instant::now(),
        rounds: Rounds::default(),
        open: RefCell::default(),
        hung: Notify::new(),
        edits: take.edits.clone(),
        order,
    });
    agent.routes.borrow_mut().add_instance(&stage.order.address);
    let mut threads = JoinSet::new();
    for _ in 0..stage.order.copies.max(1) {
        for track in 0..take.parts.len() {
            let (stage, take) = (Rc::clone(&stage), Rc::clone(take));
            threads.spawn_local(async move { stage.thread(&take, track).await });
        }
    }
    let all = async { while threads.join_next().await.is_some() {} };
    let timeout = Duration::from_micros(stage.order.timeout_us);
    // What comes after such a call would be waited for as long, one after the other.
    let hung = async {
        stage.hung.notified().await;
        sleep(HUNG_WAIT).await;
    };
    let cut = tokio::select! {
        () = all => false,
        () = hung => false,
        () = sleep(timeout) => true,
        // Who lets go of it without a word does not mean it to end.
        Ok(()) = ended => true,
    };
    drop(threads);
    let diary = std::mem::take(&mut *stage.diary.borrow_mut());
    let checks = diary.failed_checks.into_iter();
    let played = Played {
        play: stage.order.play,
        capsule: stage.order.capsule,
        ended: agent.clock.now(),
        answers: diary.answers.into_values().collect(),
        failed_checks: checks
            .map(|((name, of), count)| (name, of, count))
            .collect(),
        cut,
        rounds_late: stage.rounds_late(),
        ..diary.played
    };
    (played, Held(Rc::clone(&stage)))
}

impl Stage {
    /// For one iteration, with what is changed of its requests.
    pub(super) fn of_one(
        agent: &Rc<Agent>,
        order: PlayOrder,
        edits: BTreeMap<u32, Vec<Edit>>,
    ) -> Stage {
        Stage {
            agent: Rc::clone(agent),
            diary: RefCell::new(Diary::default()),
            begun: Instant::now(),
            rounds: Rounds::default(),
            open: RefCell::default(),
            hung: Notify::new(),
            edits,
            order,
        }
    }

    /// How each request was answered.
    pub(super) fn answers_so_far(&self) -> Vec<PlayedAnswers> {
        let mut diary = self.diary.borrow_mut();
        std::mem::take(&mut diary.answers).into_values().collect()
    }

    /// One thread of it, in all rounds.
    async fn thread(&self, take: &Take, track: usize) {
        let part = &take.parts[track];
        let kept = |scene: &usize| self.keeps_any(take, track, *scene);
        let scenes: Vec<usize> = part.scenes.iter().copied().filter(kept).collect();
        let Some(&first) = scenes.first() else {
            return;
        };
        let connections = Rc::new(Connections::default());
        self.open.borrow_mut().push(Rc::clone(&connections));
        let mut ready = self.prepare(take, track, first);
        // All machines are made before any goes on.
        tokio::task::yield_now().await;
        for round in 0..self.order.rounds.max(1) {
            for &scene in &scenes {
                let Some(mut playback) = ready.take().or_else(|| self.prepare(take, track, scene))
                else {
                    return;
                };
                if round == 0 {
                    self.wait_for(take, part.recording.scenes[scene].began_us)
                        .await;
                }
                playback.begin(scene);
                self.scene(take, (track, scene), &mut playback, &connections)
                    .await;
                // What iterations leave to later ones is only known of those that came before; where it is about what grows, any
                // later one will do.
                let is_known = !part.recording.remembers() || self.order.grows;
                let again = matches!(playback.cue(), Cue::Over) && is_known;
                ready = again.then_some(playback);
            }
            if track == self.counted(take) && self.round_done() {
                return;
            }
            if self.is_late() || (self.order.hangs && self.begun.elapsed() > REPEATED_FOR) {
                return;
            }
        }
    }

    /// The thread whose repetitions are counted: the first of which anything is kept.
    fn counted(&self, take: &Take) -> usize {
        let keeps = |track: &usize| {
            let mut scenes = take.parts[*track].scenes.iter();
            scenes.any(|scene| self.keeps_any(take, *track, *scene))
        };
        (0..take.parts.len()).find(keeps).unwrap_or_default()
    }

    /// Counts a repetition; true when there is no time for another.
    fn round_done(&self) -> bool {
        if !self.order.grows {
            return false;
        }
        let done = self.rounds.done.get() + 1;
        self.rounds.done.set(done);
        let all = self.order.rounds.max(1) * self.order.copies.max(1);
        let since = 2 * self.begun.elapsed();
        let is_half = 2 * done >= all
            || (since >= GROWS_FOR && 2 * done >= GROWS_ROUNDS)
            || since >= GROWS_FOR_MAX;
        if is_half && self.rounds.half.get().is_none() {
            self.rounds.half.set(Some(done));
            let play = self.order.play;
            self.agent.post(FromAgent::PlayedHalf { play });
        }
        self.is_late()
    }

    fn is_late(&self) -> bool {
        let since = self.begun.elapsed();
        let enough = self.rounds.done.get() >= GROWS_ROUNDS && since >= GROWS_FOR;
        self.order.grows && (enough || since >= GROWS_FOR_MAX)
    }

    fn rounds_late(&self) -> u32 {
        let half = self.rounds.half.get();
        half.map_or(0, |half| self.rounds.done.get() - half)
    }

    fn keeps_any(&self, take: &Take, track: usize, scene: usize) -> bool {
        let from = (track, scene, 0, 0);
        let to = (track, scene + 1, 0, 0);
        let mut numbers = take.numbers.range(from..to);
        numbers.any(|(_, number)| self.order.keep.contains(number))
    }

    fn prepare<'t>(&self, take: &'t Take, track: usize, scene: usize) -> Option<Playback<'t>> {
        let data = self.order.data.clone();
        match Playback::new(&take.parts[track].recording, scene, data) {
            Ok(playback) => Some(playback),
            Err(error) => {
                self.stray(error.to_string());
                None
            }
        }
    }

    fn stray(&self, why: String) {
        self.diary.borrow_mut().played.strayed.get_or_insert(why);
    }

    /// Until it is time for an iteration that began then.
    async fn wait_for(&self, take: &Take, began_us: u64) {
        if self.order.in_time {
            let after = Duration::from_micros(began_us.saturating_sub(take.began_us));
            sleep_until(self.begun + after).await;
        }
    }

    /// One iteration.
    pub(super) async fn scene(
        &self,
        take: &Take,
        of: (usize, usize),
        playback: &mut Playback<'_>,
        connections: &Rc<Connections>,
    ) {
        let mut trail = Trail::default();
        loop {
            match playback.cue() {
                Cue::Over => break,
                Cue::Ended(why) => {
                    self.stray(why);
                    break;
                }
                Cue::Sleep { us } => {
                    let time = Duration::from_micros(us);
                    let short = time.min(SLEEP_MAX);
                    sleep(if self.order.in_time { time } else { short }).await;
                    playback.woken();
                }
                Cue::Pause { computed_us } if computed_us > self.agent.compute_us_max => {
                    playback.interrupt("it computed for too long");
                }
                Cue::Pause { .. } => {
                    tokio::task::yield_now().await;
                    playback.go_on();
                }
                Cue::Requests { requests, call } => {
                    let numbers = self.numbers(take, of, call, requests.len());
                    let told = self
                        .answers(&requests, &numbers, connections, &mut trail)
                        .await;
                    playback.answer(call, told);
                }
            }
            self.take_notes(playback.take_notes(), &trail);
        }
        self.take_notes(playback.take_notes(), &trail);
    }

    /// The numbers of a call's requests; `None`: the original did not ask for it.
    fn numbers(
        &self,
        take: &Take,
        (track, scene): (usize, usize),
        call: Option<usize>,
        count: usize,
    ) -> Vec<Option<u32>> {
        let number = |place: usize| take.numbers.get(&(track, scene, call?, place)).copied();
        (0..count).map(number).collect()
    }

    /// Sends what is kept, all at once, and what the original did not ask for.
    async fn answers(
        &self,
        requests: &[Request],
        numbers: &[Option<u32>],
        connections: &Rc<Connections>,
        trail: &mut Trail,
    ) -> Vec<Told> {
        let going = requests
            .iter()
            .zip(numbers)
            .map(|(request, number)| async move {
                let is_kept = number.is_none_or(|number| self.order.keep.contains(&number));
                match is_kept {
                    true => self.send(request, *number, connections).await,
                    false => Told::AsRecorded,
                }
            });
        let told = all(going.collect()).await;
        trail.last = None;
        for (request, told) in requests.iter().zip(&told) {
            let key = (request.method.clone(), request.url.clone());
            trail.live.insert(key, matches!(told, Told::Live(_)));
            if let Told::Live(Ok(response)) = told
                && response.status < 500
            {
                trail.last = Some(self.endpoint(request));
            }
        }
        told
    }

    fn endpoint(&self, request: &Request) -> String {
        let own = request.named.then_some(request.name.as_str());
        match self.agent.resolve(&request.url) {
            Ok(Target::Instance { path, .. } | Target::Other { path, .. }) => {
                (self.agent).endpoint(&request.method, own, path.as_str())
            }
            Err(_) => self.agent.endpoint(&request.method, own, &request.url),
        }
    }

    async fn send(
        &self,
        request: &Request,
        number: Option<u32>,
        connections: &Connections,
    ) -> Told {
        // Other hosts know nothing of a play, and are not to be burdened with it.
        let Ok(Target::Instance { path: _, origin }) = self.agent.resolve(&request.url) else {
            return Told::AsRecorded;
        };
        let edits = number.and_then(|number| self.edits.get(&number));
        let sent = match edits {
            Some(edits) => self.without(&edited(request, edits), number),
            None => self.without(request, number),
        };
        // It is known by the endpoint that the script called, whatever has become of its address.
        let endpoint = self.endpoint(request);
        let request = sent;
        let Ok(Target::Instance { path, .. }) = self.agent.resolve(&request.url) else {
            return Told::AsRecorded;
        };
        let now = self.agent.clock.now();
        self.diary.borrow_mut().played.first_sent.get_or_insert(now);
        let going = Going {
            request: &request,
            address: &self.order.address,
            path: &path,
            script_origin: Some(&origin),
        };
        let began = Instant::now();
        let exchanged = self.agent.client.exchange(connections, going).await;
        let took_us = began.elapsed().as_micros() as u64;
        self.note(number, endpoint, &exchanged, took_us);
        Told::Live(exchanged.outcome)
    }

    /// The request without the pieces that are left out, and with the patience of the play.
    fn without(&self, request: &Request, number: Option<u32>) -> Request {
        let mut request = request.clone();
        request.timeout_us = request.timeout_us.min(self.order.patience_us);
        let of = self.order.without.iter();
        let without: Vec<&str> = of
            .filter(|(of, _)| Some(*of) == number)
            .map(|(_, piece)| piece.as_str())
            .collect();
        if !without.is_empty() {
            request.url = url_without(&request.url, &without);
            request.body = body_without(&request.body, &without);
        }
        request
    }

    fn note(&self, number: Option<u32>, endpoint: String, exchanged: &Exchanged, took_us: u64) {
        let mut diary = self.diary.borrow_mut();
        let key = (number, endpoint.clone());
        let answers = diary.answers.entry(key).or_default();
        answers.request = number;
        answers.endpoint = endpoint;
        if answers.took_us.len() < TOOK_MAX {
            answers.took_us.push(took_us);
        }
        let outcome: &Outcome = &exchanged.outcome;
        match (outcome, exchanged.failed) {
            (Ok(response), _) => {
                let odd =
                    response.status >= 500 || (response.status >= 400 && !self.edits.is_empty());
                if odd && answers.said.is_empty() {
                    answers.said = beginning(&response.body);
                }
                count(&mut answers.statuses, response.status);
            }
            (Err(_), Some(kind)) => {
                count(&mut answers.errors, kind);
                let in_vain = kind == TransportError::Timeout && self.order.hangs;
                if in_vain && took_us >= self.order.patience_us {
                    self.hung.notify_one();
                }
            }
            (Err(_), None) => {}
        }
    }

    /// A check counts when it looks at what was answered now.
    fn take_notes(&self, notes: Vec<Note>, trail: &Trail) {
        for note in notes {
            let Note::Check {
                name,
                passed: false,
                of,
                ..
            } = note
            else {
                continue;
            };
            let endpoint = match of {
                Some(of) if of.status == 0 || of.status >= 500 => None,
                Some(of) => {
                    let key = (of.method.clone(), of.url.clone());
                    let is_live = trail.live.get(&key).copied().unwrap_or(false);
                    let path = match self.agent.resolve(&of.url) {
                        Ok(Target::Instance { path, .. }) => path.to_string(),
                        _ => continue,
                    };
                    is_live.then(|| (self.agent).endpoint(&of.method, of.name.as_deref(), &path))
                }
                None => trail.last.clone(),
            };
            if let Some(endpoint) = endpoint {
                let mut diary = self.diary.borrow_mut();
                *diary.failed_checks.entry((name, endpoint)).or_default() += 1;
            }
        }
    }
}

fn count<K: PartialEq>(counts: &mut Vec<(K, u64)>, key: K) {
    match counts.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count += 1,
        None => counts.push((key, 1)),
    }
}

/// All of them at once, and what came of each, in order.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures
        .into_iter()
        .map(|one| (Box::pin(one), None))
        .collect();
    std::future::poll_fn(|context| {
        let mut is_over = true;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => is_over = false,
                }
            }
        }
        match is_over {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    futures
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}
