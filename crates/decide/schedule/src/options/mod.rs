//! A script's `options`, checked and complete.

mod scenario;
mod stage;
mod thresholds;
mod told;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use scenario::{Executor, Scenario};
pub use stage::{Stage, parse_stages};
pub use thresholds::{Submetric, ThresholdOption};

use crate::Error;
use crate::fields::{Fields, wrong};

/// A script's options. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// By name, at least one.
    pub scenarios: Vec<Scenario>,
    /// In the order of their metrics.
    pub thresholds: Vec<ThresholdOption>,
    /// Longest time for `setup`.
    pub setup_timeout_us: u64,
    /// Longest time for `teardown`.
    pub teardown_timeout_us: u64,
    /// No connection is kept for the next request.
    pub no_connection_reuse: bool,
    /// No connection is kept for the next iteration.
    pub no_vu_connection_reuse: bool,
    /// `User-Agent`, unless a request says otherwise; `None` for the default.
    pub user_agent: Option<String>,
    /// Certificates of servers are not checked.
    pub insecure_skip_tls_verify: bool,
    /// Bodies of responses are not kept unless a request says otherwise.
    pub discard_response_bodies: bool,
    /// Requests of one `http.batch` that are under way at a time.
    pub batch: u32,
    /// The same, to one host.
    pub batch_per_host: u32,
    /// Redirects that are followed.
    pub redirects_max: u32,
    /// An iteration that took less waits for the rest.
    pub iteration_min_us: u64,
    /// Requests a second, over all threads; `None` for no limit.
    pub requests_per_s: Option<u64>,
    /// Put on every sample.
    pub tags: BTreeMap<String, String>,
    /// What the summary says of a trend.
    pub summary_trend_stats: Vec<String>,
    /// `s`, `ms` or `us`; `None` for whatever fits.
    pub summary_time_unit: Option<String>,
    /// Which tags of the system are put on samples; `None` for the default ones.
    pub system_tags: Option<Vec<String>>,
    /// Addresses that names stand for.
    pub hosts: BTreeMap<String, String>,
    /// A request that fails throws.
    pub throw: bool,
    /// Cookies stay from one iteration to the next.
    pub no_cookies_reset: bool,
    /// What was said and is without effect, in sentences.
    pub warnings: Vec<String>,
}

/// What a command line says in place of the script, as k6's `--vus`, `--duration`, `--iterations`
/// and `--stage`. Any of the last three replaces whatever the script says of load, its scenarios too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Threads.
    pub vus: Option<u64>,
    /// Microseconds.
    pub duration_us: Option<u64>,
    /// Iterations, by all threads together.
    pub iterations: Option<u64>,
    /// From [`parse_stages`].
    pub stages: Option<Vec<Stage>>,
}

/// What k6 knows and is not honoured here.
const REFUSED: [(&str, &str); 14] = [
    ("httpDebug", "use the campaign's own record of requests"),
    ("tlsAuth", "there are no client certificates"),
    ("tlsCipherSuites", "the TLS library chooses"),
    ("tlsVersion", "the TLS library chooses"),
    ("blacklistIPs", "no addresses are blocked"),
    ("blockHostnames", "no hosts are blocked"),
    ("localIPs", "requests leave from the instance's own network"),
    ("executionSegment", "one campaign runs all of the test"),
    (
        "executionSegmentSequence",
        "one campaign runs all of the test",
    ),
    ("paused", "a campaign begins at once"),
    ("linger", "a campaign ends when it is done"),
    ("noSetup", "`setup` always runs"),
    ("noTeardown", "`teardown` always runs"),
    ("metricSamplesBufferSize", "there is no such buffer"),
];

const TREND_STATS: [&str; 6] = ["avg", "min", "med", "max", "p(90)", "p(95)"];

impl Options {
    /// Reads what a script exports as `options`; null for none.
    ///
    /// # Errors
    /// Anything that k6 would refuse, does not exist, or is not honoured here, with its path.
    pub fn parse(value: &Value) -> Result<Options, Error> {
        Options::parse_with(value, &Overrides::default())
    }

    /// The same, with what a command line says in place of it.
    ///
    /// # Errors
    /// As [`Options::parse`].
    pub fn parse_with(value: &Value, overrides: &Overrides) -> Result<Options, Error> {
        let none = Value::Object(serde_json::Map::new());
        let value = if value.is_null() { &none } else { value };
        let mut fields = Fields::new("options", value)?;
        let mut warnings = Vec::new();
        let scenarios = scenario::read_all(&mut fields, overrides, &mut warnings)?;
        let thresholds = thresholds::read(&mut fields)?;
        // k6 hands these on to its cloud and does nothing with them itself.
        for key in ["cloud", "ext", "noUsageReport"] {
            fields.get(key);
        }
        let without_effect = [
            ("dns", "names are resolved by the system"),
            ("systemTags", "tags are those that thresholds ask for"),
            (
                "summaryTimeUnit",
                "each time is written in the unit that fits it, but for `textSummary` of `handleSummary`",
            ),
        ];
        for (key, why) in without_effect {
            if fields.get(key).is_some() {
                warnings.push(format!("option {key} is without effect: {why}"));
            }
        }
        let options = Options {
            scenarios,
            thresholds,
            setup_timeout_us: fields.duration("setupTimeout")?.unwrap_or(60_000_000),
            teardown_timeout_us: fields.duration("teardownTimeout")?.unwrap_or(60_000_000),
            no_connection_reuse: fields.flag("noConnectionReuse")?.unwrap_or(false),
            no_vu_connection_reuse: fields.flag("noVUConnectionReuse")?.unwrap_or(false),
            user_agent: fields.text("userAgent")?,
            insecure_skip_tls_verify: fields.flag("insecureSkipTLSVerify")?.unwrap_or(false),
            discard_response_bodies: fields.flag("discardResponseBodies")?.unwrap_or(false),
            batch: small(&mut fields, "batch", 1, 20)?,
            batch_per_host: small(&mut fields, "batchPerHost", 0, 6)?,
            redirects_max: small(&mut fields, "maxRedirects", 0, 10)?,
            iteration_min_us: fields.duration("minIterationDuration")?.unwrap_or(0),
            requests_per_s: fields.whole("rps", 0)?.filter(|rate| *rate > 0),
            tags: fields.text_map("tags")?.unwrap_or_default(),
            summary_trend_stats: trend_stats(&mut fields)?,
            summary_time_unit: time_unit(&mut fields)?,
            system_tags: fields.texts("systemTags")?,
            hosts: fields.text_map("hosts")?.unwrap_or_default(),
            throw: fields.flag("throw")?.unwrap_or(false),
            no_cookies_reset: fields.flag("noCookiesReset")?.unwrap_or(false),
            warnings,
        };
        fields.refuse(&REFUSED)?;
        fields.finish()?;
        Ok(options)
    }

    /// When the last scenario is over at the latest, with its grace: microseconds after the start.
    #[must_use]
    pub fn longest_us(&self) -> u64 {
        let end = |scenario: &Scenario| scenario.end_us() + scenario.graceful_stop_us;
        self.scenarios.iter().map(end).max().unwrap_or(0)
    }

    /// The submetrics that thresholds ask for, by name.
    #[must_use]
    pub fn submetrics(&self) -> Vec<Submetric> {
        let mut all: Vec<Submetric> = Vec::new();
        for threshold in &self.thresholds {
            if let Some(submetric) = threshold.submetric()
                && all.iter().all(|known| known.name != submetric.name)
            {
                all.push(submetric);
            }
        }
        all
    }
}

fn small(fields: &mut Fields<'_>, key: &'static str, min: u64, default: u32) -> Result<u32, Error> {
    let read = fields.whole(key, min)?;
    Ok(read.map_or(default, |number| u32::try_from(number).unwrap_or(u32::MAX)))
}

fn trend_stats(fields: &mut Fields<'_>) -> Result<Vec<String>, Error> {
    let Some(stats) = fields.texts("summaryTrendStats")? else {
        return Ok(TREND_STATS.map(str::to_owned).to_vec());
    };
    for (place, stat) in stats.iter().enumerate() {
        let is_known = matches!(stat.as_str(), "avg" | "min" | "med" | "max" | "count")
            || crate::threshold::percentile(stat).is_some();
        if !is_known {
            let path = format!("{}[{place}]", fields.at("summaryTrendStats"));
            let expected = "avg, min, med, max, count or p(N) with N from 0 to 100";
            return Err(wrong(&path, expected, &Value::from(stat.as_str())));
        }
    }
    Ok(stats)
}

fn time_unit(fields: &mut Fields<'_>) -> Result<Option<String>, Error> {
    let unit = fields.text("summaryTimeUnit")?;
    match unit.as_deref() {
        None | Some("s" | "ms" | "us") => Ok(unit),
        Some("") => Ok(None),
        Some(other) => {
            let path = fields.at("summaryTimeUnit");
            Err(wrong(&path, "\"s\", \"ms\" or \"us\"", &Value::from(other)))
        }
    }
}
