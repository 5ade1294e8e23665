//! What was odd, told with a capsule that plays it again.

use std::path::Path;

use cohort_fuzzer::Edit;

use super::example::Example;
use super::played::{Played, kind};
use super::{Round, SUSPECTS_MAX};
use crate::play::capsule::Capsule;
use crate::protocol::{FromAgent, FuzzFound, Oddity, TransportError};

/// Findings of one kind at one endpoint.
const OF_KIND_MAX: u32 = 2;

impl Round {
    /// The server ended: where only one request was under way it was that one.
    pub(super) fn judge_broken(&self) {
        let broken = std::mem::take(&mut *self.broken.borrow_mut());
        match broken.as_slice() {
            [] => {}
            [(number, edits)] => self.suspect(*number, edits, false),
            many => {
                let mut plays = self.agent.plays.borrow_mut();
                let suspects = &mut plays.fuzzing.suspects;
                suspects.extend(many.iter().cloned());
                suspects.truncate(SUSPECTS_MAX);
                drop(plays);
                for (number, edits) in many {
                    self.suspect(*number, edits, true);
                }
            }
        }
    }

    /// The server ended with a request.
    fn suspect(&self, number: usize, edits: &[Edit], is_one_of_many: bool) {
        if let Some(example) = self.examples().get(number) {
            let closed = Oddity::Broken(TransportError::Reset);
            let odd = (example.shown.endpoint.clone(), closed, String::new());
            let played = Played {
                answer: None,
                odd: vec![odd],
                sent: 0,
            };
            self.tell_as(example, edits, &played, is_one_of_many);
        }
    }

    /// Tells what was odd, with a capsule that plays it again.
    pub(super) fn tell(&self, example: &Example, edits: &[Edit], played: &Played) {
        self.tell_as(example, edits, played, false);
    }

    fn tell_as(&self, example: &Example, edits: &[Edit], played: &Played, is_suspect: bool) {
        for (endpoint, oddity, said) in &played.odd {
            let file = {
                let mut plays = self.agent.plays.borrow_mut();
                let fuzzing = &mut plays.fuzzing;
                let key = (endpoint.clone(), oddity.clone(), kind(said));
                let told = fuzzing.told.entry(key).or_default();
                *told += 1;
                let often =
                    matches!(oddity, Oddity::Broken(error) if *error != TransportError::Timeout);
                if *told > OF_KIND_MAX && !often {
                    continue;
                }
                fuzzing.found += 1;
                let name = format!("found-{}-{}", self.order.fuzz, fuzzing.found);
                self.order.directory.join(name)
            };
            if self.write(example, edits, &file).is_none() {
                continue;
            }
            self.agent.post(FromAgent::FuzzFound(Box::new(FuzzFound {
                file,
                thread: example.shown.thread,
                iteration: example.shown.iteration,
                instance: self.order.instance,
                endpoint: endpoint.clone(),
                oddity: oddity.clone(),
                said: said.clone(),
                is_suspect,
                edits: edits.iter().map(Edit::to_string).collect(),
            })));
        }
    }

    /// The iteration alone, with what is changed in it.
    fn write(&self, example: &Example, edits: &[Edit], file: &Path) -> Option<()> {
        let own = {
            let plays = self.agent.plays.borrow();
            plays.files.get(&example.capsule).cloned()?
        };
        let mut capsule = Capsule::read(&own).ok()?;
        let (track, scene, call, place) = example.spot;
        let in_vu = example
            .take
            .parts
            .get(track)?
            .recording
            .scenes
            .get(scene)?
            .in_vu;
        let mut only = capsule.tracks.get(track)?.clone();
        only.iteration = Some(in_vu);
        only.last = 1;
        capsule.tracks = vec![only];
        capsule.edits = vec![((0, scene, call, place), edits.to_vec())];
        capsule.write(file).ok()
    }
}
