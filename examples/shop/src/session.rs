//! Logging in. A session is a cookie that the shop can check without remembering it: the customer,
//! a number of its own, and a seal over both. (The seal keeps honest people honest; a real shop
//! takes a keyed hash made for it.)

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::defects::Defect;
use crate::shop::Shop;

/// Who may log in: `customer-0` to `customer-499`, each with the password `open-` and the number.
const CUSTOMERS: u32 = 500;

const SECRET: &str = "not much of one";

static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub customer: u32,
    /// Of this log-in.
    pub number: u64,
}

impl Session {
    fn begin(customer: u32) -> Session {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        (
            now.as_nanos(),
            std::process::id(),
            SESSIONS.fetch_add(1, Ordering::Relaxed),
        )
            .hash(&mut hasher);
        Session {
            customer,
            number: hasher.finish(),
        }
    }

    fn seal(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (SECRET, self.customer, self.number).hash(&mut hasher);
        hasher.finish()
    }

    fn token(self) -> String {
        format!(
            "{}.{:016x}.{:016x}",
            self.customer,
            self.number,
            self.seal()
        )
    }

    fn from_token(token: &str) -> Option<Session> {
        let mut parts = token.split('.');
        let customer = parts.next()?.parse().ok()?;
        let number = u64::from_str_radix(parts.next()?, 16).ok()?;
        let session = Session { customer, number };
        let sealed = u64::from_str_radix(parts.next()?, 16).ok()? == session.seal();
        (sealed && parts.next().is_none()).then_some(session)
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Session, Refusal> {
        let cookies = parts
            .headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut tokens = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|one| one.trim().strip_prefix("session="));
        tokens
            .find_map(Session::from_token)
            .ok_or(Refusal::NotLoggedIn)
    }
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    customer: String,
    password: String,
}

pub(crate) async fn login(
    State(shop): State<Arc<Shop>>,
    Json(credentials): Json<Credentials>,
) -> Result<Response, Refusal> {
    let number = credentials
        .customer
        .strip_prefix("customer-")
        .and_then(|number| number.parse().ok());
    let known = number
        .filter(|number| *number < CUSTOMERS && credentials.password == format!("open-{number}"));
    let customer = known.ok_or(Refusal::NotLoggedIn)?;
    let kept_from_scripts = match shop.defects.on(Defect::WeakCookie) {
        true => "",
        false => "; HttpOnly; SameSite=Lax",
    };
    let token = Session::begin(customer).token();
    let cookie = format!("session={token}; Path=/{kept_from_scripts}");
    Ok((
        [(SET_COOKIE, cookie)],
        Json(json!({ "customer": credentials.customer })),
    )
        .into_response())
}

pub(crate) async fn logout(State(shop): State<Arc<Shop>>, session: Session) -> Response {
    shop.carts.forget(session, &shop.defects);
    let cookie = "session=; Path=/; Max-Age=0";
    (
        [(SET_COOKIE, cookie)],
        Json(json!({ "goodbye": session.customer })),
    )
        .into_response()
}

pub(crate) async fn account(session: Session) -> Json<Value> {
    Json(json!({ "customer": format!("customer-{}", session.customer) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_back_only_unchanged() {
        let session = Session::begin(7);
        let token = session.token();
        assert_eq!(Session::from_token(&token), Some(session));
        assert_ne!(Session::begin(7), session);
        for wrong in [
            token.replacen('7', "8", 1),
            token.clone() + "0",
            token + ".0",
            "7.1".into(),
            String::new(),
        ] {
            assert_eq!(Session::from_token(&wrong), None, "{wrong}");
        }
    }
}
