//! Everything that can happen to the hub of a service, as one stream.

use cohort_agent::protocol::FromAgent;
use cohort_model::{InstanceId, SampleBatch, ServiceSeen, Share};
use tokio::sync::mpsc;

use super::agents::AgentId;
use crate::Error;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// An agent said something.
    Agent(AgentId, Box<FromAgent>),
    /// An agent is dead, and was reaped.
    AgentGone(AgentId, String),
    /// Something of an instance.
    Instance(cohort_service::Event),
    /// Nothing is left of an instance but what is told here, in words.
    Closed(InstanceId, Vec<String>),
    /// An allotment is in force.
    ShareSet(InstanceId, Share),
    /// New telemetry.
    Samples(Box<SampleBatch>),
    /// Something of a helper.
    Helper(ServiceSeen),
    /// The user wants it to end.
    Stop,
}

pub(crate) type Events = mpsc::Sender<Event>;

/// Turns signals that ask this process to end into events, from now on.
pub(crate) fn listen_to_signals(events: &Events) -> Result<(), Error> {
    crate::event::listen(events, || Event::Stop)
}
