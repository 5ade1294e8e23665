//! Ways to break the protocol, which the checker has to notice: else it would prove nothing.

use cohort_handoff::{AgentId, Epoch, Event, Order, Standing, ToSide};
use cohort_model::InstanceId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flaw {
    None,
    /// The hub grants as soon as the target is prepared, before the source is frozen.
    GrantsBeforeFrozen,
    /// The hub takes a grant back because the target says nothing.
    TakesBackOnSilence,
    /// The hub takes a source that says nothing for dead.
    TakesSilentForDead,
    /// The hub says everything once.
    SaysOnce,
    /// The hub does not look into the journal of who died.
    SkipsJournal,
    /// The hub never has anything dropped.
    NeverDrops,
    /// A side that has no copy does not remember what it must never run.
    ForgetsVoidEpochs,
    /// A source runs on after it said that it is frozen.
    RunsWhileFrozen,
}

impl Flaw {
    pub(crate) fn spoil_event(self, event: Event) -> Event {
        match event {
            Event::Died { agent, .. } if self == Flaw::SkipsJournal => {
                Event::Died { agent, journal: 0 }
            }
            event => event,
        }
    }

    /// `before` is how the thread stood before the event. With two agents the other one is always
    /// known.
    pub(crate) fn spoil_orders(self, event: Event, before: Standing, orders: &mut Vec<Order>) {
        let other = |agent: AgentId| AgentId(1 - agent.0.min(1));
        let timeout = event == Event::Timeout;
        match (self, before) {
            (Flaw::GrantsBeforeFrozen, Standing::Leaving(source)) => {
                let early = orders.iter().find_map(|order| match order {
                    Order::Send(_, ToSide::Freeze { next, from, .. }) => Some((*next, *from)),
                    _ => None,
                });
                if let Some((epoch, at)) = early {
                    orders.push(Order::Send(other(source), grant(epoch, at)));
                }
            }
            (Flaw::TakesBackOnSilence, Standing::Granted(target, epoch)) if timeout => {
                let back = ToSide::GiveBack {
                    epoch: Epoch(epoch.0 + 1),
                    instance: InstanceId(0),
                };
                orders.push(Order::Send(other(target), back));
            }
            (Flaw::TakesSilentForDead, Standing::Leaving(source)) if timeout => {
                let epoch = Epoch(9);
                orders.push(Order::Send(other(source), grant(epoch, 0)));
            }
            (Flaw::SaysOnce, _) if timeout => orders.clear(),
            (Flaw::NeverDrops, _) => {
                orders.retain(|order| !matches!(order, Order::Send(_, ToSide::Drop { .. })));
            }
            _ => {}
        }
    }
}

fn grant(epoch: Epoch, at: u64) -> ToSide {
    ToSide::Grant {
        epoch,
        from: 0,
        at,
        instance: InstanceId(0),
    }
}
