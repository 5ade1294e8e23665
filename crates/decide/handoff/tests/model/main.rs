//! The hand-off protocol, checked in every state that it can reach.
//!
//! For every order of delivery and bounded numbers of doubled and lost messages, crashes,
//! divergences and orders: in each state at most one side runs the thread, and from exactly where
//! it had come to; and from each state fair delivery and time alone lead to one in which it runs
//! once (or is over) and nothing is left behind, while an agent lives.

mod explore;
mod flaws;
mod world;

use explore::{Explored, explore};
use flaws::Flaw;
use world::{Chances, World};

fn holds(name: &str, agents: usize, chances: Chances, states_min: usize) {
    let Explored {
        states,
        settled,
        fault,
    } = explore(World::new(agents, chances, Flaw::None));
    println!("{name}: {states} states, {settled} of them settled");
    if let Some((what, path)) = fault {
        panic!("{name}: {what}, after {path:#?}");
    }
    assert!(
        states >= states_min && settled > 1,
        "{name}: only {states} states and {settled} settled ones were reached"
    );
}

#[test]
fn one_hand_off_with_crashes_and_doubled_messages() {
    let chances = Chances {
        hand_offs: 1,
        crashes: 2,
        doubled: 1,
        early: 1,
        entries: 2,
        ..Chances::default()
    };
    holds("crashes", 2, chances, 50_000);
}

#[test]
fn one_hand_off_with_losses_and_divergence() {
    let chances = Chances {
        hand_offs: 1,
        lost: 2,
        doubled: 1,
        early: 1,
        divergences: 1,
        entries: 1,
        ..Chances::default()
    };
    holds("losses", 2, chances, 15_000);
}

#[test]
fn there_and_back_again() {
    let chances = Chances {
        hand_offs: 2,
        doubled: 2,
        entries: 1,
        ..Chances::default()
    };
    holds("back again", 2, chances, 30_000);
}

#[test]
fn three_agents_and_a_crash() {
    let chances = Chances {
        hand_offs: 2,
        crashes: 2,
        entries: 1,
        ..Chances::default()
    };
    holds("three agents", 3, chances, 5_000);
}

#[test]
fn moves_cancels_and_ends() {
    let chances = Chances {
        hand_offs: 1,
        moves: 1,
        cancels: 1,
        ends: 1,
        lost: 1,
        crashes: 1,
        ..Chances::default()
    };
    holds("moves and ends", 2, chances, 25_000);
}

#[test]
fn every_flaw_is_noticed() {
    let chances = Chances {
        hand_offs: 1,
        crashes: 1,
        doubled: 1,
        early: 1,
        lost: 1,
        entries: 1,
        ..Chances::default()
    };
    for flaw in [
        Flaw::GrantsBeforeFrozen,
        Flaw::TakesBackOnSilence,
        Flaw::TakesSilentForDead,
        Flaw::SaysOnce,
        Flaw::SkipsJournal,
        Flaw::NeverDrops,
        Flaw::ForgetsVoidEpochs,
        Flaw::RunsWhileFrozen,
    ] {
        let explored = explore(World::new(2, chances, flaw));
        let (what, path) = explored
            .fault
            .unwrap_or_else(|| panic!("{flaw:?} went unnoticed"));
        println!("{flaw:?}: {what}, after {} steps", path.len());
    }
}
