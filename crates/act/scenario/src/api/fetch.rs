//! Exchanges as a script sees them: with redirects followed and cookies kept.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::{Ctx, Result, Value};
use url::Url;

use super::response;
use crate::call::Call;
use crate::core::{Core, memory_message};
use crate::exchange::Hold;
use crate::http::{Request, error_code};
use crate::jar::{Cookie, Jar};
use crate::note::Level;

/// A request as the script wants it, before cookies.
pub(crate) struct Plan {
    /// `Err` when the URL is none: why.
    pub(crate) url: std::result::Result<Url, String>,
    pub(crate) request: Request,
    pub(crate) jar: Option<Rc<RefCell<Jar>>>,
    /// Cookies of this request alone, and whether each replaces one of the jar.
    pub(crate) cookies: Vec<(String, String, bool)>,
    /// The cookies that were sent last.
    pub(crate) cookie_line: String,
    pub(crate) redirects: u32,
    /// Whether a failure is thrown rather than returned.
    pub(crate) throws: bool,
}

/// What came of a plan.
pub(crate) struct Done {
    plan: Plan,
    came: Came,
}

enum Came {
    Response(Hold),
    Nothing { code: u16, message: String },
}

/// Carries plans out, all at once; redirects of all are followed together too.
pub(crate) fn exchange(core: &Core, ctx: &Ctx<'_>, plans: Vec<Plan>) -> Result<Vec<Done>> {
    let mut done: Vec<Option<Done>> = plans.iter().map(|_| None).collect();
    let mut active: Vec<(usize, Plan)> = Vec::with_capacity(plans.len());
    for (at, plan) in plans.into_iter().enumerate() {
        match &plan.url {
            Ok(_) => active.push((at, plan)),
            Err(reason) => {
                let message = reason.clone();
                done[at] = Some(Done {
                    plan,
                    came: Came::Nothing {
                        code: error_code::INVALID_URL,
                        message,
                    },
                });
            }
        }
    }
    while !active.is_empty() {
        let requests: Vec<Request> = active
            .iter_mut()
            .map(|(_, plan)| dressed(plan, core.now_us.get()))
            .collect();
        let exchanges = core.ask_http(ctx, Call::Http(requests))?;
        for ((at, mut plan), exchange) in std::mem::take(&mut active).into_iter().zip(exchanges) {
            let hold = Hold::new(exchange, &core.held_bytes);
            if follow(core, &mut plan, &hold) {
                active.push((at, plan));
            } else {
                done[at] = Some(Done {
                    plan,
                    came: Came::Response(hold),
                });
            }
        }
        if core.held_bytes.get() > core.birth.memory_limit_bytes {
            return Err(super::throw(ctx, &memory_message(core)));
        }
    }
    Ok(done.into_iter().flatten().collect())
}

/// The request with its cookies.
fn dressed(plan: &mut Plan, now_us: u64) -> Request {
    plan.cookie_line = cookie_line(plan, now_us);
    let mut request = plan.request.clone();
    add_cookies(&mut request, &plan.cookie_line);
    request
}

fn cookie_line(plan: &Plan, now_us: u64) -> String {
    let mut pairs: Vec<String> = plan
        .cookies
        .iter()
        .map(|(name, value, _)| pair(name, value))
        .collect();
    if let (Some(jar), Ok(url)) = (&plan.jar, &plan.url) {
        for (name, value) in jar.borrow().of(url, now_us) {
            if !plan
                .cookies
                .iter()
                .any(|(known, _, replaces)| *replaces && known == name)
            {
                pairs.push(pair(name, value));
            }
        }
    }
    pairs.join("; ")
}

/// As Go writes it: a value with a space or a comma stands in quotes.
fn pair(name: &str, value: &str) -> String {
    if value.contains([' ', ',']) {
        format!("{name}=\"{value}\"")
    } else {
        format!("{name}={value}")
    }
}

fn add_cookies(request: &mut Request, line: &str) {
    if line.is_empty() {
        return;
    }
    match request
        .headers
        .iter_mut()
        .find(|(name, _)| name.eq_ignore_ascii_case("cookie"))
    {
        Some((_, value)) => *value = format!("{value}; {line}"),
        None => request.headers.push(("Cookie".into(), line.into())),
    }
}

/// Takes the cookies of a response, and turns the plan to where it redirects: true when there is more to send.
fn follow(core: &Core, plan: &mut Plan, hold: &Hold) -> bool {
    let Ok(url) = plan.url.clone() else {
        return false;
    };
    let outcome = hold.peek();
    let Ok(response) = &*outcome else {
        return false;
    };
    let mut location = None;
    for (name, value) in &response.headers {
        if name.eq_ignore_ascii_case("set-cookie") {
            if let (Some(jar), Some(cookie)) = (&plan.jar, Cookie::parse(value)) {
                jar.borrow_mut().set(&url, cookie, core.now_us.get());
            }
        } else if location.is_none() && name.eq_ignore_ascii_case("location") {
            location = Some(value);
        }
    }
    let Some(location) =
        location.filter(|_| matches!(response.status, 301 | 302 | 303 | 307 | 308))
    else {
        return false;
    };
    if plan.redirects == 0 {
        return false;
    }
    let Ok(next) = url.join(location) else {
        return false;
    };
    plan.redirects -= 1;
    turn_to(plan, &url, next, response.status);
    true
}

fn turn_to(plan: &mut Plan, from: &Url, mut next: Url, status: u16) {
    let request = &mut plan.request;
    if matches!(status, 301..=303) && request.method != "GET" && request.method != "HEAD" {
        request.method = "GET".into();
    }
    if matches!(status, 301..=303) {
        request.body = Vec::new();
        let of_body = [
            "content-type",
            "content-length",
            "content-encoding",
            "transfer-encoding",
        ];
        request
            .headers
            .retain(|(name, _)| !of_body.contains(&name.to_ascii_lowercase().as_str()));
    }
    let elsewhere = next.host_str() != from.host_str();
    request.headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !(name == "host"
            || name == "referer"
            || elsewhere && matches!(name.as_str(), "authorization" | "cookie"))
    });
    if !(from.scheme() == "https" && next.scheme() == "http") {
        let mut referer = from.clone();
        referer.set_fragment(None);
        request.headers.push(("Referer".into(), referer.into()));
    }
    next.set_fragment(None);
    request.url = next.as_str().into();
    if !request.named {
        request.name.clone_from(&request.url);
    }
    plan.url = Ok(next);
}

impl Done {
    /// The `Response` of the script; or the exception, when failures are to be thrown.
    pub(crate) fn response<'js>(self, core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        let mut request = self.plan.request;
        add_cookies(&mut request, &self.plan.cookie_line);
        let failed = match &self.came {
            Came::Nothing { message, .. } => Some(message.clone()),
            Came::Response(hold) => hold
                .peek()
                .as_ref()
                .err()
                .map(|error| error.message.clone()),
        };
        if let Some(message) = failed {
            let said = format!("{} \"{}\": {message}", request.method, request.url);
            if self.plan.throws {
                return Err(super::throw(ctx, &said));
            }
            core.log(Level::Warn, format!("Request Failed: {said}"));
        }
        let content = match self.came {
            Came::Response(hold) => response::Content::Came(hold),
            Came::Nothing { code, message } => response::Content::Nothing { code, message },
        };
        response::make(core, ctx, content, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_written_as_k6_does() {
        assert_eq!(pair("a", "1"), "a=1");
        assert_eq!(pair("a", "hello world"), "a=\"hello world\"");
    }
}
