//! Carrying out the HTTP calls of a machine.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use cohort_model::{At, InstanceId, ThreadId};
use cohort_scenario::{Outcome, Request, Timings};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::agent::{Agent, Handle};
use crate::http::{Connections, Exchanged, Failure, Going, Target};
use crate::journal::JournalFile;
use crate::odd::beginning;
use crate::protocol::{Address, LogLevel, OddCall, Oddity, TransportError};
use crate::telemetry::{Called, EndpointNumber};

/// Who calls: what is the same for all requests of one call.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) agent: Rc<Agent>,
    pub(crate) thread: ThreadId,
    /// What others see of the thread; setup and teardown have none.
    pub(crate) handle: Option<Rc<Handle>>,
    pub(crate) scenario: Rc<str>,
    pub(crate) connections: Rc<Connections>,
    /// Where intents are recorded.
    pub(crate) journal: Rc<RefCell<Option<JournalFile>>>,
    /// Endpoint of the last request: checks that follow belong to it.
    pub(crate) last_endpoint: Rc<Cell<Option<EndpointNumber>>>,
}

/// The instance of a call.
#[derive(Clone)]
pub(crate) struct To {
    pub(crate) instance: InstanceId,
    pub(crate) address: Option<Rc<Address>>,
}

/// Whether any of the requests goes to the thread's instance.
pub(crate) fn needs_instance(agent: &Agent, requests: &[Request]) -> bool {
    requests
        .iter()
        .any(|request| matches!(agent.resolve(&request.url), Ok(Target::Instance { .. })))
}

/// Sends all requests and gives their outcomes in order. `failed` are requests that may have been
/// sent by an agent that died; they are not sent again. `turn` is the request whose turn has come
/// already, where requests are limited.
pub(crate) async fn call(
    caller: Caller,
    to: To,
    requests: Rc<Vec<Request>>,
    failed: Vec<u32>,
    turn: Option<u32>,
) -> Vec<Outcome> {
    if requests.len() == 1 {
        return vec![in_turn(&caller, &to, (&requests[0], 0), (&failed, turn)).await];
    }
    let limits = caller.agent.client.settings.batch;
    let total = Rc::new(Semaphore::new(limits.total.max(1) as usize));
    let mut hosts: HashMap<String, Rc<Semaphore>> = HashMap::new();
    let mut running = JoinSet::new();
    for (place, request) in requests.iter().enumerate() {
        let host = hosts
            .entry(host_of(&request.url).to_owned())
            .or_insert_with(|| Rc::new(Semaphore::new(limits.per_host.max(1) as usize)));
        let (host, total) = (Rc::clone(host), Rc::clone(&total));
        let (caller, to, failed) = (caller.clone(), to.clone(), failed.clone());
        let requests = Rc::clone(&requests);
        running.spawn_local(async move {
            // A semaphore that nobody closes is never an error.
            let _host = host.acquire().await;
            let _total = total.acquire().await;
            let request = (&requests[place], place as u32);
            let outcome = in_turn(&caller, &to, request, (&failed, turn)).await;
            (place, outcome)
        });
    }
    let mut outcomes: Vec<Option<Outcome>> = requests.iter().map(|_| None).collect();
    while let Some(joined) = running.join_next().await {
        match joined {
            Ok((place, outcome)) => outcomes[place] = Some(outcome),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    outcomes.into_iter().flatten().collect()
}

fn host_of(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    after.split(['/', '?', '#']).next().unwrap_or(after)
}

async fn in_turn(
    caller: &Caller,
    to: &To,
    (request, place): (&Request, u32),
    (failed, turn): (&[u32], Option<u32>),
) -> Outcome {
    if failed.contains(&place) {
        return Err(refusal(&Failure::agent_died()));
    }
    if turn != Some(place) {
        wait_for_turn(caller).await;
    }
    one(caller, to, request, place).await
}

/// Until the next request may be sent, where requests are limited. What waits here is not under way.
async fn wait_for_turn(caller: &Caller) {
    let agent = &caller.agent;
    let Some(pace) = &agent.pace else { return };
    let turn = pace.take(agent.clock.now());
    sleep_until(agent.clock.instant(turn)).await;
    if let Some(handle) = &caller.handle {
        handle.calling_since.set(Some(agent.clock.now()));
    }
}

async fn one(caller: &Caller, to: &To, request: &Request, place: u32) -> Outcome {
    let agent = &caller.agent;
    let (address, path, origin) = match agent.resolve(&request.url) {
        Ok(Target::Instance { path, origin }) => match &to.address {
            Some(address) => (Rc::clone(address), path, Some(origin)),
            None => return Err(refusal(&Failure::refused("the instance is down"))),
        },
        Ok(Target::Other { address, path }) => (Rc::new(address), path, None),
        Err(failure) => {
            // The script sees a status of 0 and may think nothing of it.
            let now = agent.clock.now();
            let mut telemetry = agent.telemetry.borrow_mut();
            telemetry.line(now, Some(caller.thread), LogLevel::Error, &failure.message);
            return Err(refusal(&failure));
        }
    };
    if let Some(journal) = &mut *caller.journal.borrow_mut()
        && let Err(error) = journal.intent(place)
    {
        return Err(refusal(&Failure::refused(error.to_string())));
    }
    let began = agent.clock.now();
    let going = Going {
        request,
        address: &address,
        path: &path,
        script_origin: origin.as_deref(),
    };
    let own = request.named.then_some(request.name.as_str());
    let name = agent.endpoint(&request.method, own, path.as_str());
    let flight = origin
        .is_some()
        .then(|| Flight::begin(caller, to, (&name, request), began));
    let exchanged = agent.client.exchange(&caller.connections, going).await;
    let mut telemetry = agent.telemetry.borrow_mut();
    telemetry.requests += 1;
    let now = agent.clock.now();
    telemetry
        .metrics
        .request(request, &exchanged, &caller.scenario, now);
    if let Some(flight) = &flight {
        tell_if_odd(caller, to.instance, (&name, now), &exchanged);
        // Checks of a call that failed say no more than that.
        let answered = exchanged.outcome.as_ref().is_ok_and(|a| a.status < 500);
        caller
            .last_endpoint
            .set(answered.then_some(flight.endpoint));
        telemetry.windows.called(&Called {
            thread: caller.thread,
            instance: to.instance,
            endpoint: flight.endpoint,
            began,
            request,
            exchanged: &exchanged,
        });
    }
    let Exchanged { outcome, .. } = exchanged;
    outcome
}

/// An error of the server, or no answer for a reason that may be the server's.
fn tell_if_odd(
    caller: &Caller,
    instance: InstanceId,
    (name, at): (&str, At),
    exchanged: &Exchanged,
) {
    let (oddity, said) = match (&exchanged.outcome, exchanged.failed) {
        (Ok(response), _) if response.status >= 500 => {
            (Oddity::Status(response.status), beginning(&response.body))
        }
        (Err(error), Some(kind)) if is_of_server(kind) => {
            (Oddity::Broken(kind), error.message.clone())
        }
        _ => return,
    };
    let Some(handle) = &caller.handle else {
        return;
    };
    caller.agent.tell_odd(|| OddCall {
        at,
        thread: caller.thread,
        iteration: handle.iteration.get(),
        instance,
        endpoint: name.to_owned(),
        oddity,
        said,
    });
}

fn is_of_server(kind: TransportError) -> bool {
    matches!(
        kind,
        TransportError::Reset | TransportError::Timeout | TransportError::Protocol
    )
}

/// A request to the instance that is under way, until it is answered or cut off.
struct Flight {
    agent: Rc<Agent>,
    instance: InstanceId,
    endpoint: EndpointNumber,
    began: At,
}

impl Flight {
    fn begin(caller: &Caller, to: &To, (name, request): (&str, &Request), began: At) -> Flight {
        let mut telemetry = caller.agent.telemetry.borrow_mut();
        let endpoint = telemetry.windows.number(name);
        telemetry
            .windows
            .begun((to.instance, endpoint), (caller.thread, began), request);
        Flight {
            agent: Rc::clone(&caller.agent),
            instance: to.instance,
            endpoint,
            began,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut telemetry = self.agent.telemetry.borrow_mut();
        telemetry
            .windows
            .over(self.instance, self.endpoint, self.began);
    }
}

/// For the script, of a request that was not sent.
fn refusal(failure: &Failure) -> cohort_scenario::TransportError {
    cohort_scenario::TransportError {
        code: failure.code,
        message: failure.message.clone(),
        timings: Timings::default(),
    }
}
