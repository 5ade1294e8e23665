//! What agents report, by instance and endpoint, until the orchestrator is told of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use cohort_agent::protocol as agent;
use cohort_model::{At, CallSeen, EndpointId, EndpointWindow, InstanceId, LoadWindow, ServiceSeen};

/// Endpoints that are told apart; calls of further ones count as the last.
const ENDPOINTS_MAX: usize = 400;
/// Name of the endpoint that all further ones are.
const FURTHER: &str = "(further endpoints)";
/// A window of which nothing is told goes on for less than this, microseconds.
const GOES_ON_US_MAX: u64 = 2_500_000;
/// Width of a latency bucket, relative to its value.
const BUCKET: f64 = 1.08;
/// Calls kept of each kind for one instance and window.
const CALLS_MAX: usize = 64;
/// Calls that broke longer ago have nothing to do with an instance's end.
const LATEST: Duration = Duration::from_secs(3);
/// Characters kept of a request, and of a body.
const TEXT_MAX: usize = 300;

/// Collects one window of all instances.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    ids: BTreeMap<String, EndpointId>,
    windows: BTreeMap<InstanceId, Open>,
    /// The latest calls that broke, by instance.
    broken: BTreeMap<InstanceId, VecDeque<(Instant, CallSeen)>>,
    /// Named since the orchestrator was told last.
    named: Vec<ServiceSeen>,
    /// Until when agents told what they saw.
    told: BTreeMap<u32, At>,
    /// Where the latest window of an instance ended.
    ended: BTreeMap<InstanceId, At>,
}

#[derive(Debug, Default)]
struct Open {
    endpoints: BTreeMap<u32, EndpointWindow>,
    /// Calls under way, and how long the oldest is, microseconds, by agent and endpoint, as last told.
    in_flight: BTreeMap<(u32, u32), (u32, u64)>,
    slowest: BTreeMap<EndpointId, CallSeen>,
    broken: Vec<CallSeen>,
    /// Until when what was called is counted.
    counted: At,
}

impl Tally {
    /// The id of an endpoint.
    pub(crate) fn endpoint(&mut self, name: &str) -> EndpointId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let name = if self.ids.len() < ENDPOINTS_MAX {
            name
        } else {
            FURTHER
        };
        let next = EndpointId(self.ids.len() as u32);
        let named = &mut self.named;
        *self.ids.entry(name.to_owned()).or_insert_with(|| {
            named.push(ServiceSeen::EndpointNamed {
                endpoint: next,
                name: name.to_owned(),
            });
            next
        })
    }

    /// Takes in the windows of one agent.
    pub(crate) fn add(&mut self, who: u32, windows: &[agent::Window]) {
        if let Some(to) = windows.iter().map(|window| window.to).max() {
            self.told.insert(who, to);
        }
        for window in windows {
            if let Some(open) = self.windows.get_mut(&window.instance) {
                open.in_flight.retain(|(agent, _), _| *agent != who);
            }
            let open = self.windows.entry(window.instance).or_default();
            open.counted = open.counted.max(window.to);
            for calls in &window.endpoints {
                let id = self.endpoint(&calls.endpoint);
                let open = self.windows.entry(window.instance).or_default();
                open.endpoints
                    .entry(id.0)
                    .or_default()
                    .merge(&converted(calls));
                let level = (calls.in_flight, calls.oldest_us);
                open.in_flight.insert((who, id.0), level);
            }
        }
    }

    /// The slowest calls of a window.
    pub(crate) fn add_slow(&mut self, calls: &[agent::SlowCall]) {
        for call in calls {
            let endpoint = self.endpoint(&call.endpoint);
            let method = call.endpoint.split(' ').next().unwrap_or_default();
            let seen = CallSeen {
                endpoint,
                thread: call.thread,
                request: request(method, &call.url),
                body: text(&call.body),
                took_us: call.latency_us,
            };
            let open = self.windows.entry(call.instance).or_default();
            let slowest = open.slowest.entry(endpoint).or_insert_with(|| seen.clone());
            if slowest.took_us < seen.took_us {
                *slowest = seen;
            }
        }
    }

    /// Calls that got no answer.
    pub(crate) fn add_broken(&mut self, calls: &[agent::BrokenCall]) {
        for call in calls {
            let seen = self.broken(call);
            let latest = self.broken.entry(call.instance).or_default();
            if latest.len() == CALLS_MAX {
                latest.pop_front();
            }
            latest.push_back((Instant::now(), seen.clone()));
            let open = self.windows.entry(call.instance).or_default();
            if open.broken.len() < CALLS_MAX {
                open.broken.push(seen);
            }
        }
    }

    fn broken(&mut self, call: &agent::BrokenCall) -> CallSeen {
        CallSeen {
            endpoint: self.endpoint(&call.endpoint),
            thread: call.thread,
            request: request(&call.method, &call.url),
            body: text(&call.body),
            took_us: call.waited_us,
        }
    }

    /// The latest calls of `instance` that broke: evidence when it crashed.
    pub(crate) fn take_broken_on(&mut self, instance: InstanceId) -> Vec<CallSeen> {
        let latest = self.broken.remove(&instance).unwrap_or_default();
        let of_now = latest
            .into_iter()
            .filter(|(when, _)| when.elapsed() < LATEST);
        of_now.map(|(_, call)| call).collect()
    }

    /// Endpoints named since the last call.
    pub(crate) fn take_names(&mut self) -> Vec<ServiceSeen> {
        std::mem::take(&mut self.named)
    }

    /// Whether each of these agents told all that it saw until `at`.
    pub(crate) fn is_told_by(&self, agents: impl Iterator<Item = u32>, at: At) -> bool {
        let told = |agent: u32| self.told.get(&agent).is_some_and(|to| *to >= at);
        let mut agents = agents.peekable();
        agents.peek().is_some() && agents.all(told)
    }

    /// Ends the window of `span_us` until `at` for `instances`. That of an instance ends where its calls
    /// were counted in truth: an agent that is late counts a little longer. Unless all is `told`, that of an
    /// instance of which nothing was is left to go on.
    pub(crate) fn take(
        &mut self,
        at: At,
        span_us: u64,
        instances: &[InstanceId],
        told: bool,
    ) -> Vec<LoadWindow> {
        let mut windows = std::mem::take(&mut self.windows);
        let began = At(at.0.saturating_sub(span_us));
        let ended = &mut self.ended;
        let window = |instance: &InstanceId| -> Option<LoadWindow> {
            let before = *ended.get(instance).unwrap_or(&began);
            let counted = windows.get(instance).map_or(At(0), |open| open.counted);
            if !told && counted <= before && at.since(before) < GOES_ON_US_MAX {
                return None;
            }
            let open = windows.remove(instance).unwrap_or_default();
            let end = At(open.counted.0.max(at.0).max(before.0 + 1));
            ended.insert(*instance, end);
            let mut endpoints = open.endpoints;
            for ((_, endpoint), (in_flight, oldest_us)) in open.in_flight {
                let calls = endpoints.entry(endpoint).or_default();
                calls.in_flight += in_flight;
                calls.oldest_us = calls.oldest_us.max(oldest_us);
            }
            Some(LoadWindow {
                instance: *instance,
                at: end,
                span_us: end.since(before),
                endpoints,
                slowest: open.slowest.into_values().collect(),
                broken: open.broken,
                system_calls: BTreeMap::new(),
                spans: Vec::new(),
                metrics: Vec::new(),
            })
        };
        let taken = instances.iter().filter_map(window).collect();
        self.windows = windows;
        taken
    }
}

fn converted(calls: &agent::EndpointWindow) -> EndpointWindow {
    // What was not sent is no fault of the service.
    let all = || calls.errors.iter();
    let sent = all().filter(|(how, _)| *how != agent::TransportError::Refused);
    let broken: u64 = sent.map(|(_, count)| count).sum();
    let unanswered: u64 = all().map(|(_, count)| count).sum();
    let mut latency: BTreeMap<u64, u64> = BTreeMap::new();
    for &(us, count) in &calls.latency.buckets {
        *latency.entry(bound(us.max(1) as u64)).or_default() += count;
    }
    EndpointWindow {
        calls: calls.calls.saturating_sub(unanswered),
        classes: calls.status,
        broken,
        failures: failures(calls),
        failed_checks: calls.failed_checks.iter().cloned().collect(),
        sent: calls.sent,
        received: calls.received,
        latency_sum_us: calls.latency.sum.max(0.0) as u64,
        latency: latency.into_iter().collect(),
        in_flight: 0,
        oldest_us: 0,
        closest_us: calls.closest_us,
    }
}

/// What failed calls ended in.
fn failures(calls: &agent::EndpointWindow) -> BTreeMap<String, u64> {
    let statuses = calls.server_errors.iter();
    let mut failures: BTreeMap<String, u64> = statuses
        .map(|(status, count)| (status.to_string(), *count))
        .collect();
    for (error, count) in &calls.errors {
        let how = match error {
            agent::TransportError::Dns => "name not found",
            agent::TransportError::Connect => "not connected",
            agent::TransportError::Reset => "connection closed",
            agent::TransportError::Timeout => "timed out",
            agent::TransportError::Protocol => "not HTTP",
            agent::TransportError::Body => "unreadable body",
            agent::TransportError::Tls => "no TLS",
            agent::TransportError::Refused => continue,
            agent::TransportError::AgentDied | agent::TransportError::Other => "no answer",
        };
        *failures.entry(how.to_owned()).or_default() += count;
    }
    failures
}

/// The upper bound of the bucket that `us` lies in.
fn bound(us: u64) -> u64 {
    let steps = (us as f64).ln() / BUCKET.ln();
    (BUCKET.powf(steps.ceil()).round() as u64).max(us)
}

/// Method and path: the address is another for each instance, and says nothing.
fn request(method: &str, url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |place| &rest[place..]);
    cut(&format!("{method} {path}"))
}

fn text(body: &[u8]) -> String {
    std::str::from_utf8(body).map(cut).unwrap_or_default()
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(endpoint: &str, us: i64) -> agent::EndpointWindow {
        agent::EndpointWindow {
            endpoint: endpoint.to_owned(),
            calls: 3,
            in_flight: 2,
            status: [0, 2, 0, 0, 0],
            errors: vec![(agent::TransportError::Reset, 1)],
            latency: agent::Histogram {
                count: 2,
                sum: 2.0 * us as f64,
                min: us as f64,
                max: us as f64,
                buckets: vec![(us, 2)],
            },
            ..agent::EndpointWindow::default()
        }
    }

    fn window(instance: u32, endpoints: Vec<agent::EndpointWindow>) -> agent::Window {
        agent::Window {
            instance: InstanceId(instance),
            from: At(0),
            to: At(1_000_000),
            threads: 1,
            in_flight: 2,
            oldest_us: 0,
            endpoints,
        }
    }

    #[test]
    fn what_several_agents_saw_is_one_window() {
        let mut tally = Tally::default();
        tally.add(0, &[window(0, vec![calls("GET /a", 1_000)])]);
        // What is under way is a level, not a sum.
        tally.add(0, &[window(0, Vec::new())]);
        tally.add(
            0,
            &[window(
                0,
                vec![agent::EndpointWindow {
                    calls: 0,
                    status: [0; 5],
                    errors: Vec::new(),
                    latency: agent::Histogram::default(),
                    ..calls("GET /a", 1_000)
                }],
            )],
        );
        tally.add(
            1,
            &[window(0, vec![calls("GET /a", 1_010), calls("GET /b", 5)])],
        );
        let windows = tally.take(At(1), 1_000_000, &[InstanceId(0), InstanceId(1)], true);
        let [first, second] = windows.as_slice() else {
            panic!("{windows:?}")
        };
        assert_eq!(
            (first.endpoints[&0].calls, first.endpoints[&0].broken),
            (4, 2)
        );
        assert_eq!(first.endpoints[&0].in_flight, 4);
        assert_eq!(first.endpoints[&1].calls, 2);
        assert!(second.endpoints.is_empty());
        assert_eq!(tally.take_names().len(), 2);
        assert!(tally.take_names().is_empty());
        assert!(
            tally.take(At(2), 1, &[InstanceId(0)], true)[0]
                .endpoints
                .is_empty()
        );
    }

    #[test]
    fn a_window_waits_for_every_agent() {
        let mut tally = Tally::default();
        let agents = || [0, 1].into_iter();
        tally.add(0, &[window(0, Vec::new())]);
        assert!(!tally.is_told_by(agents(), At(1_000_000)));
        tally.add(1, &[window(1, Vec::new())]);
        assert!(tally.is_told_by(agents(), At(1_000_000)));
        assert!(!tally.is_told_by(agents(), At(2_000_000)));
    }

    #[test]
    fn a_window_of_an_agent_that_is_late_goes_on() {
        let mut tally = Tally::default();
        let take = |tally: &mut Tally, s: u64, told: bool| {
            tally.take(At(s * 1_000_000), 1_000_000, &[InstanceId(0)], told)
        };
        let until = |ms: u64| agent::Window {
            to: At(ms * 1_000),
            ..window(0, vec![calls("GET /a", 1_000)])
        };
        tally.add(0, &[until(1_010)]);
        let first = take(&mut tally, 1, true);
        assert_eq!((first[0].at, first[0].span_us), (At(1_010_000), 1_010_000));
        assert!(take(&mut tally, 2, false).is_empty());
        tally.add(0, &[until(2_400), until(3_000)]);
        let both = take(&mut tally, 3, true);
        assert_eq!((both[0].at, both[0].span_us), (At(3_000_000), 1_990_000));
        assert_eq!(both[0].endpoints[&0].calls, 4);
        assert!(take(&mut tally, 4, false).is_empty() && take(&mut tally, 5, false).is_empty());
        assert_eq!(take(&mut tally, 6, false)[0].span_us, 3_000_000);
    }

    #[test]
    fn too_many_endpoints_become_one() {
        let mut tally = Tally::default();
        let ids: Vec<EndpointId> = (0..2_000)
            .map(|n| tally.endpoint(&format!("GET /{n}")))
            .collect();
        assert_eq!(ids[ENDPOINTS_MAX], ids[1_999]);
        assert_eq!(tally.take_names().len(), ENDPOINTS_MAX + 1);
    }

    #[test]
    fn a_bucket_is_narrow_and_above_what_it_holds() {
        for us in [1, 2, 10, 999, 1_000, 123_456, 60_000_000] {
            let bound = bound(us);
            assert!(
                bound >= us && bound as f64 <= us as f64 * 1.1 + 1.0,
                "{us} {bound}"
            );
        }
    }

    #[test]
    fn a_request_is_told_without_its_address() {
        assert_eq!(request("GET", "http://10.9.0.2:80/a?b=1"), "GET /a?b=1");
        assert_eq!(request("GET", "http://10.9.0.2"), "GET /");
    }
}
