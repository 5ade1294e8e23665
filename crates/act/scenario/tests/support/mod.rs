//! Drives machines without a network: a function plays the server.

#![allow(unreachable_pub, reason = "a module of tests")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use cohort_scenario::{
    Answer, Birth, Call, Ended, LoadError, Machine, Note, Outcome, Permit, Reply, Request,
    Response, Script, Timings,
};

/// A script in a folder of its own, with other files beside it.
pub struct Files(pub tempfile::TempDir);

impl Files {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn load(&self, name: &str) -> Result<Script, LoadError> {
        Script::load(&self.path(name), &BTreeMap::new())
    }
}

pub fn load(source: &str) -> Result<Script, LoadError> {
    Files::new(&[("script.js", source)]).load("script.js")
}

pub fn script(source: &str) -> Script {
    load(source).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

pub type Server<'a> = dyn FnMut(&Request) -> Outcome + 'a;

pub fn ok(body: &str) -> Outcome {
    Ok(Response {
        status: 200,
        proto: "HTTP/1.1".into(),
        headers: vec![("content-type".into(), "text/plain".into())],
        body: body.into(),
        timings: Timings {
            sending_us: 10,
            waiting_us: 1_500,
            receiving_us: 20,
            ..Timings::default()
        },
        remote_ip: "127.0.0.1".into(),
        remote_port: 80,
    })
}

pub fn with_headers(status: u16, headers: &[(&str, &str)], body: &str) -> Outcome {
    Ok(Response {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..ok(body).unwrap()
    })
}

/// A world a machine lives in: its clock, its server, and what it did.
pub struct World<'a> {
    pub now_us: u64,
    pub server: Box<Server<'a>>,
    pub requests: Vec<Request>,
    pub notes: Vec<Note>,
    pub slept_us: u64,
    pub iterations: u64,
}

impl<'a> World<'a> {
    pub fn new(server: impl FnMut(&Request) -> Outcome + 'a) -> Self {
        Self {
            now_us: 1_700_000_000_000_000,
            server: Box::new(server),
            requests: Vec::new(),
            notes: Vec::new(),
            slept_us: 0,
            iterations: 0,
        }
    }

    /// The answer to a call; `None` to the end.
    pub fn answer(&mut self, call: Option<&Call>) -> Option<Answer> {
        self.now_us += 1_000;
        let reply = match call {
            None | Some(Call::Pause { .. }) => Reply::Resume,
            Some(Call::Iterate) => {
                let number = self.iterations;
                self.iterations += 1;
                Reply::Begin(Permit {
                    in_vu: number,
                    in_scenario: number * 2,
                    in_instance: number,
                    progress_permille: 250,
                    ..Permit::default()
                })
            }
            Some(Call::Http(requests)) => {
                self.requests.extend(requests.iter().cloned());
                Reply::Responses(
                    requests
                        .iter()
                        .map(|request| (self.server)(request))
                        .collect(),
                )
            }
            Some(Call::Sleep { us }) => {
                self.now_us += us;
                self.slept_us += us;
                Reply::Woken
            }
            Some(Call::Now) => Reply::Now,
            Some(Call::Ended(_)) => return None,
        };
        Some(Answer::new(self.now_us, reply))
    }

    /// Runs a machine until it wants to begin one more than so many iterations, or ends.
    pub fn run(&mut self, machine: &mut Machine, iterations: u64) -> Option<Ended> {
        loop {
            let call = machine.waits_for().cloned();
            match &call {
                Some(Call::Iterate) if self.iterations >= iterations => return None,
                Some(Call::Ended(ended)) => return Some(ended.clone()),
                _ => {}
            }
            let answer = self.answer(call.as_ref())?;
            let step = machine.resume(answer);
            self.notes.extend(step.notes);
        }
    }

    pub fn logs(&self) -> Vec<String> {
        let log = |note: &Note| match note {
            Note::Log { message, .. } => Some(message.clone()),
            _ => None,
        };
        self.notes.iter().filter_map(log).collect()
    }

    pub fn checks(&self) -> Vec<(String, bool)> {
        let check = |note: &Note| match note {
            Note::Check { name, passed, .. } => Some((name.clone(), *passed)),
            _ => None,
        };
        self.notes.iter().filter_map(check).collect()
    }

    pub fn failures(&self) -> Vec<String> {
        let failure = |note: &Note| match note {
            Note::Iteration { failure, .. } => failure
                .as_ref()
                .map(|failure| format!("{} at {}", failure.message, failure.at)),
            _ => None,
        };
        self.notes.iter().filter_map(failure).collect()
    }
}

/// Runs some iterations of a script and returns the world after them.
pub fn run<'a>(
    source: &str,
    iterations: u64,
    server: impl FnMut(&Request) -> Outcome + 'a,
) -> World<'a> {
    let mut world = World::new(server);
    let mut machine = Machine::new(&script(source), Birth::default()).unwrap();
    if let Some(ended) = world.run(&mut machine, iterations) {
        panic!("the machine ended: {ended:?}");
    }
    world
}

/// The lines one iteration logs.
pub fn logs(source: &str) -> Vec<String> {
    let world = run(source, 1, |request| ok(&request.url));
    assert_eq!(world.failures(), [""; 0], "{source}");
    world.logs()
}
