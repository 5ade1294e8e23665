//! Symptoms in groups, one for each bug, as they come.
//!
//! A symptom joins the group all of whose members it is the same as (complete linkage: groups do not
//! grow along chains of small differences), of several the one with the nearest members; else it opens
//! a group of its own. Members that say nothing new are not kept.

use cohort_model::Symptom;

use super::frame::{Place, places};
use super::{Fingerprint, same, similarity};

/// Members that are kept of a group; a group that has as many is compared with the first of them.
const MEMBERS_MAX: usize = 32;

/// Groups of symptoms.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    fingerprint: Fingerprint,
    members: Vec<(Symptom, Vec<Place>)>,
    count: u64,
}

impl Groups {
    /// Takes a symptom, and says which group it belongs to: the groups' numbers begin at 0 and stay.
    pub fn add(&mut self, symptom: &Symptom) -> usize {
        let stack = places(symptom, true);
        let nearest = self
            .groups
            .iter()
            .enumerate()
            .filter_map(|(number, group)| Some((number, group.nearness(symptom, &stack)?)))
            .max_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)));
        if let Some((number, _)) = nearest {
            self.groups[number].take(symptom, stack);
            return number;
        }
        self.groups.push(Group {
            fingerprint: Fingerprint::of(symptom),
            members: vec![(symptom.clone(), stack)],
            count: 1,
        });
        self.groups.len() - 1
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Nothing was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many symptoms each group has, by its number.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        self.groups.iter().map(|group| group.count).collect()
    }

    /// How many members of each group differ from one another, by its number.
    #[must_use]
    pub fn kinds(&self) -> Vec<usize> {
        self.groups
            .iter()
            .map(|group| group.members.len())
            .collect()
    }

    /// The fingerprint of a group: that of its first symptom.
    #[must_use]
    pub fn fingerprint(&self, number: usize) -> Option<Fingerprint> {
        self.groups.get(number).map(|group| group.fingerprint)
    }
}

impl Group {
    /// How near its least similar member is; none when one of them is another bug.
    fn nearness(&self, symptom: &Symptom, stack: &[Place]) -> Option<f64> {
        let mut least = 1.0_f64;
        for (member, member_stack) in &self.members {
            if !same(member, symptom) {
                return None;
            }
            least = least.min(similarity(member_stack, stack));
        }
        Some(least)
    }

    fn take(&mut self, symptom: &Symptom, stack: Vec<Place>) {
        self.count += 1;
        let is_new = self.members.iter().all(|(_, member)| *member != stack);
        if is_new && !stack.is_empty() && self.members.len() < MEMBERS_MAX {
            self.members.push((symptom.clone(), stack));
        }
    }
}
