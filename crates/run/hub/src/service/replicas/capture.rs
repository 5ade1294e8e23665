//! Recordings of threads are put together by the player, and told without their secrets.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cohort_agent::protocol::{self as agent, CaptureOrder, ThreadTaken, ToAgent};
use cohort_model::{CaseThread, InstanceId, ServiceSeen, ThreadId};

use super::CAPSULES;
use crate::service::masked::masked;
use crate::service::shell::Hub;

/// Most requests of one capsule.
const REQUESTS_MAX: u32 = 400;

impl Hub {
    pub(crate) fn capsule_file(&self, capsule: u32) -> PathBuf {
        let directory = self.campaign.path().join(CAPSULES);
        directory.join(format!("capsule-{capsule}"))
    }

    /// The agent that plays is told which recordings to put together.
    pub(super) fn capture(&mut self, capsule: u32, instance: InstanceId, threads: &[CaseThread]) {
        let data = self.once.data(Some(instance));
        let taken = threads.iter().filter_map(|wanted| {
            Some(ThreadTaken {
                thread: wanted.thread,
                journal: self.journal_of(wanted.thread)?,
                iteration: wanted.iteration,
                last: wanted.last,
                data: data.clone(),
            })
        });
        let order = CaptureOrder {
            capsule,
            threads: taken.collect(),
            file: self.capsule_file(capsule),
            requests_max: REQUESTS_MAX,
        };
        let Some(player) = self.replicas.player else {
            return;
        };
        self.agents
            .tell(player.0, ToAgent::Capture(Box::new(order)));
    }

    /// The journal of a thread, which may have ended.
    pub(super) fn journal_of(&self, thread: ThreadId) -> Option<PathBuf> {
        let name = cohort_agent::journal::file_name(thread);
        let own = self.threads.agent_of(thread);
        let agents = own.map(|agent| agent.0).into_iter();
        let mut files = agents
            .chain((0..self.agents.started()).rev())
            .map(|agent| self.agents.journals(agent).join(&name));
        files.find(|file| file.exists())
    }

    pub(crate) fn captured(&mut self, captured: agent::Captured) {
        let (requests, failed) = match captured.requests {
            Ok(requests) => {
                // What is played has them; what is told has not.
                let requests = requests.into_iter();
                let requests = requests.map(|one| masked(one, &mut BTreeSet::new()));
                (requests.collect::<Vec<_>>(), String::new())
            }
            Err(why) => (Vec::new(), why),
        };
        if failed.is_empty() {
            if !self.fuzzing.made(captured.capsule) {
                self.note_examples(&requests);
            }
            self.replicas
                .capsules
                .insert(captured.capsule, requests.clone());
        }
        self.tell(ServiceSeen::CaseCaptured {
            capsule: captured.capsule,
            requests,
            failed,
            remarks: captured.remarks,
        });
    }
}
