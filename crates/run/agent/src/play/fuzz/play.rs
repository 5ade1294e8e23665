//! One iteration, played with a request of it changed.

use std::collections::BTreeMap;
use std::rc::Rc;

use cohort_fuzzer::Edit;
use cohort_scenario::{Cue, Playback};

use super::Round;
use super::example::Example;
use super::played::{Played, played};
use crate::http::Connections;
use crate::play::stage::Stage;
use crate::play::take::Take;
use crate::protocol::PlayOrder;

/// Machines that are ready for another iteration, by capsule and track.
pub(super) type Machines<'t> = BTreeMap<(u32, usize), Playback<'t>>;

impl Round {
    pub(super) async fn play<'t>(
        &self,
        example: &'t Example,
        keep: &[u32],
        edits: &[Edit],
        on: (&mut Machines<'t>, &Rc<Connections>),
    ) -> Played {
        self.play_on((&example.take, example), keep, edits, on)
            .await
    }

    pub(super) async fn play_on<'t>(
        &self,
        (take, example): (&'t Take, &Example),
        keep: &[u32],
        edits: &[Edit],
        (machines, connections): (&mut Machines<'t>, &Rc<Connections>),
    ) -> Played {
        let (track, scene, ..) = example.spot;
        let recording = &take.parts[track].recording;
        let key = (example.capsule, track);
        let made = machines.remove(&key);
        let made = made.or_else(|| Playback::new(recording, scene, self.order.data.clone()).ok());
        let Some(mut playback) = made else {
            return Played {
                answer: None,
                odd: Vec::new(),
                sent: 0,
            };
        };
        let mut all = BTreeMap::new();
        all.insert(example.number, edits.to_vec());
        let stage = Stage::of_one(&self.agent, self.play_order(keep), all);
        playback.begin(scene);
        stage
            .scene(take, (track, scene), &mut playback, connections)
            .await;
        if matches!(playback.cue(), Cue::Over) && !recording.remembers() {
            machines.insert(key, playback);
        }
        played(example.number, &stage.answers_so_far())
    }

    fn play_order(&self, keep: &[u32]) -> PlayOrder {
        PlayOrder {
            play: 0,
            capsule: 0,
            instance: self.order.instance,
            address: self.order.address.clone(),
            data: self.order.data.clone(),
            keep: keep.to_vec(),
            without: Vec::new(),
            copies: 1,
            rounds: 1,
            hangs: false,
            grows: false,
            in_time: false,
            patience_us: self.order.patience_us,
            timeout_us: u64::MAX,
        }
    }
}
