//! Leaflets: a file for each category, sent as it is.

use std::backtrace::Backtrace;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::answer::Refusal;
use crate::catalogue::CATEGORIES;
use crate::defects::Defect;
use crate::shop::{Shop, blocking};

/// Where they are.
pub(crate) struct Leaflets {
    dir: PathBuf,
}

impl Leaflets {
    pub(crate) fn open(data: &Path) -> std::io::Result<Leaflets> {
        let dir = data.join("leaflets");
        std::fs::create_dir_all(&dir)?;
        for category in CATEGORIES {
            let text = format!("All about {category}, in our shop.\n");
            std::fs::write(dir.join(format!("{category}.txt")), text)?;
        }
        Ok(Leaflets { dir })
    }
}

#[derive(Deserialize)]
pub(crate) struct Wanted {
    name: String,
}

/// The leaflet of that name.
pub(crate) async fn leaflet(
    State(shop): State<Arc<Shop>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let name = wanted.name;
    let category = name.strip_suffix(".txt").unwrap_or_default();
    let is_one = CATEGORIES.contains(&category);
    let verbose = shop.defects.on(Defect::VerboseError);
    let path = shop.leaflets.dir.join(&name);
    let is_read = is_one || shop.defects.on(Defect::Traversal);
    let read = blocking(&shop, move |_| {
        Ok(is_read
            .then(|| std::fs::read_to_string(path).ok())
            .flatten())
    });
    match read.await? {
        Some(text) => Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()),
        None if verbose => Ok(explained(&name)),
        None => Err(Refusal::NotFound("such leaflet".to_owned())),
    }
}

/// [`Defect::VerboseError`]: all that a developer wants to know.
fn explained(name: &str) -> Response {
    let trace = Backtrace::force_capture();
    let error = format!(
        "no leaflet of {} bytes, {}:{}\nstack backtrace:\n{trace}",
        name.len(),
        file!(),
        line!()
    );
    let answer = Json(json!({ "error": error }));
    (StatusCode::INTERNAL_SERVER_ERROR, answer).into_response()
}
