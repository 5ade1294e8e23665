//! Where plays are: on a replica that suits them.
//!
//! Promise: what is to grow old, for the sake of a case that takes such servers, is left alone by cases that do not, as long as
//! there is another one for these.

use std::collections::BTreeSet;

use cohort_model::{At, CaseId, Condition, ConditionKind, InstanceId, Recipe, Stage};

use super::super::Conductor;
use super::Cases;
use super::attempt::Next;
use super::gauge::Gauge;

/// So many plays of what grows follow each other on one server.
const GROWS_PLAYS: u32 = 10;
/// First plays of harmless cases on one ordinary instance.
const PLAYS_AT_ONCE: usize = 4;

impl Cases {
    /// Replicas on which nothing is played, with how long they have run, microseconds.
    pub(super) fn free(&self, at: At) -> Vec<(InstanceId, u64)> {
        let free = self.replicas.iter().filter(|(id, replica)| {
            let is_free = replica.opened && replica.play.is_none() && !replica.closing;
            // Where there are others, changed requests keep theirs.
            is_free && !(self.is_fuzzed(**id) && self.alive() > 1)
        });
        free.map(|(&id, _)| (id, self.age_us(at, id))).collect()
    }

    /// Whether one of these can play something at once.
    pub(super) fn is_ready_for_first(&self, free: &[(InstanceId, u64)]) -> bool {
        let is_ready = |id: &InstanceId| self.replicas.get(id).is_some_and(|one| one.ready);
        free.iter().any(|(id, _)| is_ready(id))
    }

    /// The one of these on which a case is played; `None`: none suits it now.
    pub(super) fn stage_of(
        &self,
        at: At,
        case: CaseId,
        free: &[(InstanceId, u64)],
    ) -> Option<InstanceId> {
        let is_ready = |id: InstanceId| self.replicas.get(&id).is_some_and(|one| one.ready);
        if !self.tried.contains(&case) {
            // At once: nothing is begun anew for it, and the original was seen on one that had run for as long.
            let first = free
                .iter()
                .max_by_key(|(id, age_us)| (is_ready(*id), *age_us));
            return first.map(|(id, _)| *id);
        }
        if self.wants_old(case) {
            let old = free.iter().filter(|(id, _)| self.suits(at, case, *id));
            let next = old.min_by_key(|(_, age_us)| *age_us);
            // What was started under conditions is started without them: it grows old from then on.
            let is_under = |id: InstanceId| self.replicas.get(&id).is_some_and(|one| one.is_under);
            let next = next.or_else(|| free.iter().find(|(id, _)| is_under(*id)));
            return next.map(|(id, _)| *id);
        }
        let grows = |id: InstanceId| self.grows_on(case, id);
        if let Some((id, _)) = free.iter().find(|(id, _)| grows(*id)) {
            return Some(*id);
        }
        let ripe = free
            .iter()
            .filter(|(id, _)| self.keeps_old(at, case, *id) && !self.ripens(at, *id));
        if let Some((id, _)) = ripe.max_by_key(|(_, age_us)| *age_us) {
            return Some(*id);
        }
        // Those that have run for the shortest time are missed least.
        let spare = self.spare(at);
        let others = free.iter().filter(|(id, _)| !spare.contains(id));
        let is_clean = |id: InstanceId| self.replicas.get(&id).is_some_and(|one| one.clean);
        let next = others.min_by_key(|(id, age_us)| (!is_ready(*id), !is_clean(*id), *age_us, *id));
        next.map(|(id, _)| *id)
    }

    /// Replicas that grow old for the sake of a case: half of them at least where others are to be played too.
    fn spare(&self, at: At) -> BTreeSet<InstanceId> {
        let alive = self.replicas.iter().filter(|(_, one)| !one.closing);
        let mut all: Vec<(u64, InstanceId)> =
            alive.map(|(&id, _)| (self.age_us(at, id), id)).collect();
        let ripens = |(_, id): &&(u64, InstanceId)| self.ripens(at, *id);
        let mut spare: BTreeSet<InstanceId> = all.iter().filter(ripens).map(|one| one.1).collect();
        if self.waits_for_old() {
            all.sort_unstable();
            let half = all.len().div_ceil(2);
            spare.extend(all.iter().skip(half).map(|(_, id)| *id));
        }
        spare
    }

    /// Whether a server stays as it is for a play of a case: its age may matter.
    pub(super) fn stays(&self, at: At, case: CaseId, instance: InstanceId) -> bool {
        self.wants_old(case) || self.keeps_old(at, case, instance)
    }

    /// The recipe as it can be played on an instance, and what it lacks then: one that is to stay as old as it is is not started
    /// under anything.
    pub(super) fn as_it_can_be(
        &self,
        at: At,
        next: &Next,
        instance: InstanceId,
    ) -> (Recipe, Vec<ConditionKind>) {
        let mut recipe = next.recipe.clone();
        let stays = self.stays(at, next.case, instance);
        let is_left_out = |one: &Condition| stays && one.is_of_start();
        let unmade = recipe.conditions.iter().filter(|one| is_left_out(one));
        let unmade = unmade.map(Condition::kind).collect();
        recipe.conditions.retain(|one| !is_left_out(one));
        (recipe, unmade)
    }

    /// What grows goes on growing where it was played last.
    fn grows_on(&self, case: CaseId, instance: InstanceId) -> bool {
        let gauge = self.capsule_of(case).map(|capsule| &capsule.gauge);
        let replica = self.replicas.get(&instance);
        matches!(gauge, Some(Gauge::Grows(_)))
            && replica
                .is_some_and(|one| one.ready && one.last == Some(case) && one.plays < GROWS_PLAYS)
    }

    /// What an instance is started as for a play, or has become by it, is not what the next one wants.
    pub(super) fn begins_otherwise(&mut self, instance: InstanceId) {
        if let Some(replica) = self.replicas.get_mut(&instance) {
            replica.ready = false;
            replica.is_under = true;
        }
    }

    /// Takes a replica for a play: whether its server begins anew before, and how long it has run then, microseconds.
    pub(super) fn take_stage(
        &mut self,
        at: At,
        (play, instance): (u32, InstanceId),
        (case, recipe): (CaseId, &Recipe),
        is_first: bool,
    ) -> (bool, u64) {
        let starts = recipe.conditions.iter().any(Condition::is_of_start);
        let old = self.suits(at, case, instance) && self.wants_old(case)
            || self.keeps_old(at, case, instance);
        let goes_on = self.grows_on(case, instance);
        let Some(replica) = self.replicas.get_mut(&instance) else {
            return (false, u64::MAX);
        };
        // Nothing is waited for before something is tried for the first time; what grows goes on growing.
        let at_once = is_first && replica.ready;
        let is_plain = !starts && !replica.is_under;
        let is_plain = is_plain && !replica.fuzzed;
        let stays = is_plain && (replica.clean || at_once || old || (goes_on && replica.ready));
        let runs = replica.ready && stays;
        replica.play = Some(play);
        replica.clean = false;
        replica.last = Some(case);
        replica.plays += 1;
        replica.ready &= stays;
        replica.is_under = starts;
        replica.fuzzed &= stays;
        (!stays, if runs { at.since(replica.since) } else { 0 })
    }
}

impl Conductor {
    /// Where what was never tried can be tried while there is no replica for it: an ordinary instance.
    pub(super) fn ordinary_stage(&self, cases: &Cases) -> Option<InstanceId> {
        if self.stopping.is_some() || cases.done.is_some() {
            return None;
        }
        let first = cases
            .replicator
            .cases()
            .find(|case| case.stage == Stage::Open)?;
        if !cases.is_harmless(first.case) {
            return None;
        }
        let number = cases.of_case.get(&first.case)?;
        let seen_on = cases.capsules.get(*number as usize)?.instance;
        let plays = |id: InstanceId| {
            let plays = cases.plays.values();
            plays.filter(|play| play.instance == id).count()
        };
        let others = self
            .ready()
            .filter(|(id, _)| *id != seen_on && plays(*id) < PLAYS_AT_ONCE);
        others
            .min_by_key(|(id, place)| (plays(*id), place.threads.len(), *id))
            .map(|(id, _)| id)
    }
}
