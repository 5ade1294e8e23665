//! Where the service is said to be.

use url::Url;

use super::document::{Document, Version};
use crate::Error;
use crate::script::Script;

/// When the description does not say.
const LOCAL: &str = "http://localhost:8080";

/// `https://shop.example`, and what every path begins with: `/api/v1`.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) origin: String,
    pub(super) prefix: String,
}

pub(super) fn base(document: &Document<'_>, script: &mut Script) -> Result<Base, Error> {
    let told = match document.version {
        Version::OpenApi3 => server(document)?,
        Version::Swagger2 => host(document)?,
    };
    let local = Url::parse(LOCAL).ok();
    let url = Url::parse(&told).or_else(|_| match &local {
        Some(local) => local.join(&told),
        None => Err(url::ParseError::RelativeUrlWithoutBase),
    });
    let url = url
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url else {
        script.note(format!(
            "The server {told:?} is no address of HTTP; {LOCAL} is used instead."
        ));
        return Ok(Base {
            origin: LOCAL.to_owned(),
            prefix: String::new(),
        });
    };
    let origin = url.origin().ascii_serialization();
    if origin == LOCAL {
        script.note(format!(
            "The description names no host; {LOCAL} is used unless BASE_URL is set."
        ));
    }
    Ok(Base {
        origin,
        prefix: url.path().trim_end_matches('/').to_owned(),
    })
}

/// The first server, its variables being what they are by default.
fn server(document: &Document<'_>) -> Result<String, Error> {
    let servers = document.root.list("servers")?;
    let Some(server) = servers.first() else {
        return Ok("/".to_owned());
    };
    let mut url = server.need_text("url", "an address")?.to_owned();
    if let Some(variables) = server.get("variables") {
        for (name, variable) in variables.fields()? {
            url = url.replace(
                &format!("{{{name}}}"),
                variable.text("default").unwrap_or_default(),
            );
        }
    }
    Ok(url)
}

fn host(document: &Document<'_>) -> Result<String, Error> {
    let root = &document.root;
    let path = root.text("basePath").unwrap_or("/");
    let Some(host) = root.text("host") else {
        return Ok(path.to_owned());
    };
    let schemes = root.list("schemes")?;
    let scheme = schemes.iter().find_map(|scheme| scheme.value.as_str());
    let scheme = scheme
        .filter(|scheme| scheme.starts_with("http"))
        .unwrap_or("https");
    let path = path.trim_start_matches('/');
    Ok(format!("{scheme}://{host}/{path}"))
}
