//! What servers say: those of replicas are evidence of a play, and the end of an ordinary one is a case.

use std::time::{Duration, Instant, SystemTime};

use cohort_model::{ExceptionSeen, Exit, InstanceId, Symptom, SymptomKind};

use super::State;
use super::told::failed;
use crate::service::shell::Hub;
use crate::service::symptoms;
use crate::stood;

/// Lines in which it is looked for the reason of a server's end.
const LAST_WORDS: usize = 600;
/// What a server writes about a call that failed is there so long after the call.
const WRITTEN: Duration = Duration::from_millis(150);

impl Hub {
    /// A replica's server ended.
    pub(crate) fn replica_ended(&mut self, instance: InstanceId, exit: &Exit, lines: &[String]) {
        if *exit == Exit::Asked {
            return;
        }
        let mut symptom = symptoms::of_end(exit, &self.last_words(instance, lines));
        self.look_closer(instance, &mut symptom);
        stood::shorten(&mut symptom, &self.setup.root);
        self.fuzzed_ended(instance, &symptom);
        if let Some(one) = self.replicas.of_instance(instance)
            && !matches!(one.state, State::Waits)
        {
            one.ends.push(symptom);
        }
    }

    /// A crash that says nothing by itself is looked at while it happens the next time; what that told is read.
    fn look_closer(&mut self, instance: InstanceId, symptom: &mut Symptom) {
        let is_crash = matches!(symptom.kind, SymptomKind::Signal | SymptomKind::Abort);
        let is_told = |symptom: &Symptom| symptom.frames.iter().any(|frame| frame.own);
        if !is_crash || is_told(symptom) {
            return;
        }
        if self.replicas.mute.contains(&instance) {
            return;
        }
        if self.replicas.witnessed.insert(instance) {
            return self.set_witness(instance);
        }
        let path = self.stacks_file(instance);
        let text = stood::read(&path);
        // The next one is another one's.
        let _ = std::fs::remove_file(&path);
        stood::tell(symptom, &text, "");
        if !is_told(symptom) {
            self.replicas.mute.insert(instance);
        } else if let Some(one) = self.replicas.of_instance(instance) {
            let case = one.case;
            self.replicas.stacks.entry(case).or_insert(text);
        }
        self.replicas.witnessed.remove(&instance);
        self.set_witness(instance);
    }

    /// More of what a server wrote last than is told with its end: a backtrace is long.
    pub(super) fn last_words(&self, instance: InstanceId, lines: &[String]) -> Vec<String> {
        let began = self.replicas.lives.get(&instance).copied();
        match self.ground.get(instance) {
            Some(instance) => {
                let lines = instance.last_lines(LAST_WORDS).into_iter();
                // What a server wrote before it was started again is no word of this one.
                let own = lines.filter(|line| began.is_none_or(|began| line.at >= began));
                own.map(|line| line.text).collect()
            }
            None => lines.to_vec(),
        }
    }

    /// Plays that are over, and failed: what their servers wrote of it is taken as it is by now.
    pub(super) fn read_logs_of_plays(&mut self, now: Instant) {
        for one in self.replicas.plays.values_mut() {
            let State::Over(since, played) = &one.state else {
                continue;
            };
            let is_due = now.duration_since(*since) >= WRITTEN && one.exceptions.is_empty();
            if is_due
                && (failed(played) || !one.variant.is_empty())
                && self.replicas.shares.contains_key(&one.instance)
                && let Some(instance) = self.ground.get(one.instance)
            {
                one.exceptions.extend(instance.exceptions_by_now());
            }
        }
    }

    /// A replica wrote exceptions.
    pub(crate) fn replica_wrote(&mut self, instance: InstanceId, exceptions: &[ExceptionSeen]) {
        if let Some(one) = self.replicas.of_instance(instance)
            && !matches!(one.state, State::Waits)
        {
            one.exceptions.extend(exceptions.iter().cloned());
        }
    }

    /// A replica does not get ready: nothing can be played on it.
    pub(crate) fn replica_failed(&mut self, instance: InstanceId) {
        let plays = self.replicas.plays.iter();
        let of: Vec<u32> = plays
            .filter(|(_, one)| one.instance == instance)
            .map(|(&number, _)| number)
            .collect();
        for number in of {
            let begun = self.replicas.plays.get(&number).map(|one| one.begun);
            let since = begun.and_then(|begun| SystemTime::now().checked_sub(begun.elapsed()));
            let lines = self
                .ground
                .get(instance)
                .map(|it| it.last_lines(LAST_WORDS));
            // What it was before is another server.
            let own = |at: SystemTime| since.is_none_or(|since| at >= since);
            let mut last = lines.into_iter().flatten().rev();
            let last = last.find(|line| own(line.at) && !line.text.trim().is_empty());
            let wrote = last.map_or_else(
                || "it wrote nothing".to_owned(),
                |line| format!("it wrote last: {}", line.text.trim()),
            );
            let why = format!("its instance did not get ready; {wrote}");
            self.conclude_play(number, Some(&why));
        }
    }

    /// An ordinary server ended unasked: it is read once the calls that this broke were told.
    pub(crate) fn server_ended(&mut self, instance: InstanceId, exit: &Exit, lines: &[String]) {
        if self.replicas.player.is_some() && *exit != Exit::Asked {
            let symptom = symptoms::of_end(exit, &self.last_words(instance, lines));
            self.replicas
                .crashes
                .push((Instant::now(), instance, symptom));
        }
    }
}
