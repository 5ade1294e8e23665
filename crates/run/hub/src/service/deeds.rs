//! Carrying out what was decided.

use cohort_agent::protocol::ToAgent;
use cohort_handoff::Place as ThreadPlace;
use cohort_model::{InstanceId, ServiceCommand, ServiceSeen, Share, ThreadId};

use super::event::Event;
use super::place::Place;
use super::shell::Hub;
use cohort_host::chain;

impl Hub {
    pub(crate) async fn carry_out(&mut self, command: ServiceCommand) {
        let Some(command) = self.carry_out_case(command).await else {
            return;
        };
        match command {
            ServiceCommand::Open { instance, share } => self.open(instance, share).await,
            ServiceCommand::Allot { instance, share } => self.allot(instance, share),
            ServiceCommand::Place { thread, instance } => {
                let came = self.threads.place(thread, self.place_of(instance));
                self.came(came);
            }
            ServiceCommand::HandOver {
                thread,
                source,
                target,
            } => {
                // Where nobody answers, an iteration does not come to its end.
                let gently = self.places.get(&source).is_some_and(Place::is_ready);
                let target = self.place_of(target);
                let came = self.threads.hand_over(thread, target, gently);
                self.came(came);
            }
            ServiceCommand::Restart { instance } => {
                self.set_down(instance);
                if let Some(instance) = self.ground.get(instance).cloned() {
                    tokio::spawn(async move { instance.restart().await });
                }
            }
            ServiceCommand::Close { instance } => self.close(instance),
            ServiceCommand::Deploy {
                deployment,
                helper,
                instance,
                reference,
            } => self.deploy(deployment, &helper, (instance, reference)),
            ServiceCommand::Withdraw { deployment } => self.withdraw(deployment),
            ServiceCommand::Specialize { .. } | ServiceCommand::Finish => {}
            // Carried out before.
            ServiceCommand::OpenReplica { .. }
            | ServiceCommand::Capture { .. }
            | ServiceCommand::TryCase { .. }
            | ServiceCommand::Fuzz { .. }
            | ServiceCommand::EndFuzz { .. }
            | ServiceCommand::KeepFound { .. }
            | ServiceCommand::EndPlay { .. } => {}
        }
    }

    fn place_of(&self, instance: InstanceId) -> ThreadPlace {
        ThreadPlace {
            agent: self.agent_for(instance),
            instance,
        }
    }

    pub(crate) async fn open(&mut self, id: InstanceId, share: Share) {
        self.places.insert(id, Place::new());
        self.ground.set_env(id, self.environment(id));
        match self.ground.make(id, share).await {
            Ok(instance) => {
                self.tell(ServiceSeen::ShareSet {
                    instance: id,
                    share,
                });
                if let Some(place) = self.places.get_mut(&id) {
                    place.instance = Some(instance.clone());
                }
                tokio::spawn(async move { instance.start().await });
            }
            Err(error) => {
                if let Some(place) = self.places.get_mut(&id) {
                    place.failed();
                }
                self.tell(ServiceSeen::InstanceFailed {
                    instance: id,
                    reason: chain(&error),
                });
            }
        }
    }

    fn allot(&mut self, id: InstanceId, share: Share) {
        self.replica_allotted(id, share);
        let Some(instance) = self.ground.get(id).cloned() else {
            return;
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            // One that is closed meanwhile needs no share.
            if let Ok(share) = instance.set(share).await {
                let _ = events.send(Event::ShareSet(id, share)).await;
            }
        });
    }

    /// It is known not to answer: threads on it wait until they are moved or it is back.
    pub(crate) fn set_down(&mut self, id: InstanceId) {
        if let Some(place) = self.places.get_mut(&id) {
            place.down();
        }
        self.once.down(id);
        self.agents.tell_all(&ToAgent::Instance {
            instance: id,
            address: None,
        });
    }

    fn close(&mut self, id: InstanceId) {
        self.set_down(id);
        if let Some(collector) = &self.collector {
            collector.unwatch(id);
        }
        self.places.remove(&id);
        if let Some(instance) = self.ground.take(id) {
            let events = self.events.clone();
            tokio::spawn(async move {
                let left = instance.close().await;
                let _ = events.send(Event::Closed(id, left)).await;
            });
        } else {
            self.closed(id, Vec::new());
        }
    }

    /// A thread whose agent died goes on where its instance is driven now.
    pub(crate) fn place_again(&mut self, thread: ThreadId) {
        if let Some(instance) = self.threads.instance_of(thread) {
            let came = self.threads.place(thread, self.place_of(instance));
            self.came(came);
        }
    }
}
