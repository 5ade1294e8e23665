//! Edge cases of services, played again: recorded threads against another instance.
//!
//! ```text
//!   journals ──capture──> Capsule ──read──> Take: each thread re-executed, its requests numbered
//!                                            │ Play(keep)
//!                                            v
//!                        a machine for each thread and copy: what is kept is sent, the rest is answered as it was
//! ```
//!
//! Promise: nothing of a play is counted among what ordinary threads did: it goes neither into windows nor into metrics, and its
//! connections are its own.

mod capsule;
mod edits;
mod fuzz;
mod needs;
mod pieces;
mod stage;
mod take;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use capsule::{Capsule, Error, Track};
pub use pieces::{body_without, url_without};
pub use take::Spot;
pub(crate) use take::Take;

use crate::agent::Agent;
use crate::protocol::{CaptureOrder, Captured, FromAgent, PlayOrder, Played};

/// What an instance uses is read so soon after a play.
const READ_WITHIN: std::time::Duration = std::time::Duration::from_millis(100);

/// Capsules, and plays under way.
#[derive(Debug, Default)]
pub(crate) struct Plays {
    takes: BTreeMap<u32, Rc<Take>>,
    running: BTreeMap<u32, tokio::sync::oneshot::Sender<()>>,
    /// Where each capsule lies.
    files: BTreeMap<u32, PathBuf>,
    fuzzing: fuzz::Fuzzing,
}

pub(crate) use fuzz::{begin as begin_fuzz, end as end_fuzz};

/// Puts recordings together.
pub(crate) fn capture(agent: &Rc<Agent>, order: &CaptureOrder) {
    let mut remarks = Vec::new();
    let made = Capsule::capture(agent, order, &mut remarks);
    let written = made.and_then(|capsule| {
        capsule.write(&order.file)?;
        Ok(capsule)
    });
    let of = (order.capsule, order.file.as_path());
    keep(agent, of, written, remarks, order.requests_max);
}

/// Reads a capsule that was written before.
pub(crate) fn load(agent: &Rc<Agent>, capsule: u32, file: &Path) {
    keep(
        agent,
        (capsule, file),
        Capsule::read(file),
        Vec::new(),
        u32::MAX,
    );
}

fn keep(
    agent: &Rc<Agent>,
    (capsule, file): (u32, &Path),
    made: Result<Capsule, Error>,
    mut remarks: Vec<String>,
    requests_max: u32,
) {
    let take = made.and_then(|made| Take::of(agent, &made, requests_max, &mut remarks));
    let requests = match take {
        Ok(take) => {
            let requests = take.requests.clone();
            let take = Rc::new(take);
            let mut plays = agent.plays.borrow_mut();
            plays.takes.insert(capsule, take);
            plays.files.insert(capsule, file.to_owned());
            Ok(requests)
        }
        Err(error) => Err(error.to_string()),
    };
    agent.post(FromAgent::Captured(Box::new(Captured {
        capsule,
        requests,
        remarks,
    })));
}

/// Plays a capsule, and tells what came of it.
pub(crate) fn begin(agent: &Rc<Agent>, order: PlayOrder) {
    let take = agent.plays.borrow().takes.get(&order.capsule).cloned();
    let Some(take) = take else {
        agent.post(FromAgent::Played(Box::new(Played {
            play: order.play,
            capsule: order.capsule,
            ended: agent.clock.now(),
            strayed: Some("there is no such capsule".to_owned()),
            ..Played::default()
        })));
        return;
    };
    let (end, ended) = tokio::sync::oneshot::channel();
    agent.plays.borrow_mut().running.insert(order.play, end);
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let play = order.play;
        let (played, held) = stage::play(&agent, &take, order, ended).await;
        agent.plays.borrow_mut().running.remove(&play);
        agent.post(FromAgent::Played(Box::new(played)));
        if held.is_read() {
            tokio::time::sleep(READ_WITHIN).await;
        }
    });
}

/// Ends a play that is under way.
pub(crate) fn end(agent: &Agent, play: u32) {
    if let Some(end) = agent.plays.borrow_mut().running.remove(&play) {
        // It may be over already.
        let _ = end.send(());
    }
}
