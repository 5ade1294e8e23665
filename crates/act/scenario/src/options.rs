//! Options that the machine itself heeds. Which options there are, and which are refused, is in `refuse`.

use serde_json::Value;

use crate::api::request::parse_duration_us;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) throws: bool,
    pub(crate) keeps_cookies: bool,
    pub(crate) redirects: u32,
    pub(crate) discards_bodies: bool,
    pub(crate) user_agent: Option<String>,
    /// An iteration that took less is followed by a sleep for the rest, in microseconds.
    pub(crate) iteration_min_us: u64,
}

impl Settings {
    /// Reads them from options as JSON.
    pub(crate) fn of(options: &str) -> Self {
        let options: Value = serde_json::from_str(options).unwrap_or_default();
        let is = |name: &str| options[name].as_bool().unwrap_or(false);
        let agent = match &options["userAgent"] {
            Value::String(name) if name.is_empty() => None,
            Value::String(name) => Some(name.clone()),
            _ => Some(concat!("cohort/", env!("CARGO_PKG_VERSION")).into()),
        };
        Self {
            throws: is("throw"),
            keeps_cookies: is("noCookiesReset"),
            redirects: options["maxRedirects"]
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(10),
            discards_bodies: is("discardResponseBodies"),
            user_agent: agent,
            iteration_min_us: match &options["minIterationDuration"] {
                Value::String(written) => parse_duration_us(written),
                ms => ms.as_f64().map(|ms| (ms.max(0.0) * 1_000.0) as u64),
            }
            .unwrap_or(0),
        }
    }
}
