//! `setup()`, `teardown()` and `handleSummary()` of the script.
//!
//! Every instance is a copy with a state of its own: `setup()` runs against each, and threads are given what it
//! returned where they are. An instance that comes back has lost what it knew, or not: `setup()` runs against it
//! again before threads come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use cohort_agent::protocol::{OneShot, OneShotAnswer, ToAgent};
use cohort_model::{InstanceId, ServiceSeen};
use cohort_scenario::{Birth, Role};

use super::place::address_of;
use super::shell::{Hub, Phase};

/// What is known of the functions that run once.
#[derive(Default)]
pub(crate) struct Once {
    /// What `setup()` returned at each instance, as JSON.
    set_up: BTreeMap<InstanceId, Option<String>>,
    /// Instances against which one of them runs.
    running: BTreeSet<InstanceId>,
    /// Instances on which `setup()` failed at first, with the error.
    failed: BTreeMap<InstanceId, String>,
    /// Instances that came back: where they listen, and what is to be told of it once they are set up.
    back: BTreeMap<InstanceId, (SocketAddr, ServiceSeen)>,
}

impl Once {
    /// What `setup()` returned: at one instance, or at any.
    pub(crate) fn data(&self, at: Option<InstanceId>) -> Option<String> {
        let data = match at {
            Some(instance) => self.set_up.get(&instance),
            None => self.set_up.values().next(),
        };
        data.cloned().flatten()
    }

    /// What an agent is to be told of it.
    pub(crate) fn set_up_orders(&self) -> impl Iterator<Item = ToAgent> {
        self.set_up.iter().map(|(&instance, data)| ToAgent::SetUp {
            instance,
            data: data.clone(),
        })
    }

    /// An instance is down: it is not waited for.
    pub(crate) fn down(&mut self, instance: InstanceId) {
        self.back.remove(&instance);
    }
}

impl Hub {
    /// An instance answers.
    pub(crate) fn answers(&mut self, instance: InstanceId, at: SocketAddr, seen: ServiceSeen) {
        let set_up = matches!(self.phase, Phase::SettingUp | Phase::Running)
            || self.replicas.is_one(instance);
        if set_up && self.prepared.exports("setup") {
            self.once.back.insert(instance, (at, seen));
            self.set_up_instance(instance, at);
        } else {
            self.opened(instance, at, seen);
        }
    }

    /// Threads may come to an instance.
    fn opened(&mut self, instance: InstanceId, at: SocketAddr, seen: ServiceSeen) {
        if let Some(place) = self.places.get_mut(&instance) {
            place.ready(at);
        }
        let address = Some(address_of(at, self.setup.sut.tls));
        self.agents
            .tell_all(&ToAgent::Instance { instance, address });
        self.tell(seen);
        self.play_waiting(instance);
    }

    /// `setup()` runs against every instance that answers.
    pub(crate) fn set_up_all(&mut self) {
        self.phase = Phase::SettingUp;
        for (instance, at) in self.listening() {
            self.set_up_instance(instance, at);
        }
    }

    fn listening(&self) -> Vec<(InstanceId, SocketAddr)> {
        // What was played on others is gone with them.
        let places = self.places.iter();
        let places = places.filter(|(id, _)| !self.replicas.is_one(**id));
        places
            .filter_map(|(&id, place)| Some((id, place.socket()?)))
            .collect()
    }

    fn set_up_instance(&mut self, instance: InstanceId, at: SocketAddr) {
        self.once.running.insert(instance);
        self.once(OneShot::Setup, Role::Setup, (instance, Some(at)));
    }

    /// The agent that ran it may be gone.
    pub(crate) fn set_up_again(&mut self) {
        let back: Vec<(InstanceId, SocketAddr)> = self
            .once
            .back
            .iter()
            .map(|(&instance, &(at, _))| (instance, at))
            .collect();
        for (instance, at) in back {
            self.set_up_instance(instance, at);
        }
    }

    /// `teardown()` runs against every instance that answers and could be set up.
    pub(crate) fn tear_down_all(&mut self) {
        self.phase = Phase::TearingDown;
        self.once.running.clear();
        let mut instances = self.listening();
        if self.prepared.exports("setup") {
            instances.retain(|(instance, _)| self.once.set_up.contains_key(instance));
        }
        for (instance, at) in instances {
            self.once.running.insert(instance);
            self.once(OneShot::Teardown, Role::Teardown, (instance, Some(at)));
        }
        if self.once.running.is_empty() {
            self.count();
        }
    }

    /// Runs one of them, where an instance listens.
    pub(crate) fn once(
        &mut self,
        what: OneShot,
        role: Role,
        (instance, at): (InstanceId, Option<SocketAddr>),
    ) {
        let agent = match self.replicas.player {
            Some(player) if self.replicas.is_one(instance) => player,
            _ => self.agent_for(instance),
        };
        let timeout_us = match what {
            OneShot::Setup => self.prepared.options.setup_timeout_us,
            _ => self.prepared.options.teardown_timeout_us,
        };
        let order = ToAgent::OneShot {
            what,
            instance,
            address: at.map(|at| address_of(at, self.setup.sut.tls)),
            birth: Box::new(Birth {
                role,
                vu: 0,
                vu_in_instance: 0,
                seed: self.setup.scenario.seed,
                env: self.setup.scenario.env.clone(),
                setup_data: self.once.data(Some(instance)),
                base_url: self.prepared.base_url(),
                tags: self.prepared.options.tags.clone(),
                ..Birth::default()
            }),
            timeout_us,
        };
        self.agents.tell(agent.0, order);
    }

    /// One of them is over.
    pub(crate) fn once_done(&mut self, answer: OneShotAnswer) {
        let OneShotAnswer {
            what,
            instance,
            result,
        } = answer;
        match what {
            OneShot::Setup => self.set_up_done(instance, result),
            OneShot::Teardown => {
                self.once.running.remove(&instance);
                if let Err(error) = result {
                    let why = format!("teardown() of the script failed on {instance}: {error}");
                    self.measured.aborted.get_or_insert(why);
                }
                if self.phase == Phase::TearingDown && self.once.running.is_empty() {
                    self.count();
                }
            }
            OneShot::HandleSummary => {
                match result {
                    Ok(outputs) => self.write_outputs(&outputs),
                    Err(error) => self
                        .notes
                        .push(format!("handleSummary() of the script failed: {error}")),
                }
                if self.phase == Phase::SummingUp {
                    self.begin_closing();
                }
            }
        }
    }

    fn set_up_done(&mut self, instance: InstanceId, result: Result<String, String>) {
        self.once.running.remove(&instance);
        match result {
            Ok(data) => {
                // One that returns nothing gives threads nothing.
                let data = Some(data).filter(|data| !data.is_empty());
                self.once.set_up.insert(instance, data.clone());
                self.agents.tell_all(&ToAgent::SetUp { instance, data });
            }
            // Where instances share a database, say, one can be set up once.
            Err(error) if self.phase == Phase::SettingUp => {
                self.once.failed.insert(instance, error);
            }
            // What it made before may still be there.
            Err(error) => self.notes.push(format!(
                "setup() of the script failed on {instance} when that came back: {error}; its threads are given what it returned before"
            )),
        }
        if let Some((at, seen)) = self.once.back.remove(&instance) {
            self.opened(instance, at, seen);
        }
        if self.phase == Phase::SettingUp && self.once.running.is_empty() {
            self.begin_or_give_up();
        }
    }

    /// All instances had their turn: one that could be set up is enough.
    fn begin_or_give_up(&mut self) {
        let failed = std::mem::take(&mut self.once.failed);
        let Some((instance, error)) = failed.into_iter().next() else {
            return self.begin_schedule();
        };
        let why = format!("setup() of the script failed on {instance}: {error}");
        if self.once.set_up.is_empty() {
            return self.give_up(why);
        }
        self.notes.push(format!(
            "{why}; its threads are given what it returned on another instance"
        ));
        self.begin_schedule();
    }

    /// What `handleSummary()` returned: texts by the names of files, or `stdout` and `stderr`.
    fn write_outputs(&mut self, outputs: &str) {
        let outputs = match serde_json::from_str(outputs) {
            Ok(serde_json::Value::Object(outputs)) => outputs,
            _ if matches!(outputs, "" | "null") => return,
            _ => {
                let what = "handleSummary() of the script returned no object of texts by the names of files";
                self.notes.push(what.to_owned());
                return;
            }
        };
        for (name, text) in outputs {
            let Some(text) = text.as_str() else {
                self.notes.push(format!(
                    "handleSummary() of the script returned no text for {name:?}: nothing was written"
                ));
                continue;
            };
            match name.as_str() {
                "stdout" | "stderr" => {
                    self.said.push_str(text);
                    // What Cohort prints next begins a line.
                    if !text.is_empty() && !text.ends_with('\n') {
                        self.said.push('\n');
                    }
                }
                file => {
                    let path = self.setup.root.join(file);
                    if let Err(error) = std::fs::write(&path, text) {
                        self.notes
                            .push(format!("write {}: {error}", path.display()));
                    }
                }
            }
        }
    }
}
