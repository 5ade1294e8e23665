//! What a server says of its API by itself: many frameworks serve an OpenAPI description of what they were written as.

use std::time::Duration;

use cohort_scenario::{Expected, Request, ResponseType};

use super::Round;
use crate::http::{Connections, Going};

/// Where frameworks and their plugins put it: FastAPI and NestJS, Spring, ASP.NET, and what is usual elsewhere.
const PATHS: [&str; 6] = [
    "/openapi.json",
    "/v3/api-docs",
    "/swagger/v1/swagger.json",
    "/swagger.json",
    "/api/openapi.json",
    "/api-docs",
];
/// An answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(1);

impl Round {
    /// The description, JSON, where there is one.
    pub(super) async fn described(&self) -> Option<String> {
        let connections = Connections::default();
        for path in PATHS {
            let request = Request {
                method: "GET".to_owned(),
                url: path.to_owned(),
                headers: Vec::new(),
                body: Vec::new(),
                timeout_us: PATIENCE.as_micros() as u64,
                response_type: ResponseType::Binary,
                expected: Expected::default(),
                name: path.to_owned(),
                named: false,
                group: String::new(),
                tags: Vec::new(),
            };
            let going = Going {
                request: &request,
                address: &self.order.address,
                path: &path.parse().ok()?,
                script_origin: None,
            };
            let exchanged = self.agent.client.exchange(&connections, going).await;
            let answer = exchanged.outcome.ok()?;
            let is_one = |text: &String| {
                let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
                json.is_some_and(|json| json.get("paths").is_some_and(serde_json::Value::is_object))
            };
            let text = (answer.status == 200).then(|| String::from_utf8(answer.body).ok());
            if let Some(text) = text.flatten().filter(is_one) {
                return Some(text);
            }
        }
        None
    }
}
