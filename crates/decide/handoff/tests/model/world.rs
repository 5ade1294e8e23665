//! A hub, a few agents and a network that is free to lose, double, delay and reorder.

use std::collections::BTreeSet;

use cohort_handoff::{
    AgentId, Coordinator, Effect, Epoch, Event, Input, Order, Output, Place, Settings, Side,
    Standing, ToHub, ToSide,
};
use cohort_model::InstanceId;

use crate::flaws::Flaw;

/// How often something that need not happen may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Chances {
    pub(crate) doubled: u8,
    /// Timeouts while an answer is still on its way.
    pub(crate) early: u8,
    pub(crate) lost: u8,
    pub(crate) crashes: u8,
    pub(crate) hand_offs: u8,
    pub(crate) moves: u8,
    pub(crate) cancels: u8,
    pub(crate) ends: u8,
    pub(crate) divergences: u8,
    pub(crate) entries: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Packet {
    ToHub(usize, ToHub),
    ToSide(usize, ToSide),
}

/// One thing that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Deliver(Packet),
    Double(Packet),
    Lose(Packet),
    /// Nothing is under way, or the hub is impatient.
    HubTimeout,
    HubImpatient,
    SideTimeout(usize),
    Replayed(usize),
    Diverged(usize),
    Froze(usize),
    Records(usize),
    Ends(usize),
    Crashes(usize),
    HubHearsOfDeath(usize),
    Places(usize),
    HandsOff(usize),
    Moves,
    Cancels,
}

impl Action {
    /// Whether fair delivery and time alone bring it about.
    pub(crate) fn is_fair(self) -> bool {
        matches!(
            self,
            Action::Deliver(_)
                | Action::HubTimeout
                | Action::SideTimeout(_)
                | Action::Replayed(_)
                | Action::Froze(_)
                | Action::HubHearsOfDeath(_)
                | Action::Places(_)
        )
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Agent {
    pub(crate) side: Side,
    pub(crate) dead: bool,
    death_untold: bool,
    /// Entries that the copy here has executed or recorded; `None` without one.
    copy: Option<u64>,
    /// Entries in the journal file here.
    file: u64,
    replaying: Option<(Epoch, u64)>,
    freezing: bool,
    pub(crate) running: Option<Epoch>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) hub: Coordinator,
    pub(crate) agents: Vec<Agent>,
    net: BTreeSet<Packet>,
    /// Entries that were ever recorded by a running thread. What a runner begins with must be all.
    recorded: u64,
    chances: Chances,
    ended: u8,
    abandoned: u8,
    diverged: bool,
    instance: u32,
    flaw: Flaw,
    /// What was broken, if something was.
    pub(crate) broken: Option<&'static str>,
}

fn id(agent: usize) -> AgentId {
    AgentId(agent as u32)
}

impl World {
    pub(crate) fn new(agents: usize, chances: Chances, flaw: Flaw) -> World {
        let settings = Settings {
            tries_max: 1,
            rounds: 1,
        };
        let mut world = World {
            hub: Coordinator::new(settings),
            agents: vec![Agent::default(); agents],
            net: BTreeSet::new(),
            recorded: 0,
            chances,
            ended: 0,
            abandoned: 0,
            diverged: false,
            instance: 0,
            flaw,
            broken: None,
        };
        world.tell_hub(Event::Place(world.place(0)));
        world
    }

    fn place(&self, agent: usize) -> Place {
        Place {
            agent: id(agent),
            instance: InstanceId(self.instance),
        }
    }

    /// All that can happen next.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut all = Vec::new();
        for packet in &self.net {
            all.push(Action::Deliver(*packet));
            if self.chances.doubled > 0 {
                all.push(Action::Double(*packet));
            }
            if self.chances.lost > 0 {
                all.push(Action::Lose(*packet));
            }
        }
        let quiet = self.is_quiet();
        if self.hub.waits() && quiet {
            all.push(Action::HubTimeout);
        }
        if self.hub.waits() && !quiet && self.chances.early > 0 {
            all.push(Action::HubImpatient);
        }
        for agent in 0..self.agents.len() {
            self.agent_actions(agent, &mut all);
        }
        if matches!(self.hub.standing(), Standing::Runs(..)) && self.chances.moves > 0 {
            all.push(Action::Moves);
        }
        if matches!(self.hub.standing(), Standing::Leaving(_)) && self.chances.cancels > 0 {
            all.push(Action::Cancels);
        }
        all
    }

    /// Nothing is on its way, and nobody is at work on anything.
    fn is_quiet(&self) -> bool {
        let busy =
            |agent: &Agent| agent.death_untold || agent.replaying.is_some() || agent.freezing;
        self.net.is_empty() && !self.agents.iter().any(busy)
    }

    fn agent_actions(&self, number: usize, all: &mut Vec<Action>) {
        let agent = &self.agents[number];
        if agent.death_untold {
            all.push(Action::HubHearsOfDeath(number));
        }
        if agent.dead {
            return;
        }
        if agent.side.waits() && self.is_quiet() {
            all.push(Action::SideTimeout(number));
        }
        if agent.replaying.is_some() {
            all.push(Action::Replayed(number));
            if self.chances.divergences > 0 {
                all.push(Action::Diverged(number));
            }
        }
        if agent.freezing {
            all.push(Action::Froze(number));
        }
        if agent.running.is_some() {
            if self.chances.entries > 0 {
                all.push(Action::Records(number));
            }
            if self.chances.ends > 0 {
                all.push(Action::Ends(number));
            }
        }
        if self.chances.crashes > 0 {
            all.push(Action::Crashes(number));
        }
        match self.hub.standing() {
            Standing::Homeless => all.push(Action::Places(number)),
            Standing::Runs(holder, ..) if holder != id(number) && self.chances.hand_offs > 0 => {
                all.push(Action::HandsOff(number));
            }
            _ => {}
        }
    }

    /// The world after `action`.
    pub(crate) fn after(&self, action: Action) -> World {
        let mut world = self.clone();
        world.act(action);
        world.check();
        world
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Deliver(packet) => {
                self.net.remove(&packet);
                self.deliver(packet);
            }
            Action::Double(packet) => {
                self.chances.doubled -= 1;
                self.deliver(packet);
            }
            Action::Lose(packet) => {
                self.chances.lost -= 1;
                self.net.remove(&packet);
            }
            Action::HubTimeout => self.tell_hub(Event::Timeout),
            Action::HubImpatient => {
                self.chances.early -= 1;
                self.tell_hub(Event::Timeout);
            }
            Action::HandsOff(to) => {
                self.chances.hand_offs -= 1;
                self.tell_hub(Event::HandOff(self.place(to)));
            }
            Action::Moves => {
                self.chances.moves -= 1;
                if let Standing::Runs(agent, ..) = self.hub.standing() {
                    self.instance += 1;
                    let place = self.place(agent.0 as usize);
                    self.tell_hub(Event::HandOff(place));
                }
            }
            Action::Cancels => {
                self.chances.cancels -= 1;
                self.tell_hub(Event::Cancel);
            }
            Action::Places(agent) => self.tell_hub(Event::Place(self.place(agent))),
            Action::HubHearsOfDeath(number) => {
                self.agents[number].death_untold = false;
                let event = Event::Died {
                    agent: id(number),
                    journal: self.agents[number].file,
                };
                self.tell_hub(event);
            }
            Action::Crashes(number) => {
                self.chances.crashes -= 1;
                let file = self.agents[number].file;
                self.agents[number] = Agent {
                    dead: true,
                    death_untold: true,
                    file,
                    ..Agent::default()
                };
                self.net
                    .retain(|packet| !matches!(packet, Packet::ToSide(to, _) if *to == number));
            }
            Action::SideTimeout(agent) => self.tell_side(agent, Input::Timeout),
            _ => self.work(action),
        }
    }

    /// What happens to the copy in an agent.
    fn work(&mut self, action: Action) {
        match action {
            Action::Replayed(number) => {
                if let Some((epoch, at)) = self.agents[number].replaying.take() {
                    self.agents[number].copy = Some(at);
                    self.tell_side(number, Input::Replayed { epoch, at });
                }
            }
            Action::Diverged(number) => {
                self.chances.divergences -= 1;
                self.diverged = true;
                if let Some((epoch, _)) = self.agents[number].replaying.take() {
                    self.tell_side(number, Input::Diverged { epoch });
                }
            }
            Action::Froze(number) => {
                let agent = &mut self.agents[number];
                agent.freezing = false;
                if self.flaw != Flaw::RunsWhileFrozen {
                    agent.running = None;
                }
                let at = agent.copy.unwrap_or(0);
                self.tell_side(number, Input::Frozen { at });
            }
            Action::Records(number) => {
                self.chances.entries -= 1;
                let agent = &mut self.agents[number];
                let copy = agent.copy.unwrap_or(0) + 1;
                agent.copy = Some(copy);
                agent.file = copy;
                self.recorded += 1;
            }
            Action::Ends(number) => {
                self.chances.ends -= 1;
                self.agents[number].running = None;
                self.agents[number].freezing = false;
                self.tell_side(number, Input::Ended);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::ToHub(from, message) => self.tell_hub(Event::Heard(id(from), message)),
            Packet::ToSide(to, message) => self.tell_side(to, Input::Hub(message)),
        }
    }

    fn tell_hub(&mut self, event: Event) {
        let event = self.flaw.spoil_event(event);
        let before = self.hub.standing();
        let mut orders = self.hub.step(event);
        self.flaw.spoil_orders(event, before, &mut orders);
        for order in orders {
            match order {
                Order::Send(to, message) => self.send(Packet::ToSide(to.0 as usize, message)),
                Order::Ended => self.ended += 1,
                Order::Abandoned => self.abandoned += 1,
                Order::Runs(..) | Order::Aborted(_) | Order::Homeless => {}
            }
        }
    }

    fn send(&mut self, packet: Packet) {
        let lost = matches!(packet, Packet::ToSide(to, _) if self.agents[to].dead);
        if !lost {
            self.net.insert(packet);
        }
    }

    fn tell_side(&mut self, number: usize, input: Input) {
        for output in self.agents[number].side.step(input) {
            match output {
                Output::Send(message) => self.send(Packet::ToHub(number, message)),
                Output::Do(effect) => self.carry_out(number, effect),
            }
        }
    }

    fn carry_out(&mut self, number: usize, effect: Effect) {
        match effect {
            Effect::SendJournal { next, from } => {
                let to = self.agents[number].copy.unwrap_or(0);
                let part = ToHub::JournalPart { next, from, to };
                self.send(Packet::ToHub(number, part));
            }
            Effect::Replay { epoch, from, to } => {
                let agent = &mut self.agents[number];
                let has = agent.replaying.map(|(_, to)| to).or(agent.copy);
                if from != has.unwrap_or(0) || to > self.recorded {
                    self.broken = Some("a replay does not join on");
                }
                agent.replaying = Some((epoch, to));
            }
            Effect::Run { epoch, .. } => {
                let agent = &mut self.agents[number];
                agent.freezing = false;
                agent.running = Some(epoch);
                agent.file = agent.copy.unwrap_or(0);
                if agent.copy != Some(self.recorded) {
                    self.broken = Some("a thread runs on from another place than it came to");
                }
            }
            Effect::Freeze => self.agents[number].freezing = true,
            Effect::Discard => {
                let agent = &mut self.agents[number];
                agent.copy = None;
                agent.replaying = None;
                agent.freezing = false;
                agent.running = None;
                if self.flaw == Flaw::ForgetsVoidEpochs {
                    agent.side = Side::default();
                }
            }
        }
    }

    fn check(&mut self) {
        let running = self.agents.iter().filter(|agent| agent.running.is_some());
        let holding = self
            .agents
            .iter()
            .filter(|agent| agent.side.holds().is_some());
        if running.count() > 1 || holding.count() > 1 {
            self.broken = Some("two sides run the thread");
        } else if self
            .agents
            .iter()
            .any(|agent| agent.running.is_some() && agent.running != agent.side.holds())
        {
            self.broken = Some("a side runs without the right to");
        } else if self.ended + self.abandoned > 1 {
            self.broken = Some("the thread is over twice");
        } else if self.abandoned > 0 && !self.diverged {
            self.broken = Some("the thread is abandoned without need");
        }
    }

    /// The thread runs once and all is quiet, or is over, or nobody is left.
    pub(crate) fn is_settled(&self) -> bool {
        let living = || self.agents.iter().filter(|agent| !agent.dead);
        if living().next().is_none() {
            return true;
        }
        if self.hub.waits() || self.agents.iter().any(|agent| agent.death_untold) {
            return false;
        }
        let copies = living().filter(|agent| agent.side.is_present()).count();
        match self.hub.standing() {
            Standing::Runs(agent, epoch, _) => {
                copies == 1 && self.agents[agent.0 as usize].running == Some(epoch)
            }
            Standing::Over => copies == 0,
            _ => false,
        }
    }
}
