//! The agents of this host: processes of this very program that drive scenario threads.
//!
//! Promise: an agent that is reported dead was reaped, so that it certainly sends nothing any more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use cohort_agent::protocol::{FromAgent, Hello, Load, Reader, ToAgent, Writer};
use cohort_host::init;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use super::event::{Event, Events};
use crate::Error;

/// Which agent.
pub(crate) type AgentId = u32;

/// How long an agent may take to end when its socket was closed.
const END_WAIT: Duration = Duration::from_secs(5);

/// One agent.
struct Agent {
    orders: UnboundedSender<ToAgent>,
    life: JoinHandle<()>,
}

/// All agents, and what each was told about instances, for those that come later.
pub(crate) struct Agents {
    executable: PathBuf,
    directory: PathBuf,
    events: Events,
    agents: BTreeMap<AgentId, Agent>,
    /// Started so far.
    next: AgentId,
}

impl Agents {
    /// `directory`: where each agent's journals lie, one directory an agent.
    pub(crate) fn new(executable: &Path, directory: &Path, events: &Events) -> Self {
        Self {
            executable: executable.to_owned(),
            directory: directory.to_owned(),
            events: events.clone(),
            agents: BTreeMap::new(),
            next: 0,
        }
    }

    /// Where the journals of an agent lie.
    pub(crate) fn journals(&self, agent: AgentId) -> PathBuf {
        self.directory.join(format!("agent-{agent}"))
    }

    /// So many were started, so that those are their numbers.
    pub(crate) fn started(&self) -> AgentId {
        self.next
    }

    /// Starts one more, and tells it what to load.
    ///
    /// # Errors
    /// The process cannot be started, or has no directory.
    pub(crate) fn start(&mut self, load: &Load) -> Result<AgentId, Error> {
        let id = self.next;
        let journals = self.journals(id);
        let failed = |what: String| move |source| Error::Host { what, source };
        std::fs::create_dir_all(&journals)
            .map_err(failed(format!("create {}", journals.display())))?;
        let (stream, child) = init::spawn(&self.executable, &["agent"])?;
        let connected = stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream));
        let stream = connected.map_err(failed("talk to an agent".to_owned()))?;
        let (reading, writing) = stream.into_split();
        let (orders, receiver) = mpsc::unbounded_channel();
        tokio::spawn(write(writing, receiver));
        let life = tokio::spawn(listen(id, reading, child, self.events.clone()));
        self.agents.insert(id, Agent { orders, life });
        self.next += 1;
        let load = Load {
            agent: id % load.agents.max(1),
            journal_directory: journals,
            ..load.clone()
        };
        self.tell(id, ToAgent::Load(Box::new(load)));
        Ok(id)
    }

    /// Agents that live, in order.
    pub(crate) fn alive(&self) -> impl Iterator<Item = AgentId> {
        self.agents.keys().copied()
    }

    /// Tells one; nothing is told to one that is gone.
    pub(crate) fn tell(&self, agent: AgentId, order: ToAgent) {
        if let Some(agent) = self.agents.get(&agent) {
            // Its death is an event of its own.
            let _ = agent.orders.send(order);
        }
    }

    /// Tells all.
    pub(crate) fn tell_all(&self, order: &ToAgent) {
        for agent in self.alive() {
            self.tell(agent, order.clone());
        }
    }

    /// It is known to be dead.
    pub(crate) fn forget(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
    }

    /// Ends all and waits until they are gone.
    pub(crate) async fn end(&mut self) {
        for agent in self.agents.values() {
            let _ = agent.orders.send(ToAgent::Finish);
        }
        for (_, agent) in std::mem::take(&mut self.agents) {
            drop(agent.orders);
            let _ = agent.life.await;
        }
    }
}

/// Writes orders until there is nobody to give any, or to take them.
async fn write(writing: OwnedWriteHalf, mut orders: UnboundedReceiver<ToAgent>) {
    let mut writer = Writer::new(writing);
    if writer.send(&Hello::own()).await.is_err() {
        return;
    }
    while let Some(order) = orders.recv().await {
        if writer.send(&order).await.is_err() {
            return;
        }
    }
}

/// Turns what an agent says into events, until it is dead and reaped.
async fn listen(id: AgentId, reading: OwnedReadHalf, mut child: Child, events: Events) {
    let mut reader = Reader::new(reading);
    let why = hear(id, &mut reader, &events).await;
    drop(reader);
    let ended = tokio::task::spawn_blocking(move || reap(&mut child)).await;
    let how = ended.unwrap_or_else(|_| "it could not be waited for".to_owned());
    let why = if why.is_empty() {
        how
    } else {
        format!("{why}; {how}")
    };
    let _ = events.send(Event::AgentGone(id, why)).await;
}

async fn hear(id: AgentId, reader: &mut Reader<OwnedReadHalf>, events: &Events) -> String {
    let hello = match reader.next::<Hello>().await {
        Ok(Some(hello)) => hello.check().map(drop),
        Ok(None) => return "it ended before it said anything".to_owned(),
        Err(error) => Err(error),
    };
    if let Err(error) = hello {
        return error.to_string();
    }
    loop {
        match reader.next::<FromAgent>().await {
            Ok(Some(message)) => {
                if events
                    .send(Event::Agent(id, Box::new(message)))
                    .await
                    .is_err()
                {
                    return String::new();
                }
            }
            Ok(None) => return String::new(),
            Err(error) => return error.to_string(),
        }
    }
}

/// Waits for the process, and kills it when it takes too long over ending.
fn reap(child: &mut Child) -> String {
    let begun = std::time::Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) if begun.elapsed() < END_WAIT => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                return child
                    .wait()
                    .map_or_else(|error| error.to_string(), |status| status.to_string());
            }
        }
    }
}
