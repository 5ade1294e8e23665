//! Carrying out what the schedule orders.

use cohort_agent::protocol::{DriverProgram, How, Permit as AgentPermit, ToAgent};
use cohort_model::{At, ServiceSeen, ThreadId};
use cohort_scenario::{Birth, Role, ScenarioInfo};
use cohort_schedule::{Order, Permit, ScenarioId};

use super::Driver;
use super::shell::Hub;

impl Hub {
    /// Steps the schedule and carries out what it orders.
    pub(crate) fn follow_schedule(&mut self) {
        let now = self.now();
        if let Some(why) = self.timetable.broken_threshold(now) {
            self.abort(why);
        }
        let mut wanted = Vec::new();
        for order in self.timetable.step(now) {
            match order {
                Order::Start {
                    thread,
                    scenario,
                    vu,
                    seed,
                } => {
                    let name = self.scenario_name(scenario);
                    let how = self.how(scenario, vu, seed);
                    self.threads.want(thread, &name, how);
                    wanted.push((thread, name));
                }
                Order::Permit(permit) => self.permit(permit),
                Order::Stop {
                    thread,
                    graceful_us,
                } => self.stop_thread(thread, graceful_us),
                Order::Close(scenario) => {
                    let scenario = self.scenario_name(scenario);
                    let order = ToAgent::Permit(AgentPermit::Closed { scenario });
                    self.agents.tell_all(&order);
                }
                Order::Finished(_) => {}
                Order::AllFinished => self.schedule_done(),
            }
        }
        if !wanted.is_empty() {
            self.tell(ServiceSeen::ThreadsWanted { threads: wanted });
        }
    }

    fn permit(&mut self, permit: Permit) {
        match permit {
            Permit::Free { thread, until_us } => {
                let until = At(until_us);
                self.permit_thread(thread, AgentPermit::Free { thread, until });
            }
            Permit::Count { thread, n, .. } => {
                let permit = AgentPermit::Count {
                    thread,
                    iterations: n,
                };
                self.permit_thread(thread, permit);
            }
            Permit::Timed {
                scenario,
                starts,
                first,
            } => self.permit_timed(scenario, &starts, first),
        }
    }

    fn permit_thread(&mut self, thread: ThreadId, permit: AgentPermit) {
        if let Some((agent, order)) = self.threads.order(thread, ToAgent::Permit(permit)) {
            self.agents.tell(agent.0, order);
        }
    }

    /// Starts are dealt out to agents by how many threads of the scenario each has, so that they find
    /// one that is idle about as often as if all were on one agent.
    fn permit_timed(&mut self, scenario: ScenarioId, starts: &[u64], first: u64) {
        let name = self.scenario_name(scenario);
        let mut shares = self.threads.by_agent(&name);
        if shares.is_empty() {
            shares.push((self.slots[0], 1));
        }
        let all: u64 = shares.iter().map(|(_, threads)| threads).sum();
        for (place, start) in starts.iter().enumerate() {
            let number = first + place as u64;
            // Spread evenly: the golden ratio's multiples leave no large gaps (Weyl 1916).
            let ticket = ((number as f64 * 0.618_033_988_749_895).fract() * all as f64) as u64;
            let mut passed = 0;
            let agent = shares.iter().find(|(_, threads)| {
                passed += threads;
                ticket < passed
            });
            let agent = agent.map_or(self.slots[0], |(agent, _)| *agent);
            let permit = AgentPermit::Timed {
                scenario: name.clone(),
                starts: vec![At(*start)],
                first: number,
            };
            self.agents.tell(agent.0, ToAgent::Permit(permit));
        }
    }

    fn scenario_name(&self, scenario: ScenarioId) -> String {
        self.prepared.options.scenarios[scenario.index()]
            .name
            .clone()
    }

    fn how(&self, scenario: ScenarioId, vu: u32, seed: u64) -> How {
        let options = &self.prepared.options;
        let scenario = &options.scenarios[scenario.index()];
        let mut env = self.setup.scenario.env.clone();
        env.extend(scenario.env.clone());
        match &self.setup.scenario.driver {
            Driver::Program(command) => How::Program(DriverProgram {
                scenario: scenario.name.clone(),
                command: command.clone(),
                env: env.into_iter().collect(),
                directory: Some(self.setup.root.clone()),
                seed,
            }),
            Driver::Script(_) => {
                let mut tags = options.tags.clone();
                tags.extend(scenario.tags.clone());
                let began = self.timetable.began().unwrap_or_default();
                let start = began.plus_us(scenario.start_us);
                How::Script {
                    birth: Box::new(Birth {
                        role: Role::Iterations,
                        vu: u64::from(vu),
                        vu_in_instance: u64::from(vu),
                        seed,
                        env,
                        setup_data: self.once.data(None),
                        base_url: self.prepared.base_url(),
                        scenario: ScenarioInfo {
                            name: scenario.name.clone(),
                            executor: scenario.executor.name().to_owned(),
                            exec: scenario.exec.clone(),
                            start_unix_us: self.load.start_wall_ms * 1_000 + start.0,
                        },
                        tags,
                        options: None,
                        ..Birth::default()
                    }),
                }
            }
        }
    }
}
