//! Where a url of the script leads: to the thread's instance, to another host that is allowed, or nowhere.

use std::str::FromStr;

use cohort_scenario::error_code;
use http::uri::PathAndQuery;
use url::Url;

use super::failure::Failure;
use crate::protocol::{Address, TransportError};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The instance the thread is on at the time of sending.
    Instance {
        /// Path and query.
        path: PathAndQuery,
        /// The origin as the script knows it: `http://localhost:8080`.
        origin: String,
    },
    /// Another host.
    Other {
        /// Which.
        address: Address,
        /// Path and query.
        path: PathAndQuery,
    },
}

/// Decides where urls lead.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    base_origins: Vec<String>,
    /// Origins of the instances: a server may name itself in a redirect.
    instance_origins: Vec<String>,
    allowed: Vec<String>,
}

impl Routes {
    /// For the script's own origins and other hosts (`name`, `name:port`, `*.name`).
    ///
    /// # Errors
    ///
    /// When an origin is no url, in words.
    pub(crate) fn new(base_urls: &[String], allowed: &[String]) -> Result<Routes, String> {
        let mut base_origins = Vec::new();
        for base in base_urls {
            let url = Url::parse(base)
                .map_err(|error| format!("the base url {base:?} is no url: {error}"))?;
            base_origins.push(url.origin().ascii_serialization());
        }
        Ok(Routes {
            base_origins,
            instance_origins: Vec::new(),
            allowed: allowed.iter().map(|host| host.to_lowercase()).collect(),
        })
    }

    /// An instance listens (or has listened) here.
    pub(crate) fn add_instance(&mut self, address: &Address) {
        let origin = origin(address);
        if !self.instance_origins.contains(&origin) {
            self.instance_origins.push(origin);
        }
    }

    /// Where `url` leads.
    ///
    /// # Errors
    ///
    /// When it is no url, or its host is not allowed.
    pub(crate) fn resolve(&self, url: &str) -> Result<Target, Failure> {
        if let Some(target) = self.to_instance(url) {
            return Ok(target);
        }
        let parsed = Url::parse(url).map_err(|error| {
            let message = format!("{url:?} is no url: {error}");
            Failure::new(TransportError::Refused, error_code::INVALID_URL, message)
        })?;
        if let Some(target) = self.to_instance(parsed.as_str()) {
            return Ok(target);
        }
        self.to_other(&parsed)
    }

    fn to_instance(&self, url: &str) -> Option<Target> {
        let (base, rest) = self
            .base_origins
            .iter()
            .chain(&self.instance_origins)
            .find_map(|origin| {
                let rest = url.strip_prefix(origin.as_str())?;
                (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some((origin, rest))
            })?;
        let origin = if self.base_origins.contains(base) {
            base
        } else {
            self.base_origins.first().unwrap_or(base)
        };
        Some(Target::Instance {
            path: path_of(rest)?,
            origin: origin.clone(),
        })
    }

    fn to_other(&self, url: &Url) -> Result<Target, Failure> {
        let refused = |message: String| {
            Failure::new(TransportError::Refused, error_code::INVALID_URL, message)
        };
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(refused(format!("unsupported protocol scheme {other:?}"))),
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(refused(format!("{url} names no host")));
        };
        if !self.is_allowed(host, port) {
            return Err(Failure::refused(format!(
                "{host}:{port} is neither the instance nor allowed, so nothing was sent: add \"{host}\" to the allowed hosts of the campaign to let scripts call it"
            )));
        }
        let path = path_of(&url[url::Position::BeforePath..])
            .ok_or_else(|| refused(format!("{url} has no valid path")))?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Target::Other {
            address: Address { tls, host, port },
            path,
        })
    }

    fn is_allowed(&self, host: &str, port: u16) -> bool {
        let host = host.to_lowercase();
        self.allowed.iter().any(|pattern| {
            let name = match pattern.strip_suffix(&format!(":{port}")) {
                Some(name) => name,
                None if has_port(pattern) => return false,
                None => pattern.as_str(),
            };
            match name.strip_prefix("*.") {
                Some(domain) => host
                    .strip_suffix(domain)
                    .is_some_and(|rest| rest.ends_with('.')),
                None => name == host,
            }
        })
    }
}

fn has_port(pattern: &str) -> bool {
    let after_address = pattern.rsplit(']').next().unwrap_or(pattern);
    after_address.contains(':')
}

/// `http://127.0.0.1:4000`, with the port left out where it is the scheme's own.
pub(crate) fn origin(address: &Address) -> String {
    let scheme = if address.tls { "https" } else { "http" };
    format!("{scheme}://{}", authority(address))
}

/// `127.0.0.1:4000`, with the port left out where it is the scheme's own.
pub(crate) fn authority(address: &Address) -> String {
    let own_port = if address.tls { 443 } else { 80 };
    let host = if address.host.contains(':') {
        format!("[{}]", address.host)
    } else {
        address.host.clone()
    };
    if address.port == own_port {
        host
    } else {
        format!("{host}:{}", address.port)
    }
}

/// Path and query of what follows the origin, without the fragment; `None` when it needs encoding.
fn path_of(rest: &str) -> Option<PathAndQuery> {
    let rest = rest.split('#').next().unwrap_or(rest);
    if rest.starts_with('/') {
        if !rest.is_ascii() {
            return None;
        }
        return PathAndQuery::from_str(rest).ok();
    }
    PathAndQuery::from_str(&format!("/{rest}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let bases = [
            "http://localhost:8080/ignored".to_owned(),
            "https://shop.test".to_owned(),
        ];
        let allowed = [
            "api.test".to_owned(),
            "*.cdn.test".to_owned(),
            "auth.test:8443".to_owned(),
        ];
        let mut routes = Routes::new(&bases, &allowed).unwrap();
        routes.add_instance(&Address {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: 4001,
        });
        routes
    }

    fn path(url: &str) -> Option<String> {
        match routes().resolve(url).unwrap() {
            Target::Instance { path, .. } => Some(path.as_str().to_owned()),
            Target::Other { .. } => None,
        }
    }

    #[test]
    fn urls_of_the_script_lead_to_the_instance() {
        assert_eq!(path("http://localhost:8080").as_deref(), Some("/"));
        assert_eq!(
            path("http://localhost:8080?a=1#x").as_deref(),
            Some("/?a=1")
        );
        assert_eq!(
            path("http://localhost:8080/items/1#x").as_deref(),
            Some("/items/1")
        );
        assert_eq!(path("HTTP://LocalHost:8080/a b").as_deref(), Some("/a%20b"));
        assert_eq!(path("http://localhost:8080/ä").as_deref(), Some("/%C3%A4"));
        assert_eq!(path("https://shop.test:443/x").as_deref(), Some("/x"));
        assert_eq!(path("http://127.0.0.1:4001/next").as_deref(), Some("/next"));
    }

    #[test]
    fn other_hosts_have_to_be_allowed() {
        assert_eq!(path("http://api.test/x"), None);
        assert_eq!(path("https://a.cdn.test/x"), None);
        assert_eq!(path("https://auth.test:8443/x"), None);
        for url in [
            "http://localhost:80801/",
            "http://localhost:8081/",
            "http://evilapi.test/",
            "http://cdn.test.evil/",
            "https://auth.test/",
            "ftp://api.test/",
            "nonsense",
        ] {
            let failure = routes().resolve(url).unwrap_err();
            assert_eq!(failure.kind, TransportError::Refused, "{url}");
        }
        let failure = routes().resolve("http://other.test/x").unwrap_err();
        assert!(
            failure
                .message
                .contains("add \"other.test\" to the allowed hosts")
        );
    }
}
