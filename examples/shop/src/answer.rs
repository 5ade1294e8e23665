//! What the shop answers when it does not do what it was asked.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::log;

/// Each becomes `{"error": ...}` with its status.
#[derive(Debug)]
pub(crate) enum Refusal {
    Wrong(String),
    NotLoggedIn,
    NotFound(String),
    Conflict(String),
    Failed(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Refusal::Wrong(message) => (StatusCode::BAD_REQUEST, message),
            Refusal::NotLoggedIn => (StatusCode::UNAUTHORIZED, "log in first: POST /login".into()),
            Refusal::NotFound(what) => (StatusCode::NOT_FOUND, format!("there is no {what}")),
            Refusal::Conflict(message) => (StatusCode::CONFLICT, message),
            Refusal::Failed(message) => {
                log::error(&message);
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "something went wrong here".into(),
                )
            }
        };
        (status, Json(serde_json::json!({ "error": message }))).into_response()
    }
}

impl From<redb::Error> for Refusal {
    fn from(error: redb::Error) -> Refusal {
        Refusal::Failed(format!("database: {error}"))
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        Refusal::Failed(format!("file: {error}"))
    }
}
