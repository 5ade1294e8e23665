//! Keys and tokens that operations ask for: constants from the environment.

use super::document::{Document, Version};
use super::operation::Operation;
use crate::Error;
use crate::js::Text;
use crate::node::Node;
use crate::script::Script;

/// One credential of a request.
#[derive(Debug)]
pub(super) enum Credential {
    Header(String, Text),
    Query(String, Text),
    Cookie(String, Text),
}

/// What an operation needs, by the first of the ways that it allows.
pub(super) fn credentials(
    document: &Document<'_>,
    operation: &Operation<'_>,
    script: &mut Script,
) -> Result<Vec<Credential>, Error> {
    let own = operation.node.get("security").is_some();
    let ways = if own {
        operation.node.list("security")?
    } else {
        document.root.list("security")?
    };
    let free = |way: &Node<'_>| way.value.as_object().is_some_and(serde_json::Map::is_empty);
    let Some(way) = ways.first().filter(|_| !ways.iter().any(free)) else {
        return Ok(Vec::new());
    };
    let schemes = match document.version {
        Version::Swagger2 => document.root.get("securityDefinitions"),
        Version::OpenApi3 => {
            let components = document.root.get("components");
            components.and_then(|components| components.get("securitySchemes"))
        }
    };
    let mut credentials = Vec::new();
    for (name, _) in way.fields()? {
        let scheme = schemes.as_ref().and_then(|schemes| schemes.get(name));
        let scheme = scheme
            .map(|scheme| document.resolve(&scheme))
            .transpose()?
            .flatten();
        let found = scheme.and_then(|scheme| credential(&scheme, name, script));
        match found {
            Some(credential) => credentials.push(credential),
            None => script.note(format!(
                "Nothing is sent for the security scheme {name:?}, which is not described or of a kind that is not known."
            )),
        }
    }
    Ok(credentials)
}

fn credential(scheme: &Node<'_>, name: &str, script: &mut Script) -> Option<Credential> {
    let bearer = |script: &mut Script, wanted: &str, meaning: &str| {
        let mut text = Text::literal("Bearer ");
        text.push_name(&script.variable(wanted, meaning, None));
        Credential::Header("Authorization".to_owned(), text)
    };
    let kind = scheme.text("type")?;
    let way = scheme
        .text("scheme")
        .unwrap_or_default()
        .to_ascii_lowercase();
    Some(match (kind, way.as_str()) {
        ("apiKey", _) => {
            let field = scheme.text("name")?.to_owned();
            let place = scheme.text("in")?;
            let meaning = format!("key for the {place} {field}");
            let text = Text::name(&script.variable(name, &meaning, None));
            match place {
                "header" => Credential::Header(field, text),
                "query" => Credential::Query(field, text),
                "cookie" => Credential::Cookie(field, text),
                _ => return None,
            }
        }
        ("basic", _) | ("http", "basic") => {
            let meaning = "user:password in base64, for basic authentication";
            let mut text = Text::literal("Basic ");
            text.push_name(&script.variable("basic credentials", meaning, None));
            Credential::Header("Authorization".to_owned(), text)
        }
        ("http", "bearer") => bearer(script, "bearer token", "token for bearer authentication"),
        ("oauth2" | "openIdConnect", _) => {
            bearer(script, "access token", &format!("access token ({kind})"))
        }
        _ => return None,
    })
}
