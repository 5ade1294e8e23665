//! Cookies of a virtual user, by RFC 6265. The time is told: a jar that read a clock would not be the same again.

use url::Url;

/// A cookie as a `Set-Cookie` header has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Lower case, without the leading dot; empty when the header names none.
    pub(crate) domain: String,
    /// Empty when the header names none.
    pub(crate) path: String,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) max_age_s: Option<i64>,
    /// Microseconds since 1970.
    pub(crate) expires_us: Option<u64>,
}

impl Cookie {
    /// Reads a `Set-Cookie` header; `None` when it has no name.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let value = value.trim();
        let mut cookie = Self {
            name: name.trim().into(),
            value: value
                .strip_prefix('"')
                .and_then(|inner| inner.strip_suffix('"'))
                .unwrap_or(value)
                .into(),
            ..Self::default()
        };
        if cookie.name.is_empty() {
            return None;
        }
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "domain" => cookie.domain = value.trim_start_matches('.').to_ascii_lowercase(),
                "path" if value.starts_with('/') => cookie.path = value.into(),
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "max-age" => cookie.max_age_s = value.parse().ok(),
                "expires" => cookie.expires_us = parse_date(value),
                _ => {}
            }
        }
        Some(cookie)
    }
}

#[derive(Clone, Debug)]
struct Stored {
    cookie: Cookie,
    host_only: bool,
}

/// The cookies one virtual user holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jar(Vec<Stored>);

impl Jar {
    /// Takes a cookie that a response from this URL set, unless the URL has no right to it.
    pub(crate) fn set(&mut self, url: &Url, mut cookie: Cookie, now_us: u64) {
        let host = host(url);
        let host_only = cookie.domain.is_empty() || cookie.domain == host && is_address(&host);
        if host_only {
            cookie.domain = host;
        } else if !domain_matches(&host, &cookie.domain) {
            return;
        }
        if cookie.path.is_empty() {
            cookie.path = default_path(url.path()).into();
        }
        match cookie.max_age_s {
            Some(seconds) if seconds <= 0 => cookie.expires_us = Some(0),
            Some(seconds) => {
                cookie.expires_us =
                    Some(now_us.saturating_add((seconds.unsigned_abs()).saturating_mul(1_000_000)));
            }
            None => {}
        }
        let same = |stored: &Stored| {
            stored.cookie.name == cookie.name
                && stored.cookie.domain == cookie.domain
                && stored.cookie.path == cookie.path
        };
        let place = self.0.iter().position(same);
        let dead = cookie.expires_us.is_some_and(|at| at <= now_us);
        match (place, dead) {
            (Some(place), true) => drop(self.0.remove(place)),
            (Some(place), false) => self.0[place] = Stored { cookie, host_only },
            (None, true) => {}
            (None, false) => self.0.push(Stored { cookie, host_only }),
        }
    }

    /// The cookies to send to a URL: longer paths first, then older ones.
    pub(crate) fn of(&self, url: &Url, now_us: u64) -> Vec<(&str, &str)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let host = host(url);
        let secure = url.scheme() == "https";
        let mut found: Vec<_> = self
            .0
            .iter()
            .filter(|stored| {
                let cookie = &stored.cookie;
                cookie.expires_us.is_none_or(|at| at > now_us)
                    && (secure || !cookie.secure)
                    && (cookie.domain == host
                        || !stored.host_only && domain_matches(&host, &cookie.domain))
                    && path_matches(url.path(), &cookie.path)
            })
            .collect();
        found.sort_by_key(|stored| std::cmp::Reverse(stored.cookie.path.len()));
        found
            .iter()
            .map(|stored| (stored.cookie.name.as_str(), stored.cookie.value.as_str()))
            .collect()
    }

    /// Forgets the cookies that would be sent to a URL: all, or those of one name.
    pub(crate) fn remove(&mut self, url: &Url, name: Option<&str>) {
        let host = host(url);
        self.0.retain(|stored| {
            let cookie = &stored.cookie;
            let meant = name.is_none_or(|name| name == cookie.name)
                && (cookie.domain == host || domain_matches(&host, &cookie.domain))
                && path_matches(url.path(), &cookie.path);
            !meant
        });
    }
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_ascii_lowercase()
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || !is_address(host)
            && host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
}

fn path_matches(path: &str, of_cookie: &str) -> bool {
    path.strip_prefix(of_cookie)
        .is_some_and(|rest| rest.is_empty() || of_cookie.ends_with('/') || rest.starts_with('/'))
}

fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

/// A date as cookies have it (RFC 6265, 5.1.1), in microseconds since 1970; earlier ones are 0.
fn parse_date(text: &str) -> Option<u64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != ':')
        .filter(|token| !token.is_empty())
    {
        let number = token.parse::<u64>().ok();
        if time.is_none() && token.contains(':') {
            let mut parts = token.split(':').map(|part| part.parse::<u64>().ok());
            let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
            time = (hours < 24 && minutes < 60 && seconds < 61)
                .then_some(hours * 3600 + minutes * 60 + seconds);
        } else if let (None, Some(number), true) = (day, number, token.len() <= 2) {
            day = Some(number);
        } else if let (None, Some(found)) = (month, month_of(token)) {
            month = Some(found);
        } else if let (None, Some(number)) = (year, number) {
            year = Some(match number {
                0..=69 => number + 2000,
                70..=99 => number + 1900,
                _ => number,
            });
        }
    }
    let (time, day, month, year) = (time?, day?, month?, year?);
    if !(1..=31).contains(&day) || !(1601..=9999).contains(&year) {
        return None;
    }
    // Days since 1970 of a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
    Some(
        days.saturating_sub(719_468) * 86_400_000_000
            + if days < 719_468 { 0 } else { time * 1_000_000 },
    )
}

fn month_of(token: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let start = token.get(..3)?.to_ascii_lowercase();
    MONTHS
        .iter()
        .position(|month| *month == start)
        .map(|index| index as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn jar(at: &str, headers: &[&str]) -> Jar {
        let mut jar = Jar::default();
        for header in headers {
            jar.set(&url(at), Cookie::parse(header).unwrap(), 1_000_000);
        }
        jar
    }

    #[test]
    fn cookies_go_where_they_belong() {
        let jar = jar(
            "http://shop.example/cart/items",
            &[
                "a=1",
                "b=2; Path=/",
                "c=3; Domain=.example",
                "d=4; Domain=other.example",
                "e=5; Secure; Path=/",
                "f=6; Max-Age=10; Path=/",
            ],
        );
        let of = |to: &str, now| jar.of(&url(to), now);
        assert_eq!(
            of("http://shop.example/cart", 1_000_000),
            [("a", "1"), ("c", "3"), ("b", "2"), ("f", "6")]
        );
        assert_eq!(of("http://shop.example/carthage", 11_000_000), [("b", "2")]);
        assert_eq!(
            of("https://shop.example/", 12_000_000),
            [("b", "2"), ("e", "5")]
        );
        assert_eq!(of("http://www.example/cart/x", 1), [("c", "3")]);
    }

    #[test]
    fn a_cookie_is_replaced_and_dies() {
        let mut jar = jar(
            "http://127.0.0.1:80/",
            &[
                "a=1",
                "a=\"2\"",
                "b=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT",
            ],
        );
        assert_eq!(
            jar.of(&url("http://127.0.0.1:8080/"), 1_000_000),
            [("a", "2"), ("b", "1")]
        );
        jar.set(
            &url("http://127.0.0.1/"),
            Cookie::parse("b=; Max-Age=0").unwrap(),
            5,
        );
        jar.remove(&url("http://127.0.0.1/"), Some("a"));
        assert!(jar.of(&url("http://127.0.0.1:8080/"), 1).is_empty());
    }

    #[test]
    fn dates_are_read_in_all_three_forms() {
        let expected = Some(1_445_412_480_000_000);
        for text in [
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Wednesday, 21-Oct-15 07:28:00 GMT",
            "Wed Oct 21 07:28:00 2015",
        ] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse_date("soon"), None);
    }
}
