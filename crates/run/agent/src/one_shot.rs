//! `setup()`, `teardown()` and `handleSummary()`: machines that run once, outside of any schedule.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use cohort_model::{InstanceId, ThreadId};
use cohort_scenario::{Answer, Birth, Call, Ended, Machine, Note, Reply};

use crate::agent::Agent;
use crate::call::{self, Caller, To};
use crate::protocol::{FromAgent, LogLevel, OneShot, OneShotAnswer};
use crate::thread::in_words;

/// The thread that evidence of these functions is kept under.
const THREAD: ThreadId = ThreadId(u32::MAX);

/// Runs it and says what it returned.
pub(crate) async fn run(agent: Rc<Agent>, what: OneShot, to: To, birth: Birth, timeout: Duration) {
    let instance = to.instance;
    let work = drive(&agent, to, birth);
    let result = match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(format!(
            "it took longer than the {} s that it is given",
            timeout.as_secs()
        )),
    };
    agent.post(FromAgent::OneShotDone(Box::new(OneShotAnswer {
        what,
        instance,
        result,
    })));
}

async fn drive(agent: &Rc<Agent>, to: To, birth: Birth) -> Result<String, String> {
    let script = agent.script.clone().ok_or("there is no script")?;
    let caller = Caller {
        agent: Rc::clone(agent),
        thread: THREAD,
        handle: None,
        scenario: Rc::from(birth.scenario.name.as_str()),
        connections: Rc::default(),
        journal: Rc::new(RefCell::new(None)),
        last_endpoint: Rc::default(),
    };
    let mut machine = Machine::new(&script, birth).map_err(|error| error.to_string())?;
    let mut reply = Reply::Resume;
    loop {
        let at_us = agent.clock.unix_us(agent.clock.now());
        let step = machine.resume(Answer::new(at_us, reply));
        for note in step.notes {
            take_note(agent, &caller, to.instance, note);
        }
        reply = match step.call {
            Call::Ended(Ended::Returned(json)) => return Ok(json.unwrap_or_default()),
            Call::Ended(Ended::Failed(failure)) => return Err(in_words(&failure)),
            Call::Ended(Ended::Terminated) => return Err("it was terminated".to_owned()),
            Call::Iterate => Reply::Terminate,
            Call::Now => Reply::Now,
            Call::Sleep { us } => {
                tokio::time::sleep(Duration::from_micros(us)).await;
                Reply::Woken
            }
            Call::Pause { computed_us } if computed_us > agent.compute_us_max => Reply::Interrupt {
                reason: "it computed for too long without asking for anything".to_owned(),
            },
            Call::Pause { .. } => {
                tokio::task::yield_now().await;
                Reply::Resume
            }
            Call::Http(requests) => {
                let requests = Rc::new(requests);
                let to = to.clone();
                Reply::Responses(call::call(caller.clone(), to, requests, Vec::new(), None).await)
            }
        };
    }
}

fn take_note(agent: &Agent, caller: &Caller, instance: InstanceId, note: Note) {
    let now = agent.clock.now();
    let mut telemetry = agent.telemetry.borrow_mut();
    match note {
        Note::Sample(sample) => telemetry.metrics.sample(&sample, &caller.scenario, now),
        Note::Check {
            name,
            passed,
            group,
            ..
        } => telemetry.check(instance, &group, &name, passed),
        Note::Log { level, message } => {
            telemetry.line(now, None, crate::thread::log_level(level), &message);
        }
        Note::Abort { message } => {
            telemetry.line(now, None, LogLevel::Error, &message);
        }
        Note::Group { .. } | Note::Iteration { .. } => {}
    }
}
