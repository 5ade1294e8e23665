//! Answering what a machine waits for.

use std::rc::Rc;

use cohort_model::At;
use cohort_scenario::{Permit, Reply, Request};
use tokio::time::sleep_until;

use super::{Body, Pending, Thread};
use crate::call::{self, To};
use crate::protocol::FromAgent;

/// What ended a wait.
enum Waited {
    /// What was waited for is there.
    Over,
    /// An order came; what is waited for is still to come.
    Order,
    /// The grace of a stop is over.
    Cut,
}

impl Thread {
    /// Answers the call, or returns to be called again when an order came first.
    pub(super) async fn answer(&mut self, pending: Pending) {
        match pending {
            Pending::Birth => self.resume(Reply::Resume),
            Pending::Now => self.resume(Reply::Now),
            Pending::Iterate => self.iterate().await,
            Pending::Sleep(_) => self.sleep().await,
            Pending::Http(requests) => self.http(requests).await,
            Pending::Pause(computed_us) => self.pause(computed_us).await,
            Pending::Ended(ended) => self.end_of_machine(&ended),
        }
    }

    async fn iterate(&mut self) {
        if self.stop.is_some() {
            self.resume(Reply::Terminate);
            return;
        }
        // What it would be given now may be nothing that the instance knows when it is back.
        let is_set_up = !self.agent.set_up.borrow().is_empty();
        if is_set_up && self.agent.address(self.instance).is_none() {
            return self.wait_for_instance().await;
        }
        if let Some(data) = self.other_data() {
            self.resume(Reply::Data(data));
            return;
        }
        match self.take_permit() {
            Some(number) => {
                let permit = self.begin_iteration(number);
                self.resume(Reply::Begin(permit));
            }
            None => self.wait_for_permit().await,
        }
    }

    /// What `setup()` returned at its instance, when that is not what its iterations are given.
    fn other_data(&self) -> Option<Option<String>> {
        let set_up = self.agent.set_up.borrow();
        let data = set_up.get(&self.instance)?;
        match &self.body {
            Some(Body::Script(machine, _)) if !machine.is_given(data.as_deref()) => {
                Some(data.clone())
            }
            _ => None,
        }
    }

    /// The number of the iteration in its scenario, when one may begin now.
    pub(super) fn take_permit(&mut self) -> Option<u64> {
        let own = &mut self.permits;
        if let Some(number) = own.assigned.take() {
            return Some(number);
        }
        if own.left > 0 {
            own.left -= 1;
        } else if self.agent.clock.now() >= own.free_until {
            return self.agent.permits.borrow_mut().take_pool(&self.scenario);
        }
        // Nobody numbers these: agents take turns, so that none is given twice.
        let (agent, agents) = self.agent.place;
        let begun = self.agent.permits.borrow_mut().begun(&self.scenario);
        Some(begun * u64::from(agents) + u64::from(agent))
    }

    pub(super) async fn wait_for_permit(&mut self) {
        self.agent
            .permits
            .borrow_mut()
            .set_idle(&self.scenario, self.handle.thread);
        if !self.permits.idle {
            self.permits.idle = true;
            self.say_iterated(0, 0);
        }
        self.handle.mailbox.wait().await;
    }

    /// Counts an iteration that begins, and gives what the script is told about it.
    pub(super) fn begin_iteration(&mut self, number: u64) -> Permit {
        let now = self.agent.clock.now();
        let mut permits = self.agent.permits.borrow_mut();
        permits.unset_idle(&self.scenario, self.handle.thread);
        let permit = Permit {
            in_vu: self.permits.begun,
            in_scenario: number,
            in_instance: permits.begin(&self.scenario),
            progress_permille: permits.progress_permille(&self.scenario, number, now),
            around: {
                let mut counts = self.agent.counts.borrow_mut();
                counts.vus_active += 1;
                counts.test_run_us = now.0;
                counts.clone()
            },
        };
        drop(permits);
        self.handle.iteration.set(self.permits.begun);
        self.permits.begun += 1;
        self.moved = false;
        if std::mem::take(&mut self.permits.idle) {
            self.say_iterated(0, 0);
        }
        permit
    }

    async fn sleep(&mut self) {
        let wake = self.wake.unwrap_or_default();
        match self.wait_until(wake).await {
            Waited::Over => {
                self.wake = None;
                self.resume(Reply::Woken);
            }
            Waited::Order => {}
            Waited::Cut => self.cut(),
        }
    }

    /// Until then, an order, or the end of a stop's grace.
    async fn wait_until(&mut self, until: At) -> Waited {
        let clock = self.agent.clock;
        let cut = self.cut_at();
        if cut.is_some_and(|cut| clock.now() >= cut) {
            return Waited::Cut;
        }
        if clock.now() >= until {
            return Waited::Over;
        }
        let next = cut.map_or(until, |cut| cut.min(until));
        tokio::select! {
            biased;
            () = self.handle.mailbox.wait() => Waited::Order,
            () = sleep_until(clock.instant(next)) => match cut {
                Some(cut) if cut < until => Waited::Cut,
                _ => Waited::Over,
            },
        }
    }

    /// When the iteration is to be cut off.
    pub(super) fn cut_at(&self) -> Option<At> {
        self.stop.filter(|stop| !stop.cut).map(|stop| stop.deadline)
    }

    /// Ends the iteration here.
    fn cut(&mut self) {
        if let Some(stop) = &mut self.stop {
            stop.cut = true;
        }
        self.wake = None;
        let reason = "the scenario has ended, and so has the time it gives to iterations under way";
        self.resume(Reply::Interrupt {
            reason: reason.to_owned(),
        });
    }

    async fn http(&mut self, requests: Rc<Vec<Request>>) {
        let address = self.agent.address(self.instance);
        if address.is_none() && call::needs_instance(&self.agent, &requests) {
            self.wait_for_instance().await;
            return;
        }
        self.told_stranded = false;
        if !self.may_send().await {
            return;
        }
        let to = To {
            instance: self.instance,
            address,
        };
        let unsure = std::mem::take(&mut self.unsure);
        self.handle.calling_since.set(Some(self.agent.clock.now()));
        let copies = self.copies;
        let work = call::call(self.caller(), to, requests, unsure, Some(0));
        let mut work = std::pin::pin!(work);
        let outcomes = loop {
            let cut = self.cut_at();
            let clock = self.agent.clock;
            let handle = Rc::clone(&self.handle);
            let cut_off = async move {
                match cut {
                    Some(cut) => sleep_until(clock.instant(cut)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                outcomes = &mut work => break Some(outcomes),
                () = handle.mailbox.wait() => {
                    self.take_orders();
                    if !self.running || self.copies != copies {
                        // Its lease was taken away: what comes of the request is nobody's.
                        return;
                    }
                }
                () = cut_off => break None,
            }
        };
        self.handle.calling_since.set(None);
        match outcomes {
            Some(outcomes) => self.resume(Reply::Responses(outcomes)),
            None => self.cut(),
        }
    }

    /// Where requests are limited: until it is the thread's turn; false when an order came first.
    async fn may_send(&mut self) -> bool {
        let Some(pace) = &self.agent.pace else {
            return true;
        };
        let now = self.agent.clock.now();
        let turn = *self.turn.get_or_insert_with(|| pace.take(now));
        let waited = self.wait_until(turn).await;
        match waited {
            Waited::Order => return false,
            Waited::Over => {}
            Waited::Cut => self.cut(),
        }
        self.turn = None;
        matches!(waited, Waited::Over)
    }

    /// The instance is down: until it is up, the thread is moved, or is to end.
    pub(super) async fn wait_for_instance(&mut self) {
        self.moved = true;
        if !self.told_stranded {
            self.told_stranded = true;
            self.agent.post(FromAgent::Stranded {
                thread: self.handle.thread,
                instance: self.instance,
                since: self.agent.clock.now(),
            });
        }
        if let Waited::Cut = self.wait_until(At(u64::MAX / 2)).await {
            self.cut();
        }
    }

    async fn pause(&mut self, computed_us: u64) {
        let now = self.agent.clock.now();
        if self.cut_at().is_some_and(|cut| now >= cut) {
            self.cut();
        } else if computed_us > self.agent.compute_us_max {
            let seconds = computed_us as f64 / 1e6;
            self.resume(Reply::Interrupt {
                reason: format!(
                    "it computed for {seconds:.1} s without asking for anything: an endless loop"
                ),
            });
        } else {
            tokio::task::yield_now().await;
            let copies = self.copies;
            self.take_orders();
            if self.running && self.copies == copies {
                self.resume(Reply::Resume);
            }
        }
    }
}
