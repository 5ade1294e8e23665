//! Ways in which a place of a request is changed, and what comes of one.

use serde_json::Value;

use crate::edit::Edit;
use crate::json::{self, JsonWay};
use crate::random::Random;
use crate::request::Request;
use crate::sites::{Site, parts, query};
use crate::text::{self, TextWay};

/// A way to change a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Text(TextWay),
    Json(JsonWay),
    Bytes(BytesWay),
    /// It is left out.
    Gone,
    /// It is there twice.
    Again,
}

/// A way to change bytes whatever they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BytesWay {
    /// Some bits.
    Flip,
    /// Only a part is there.
    Cut,
    /// A part several times.
    Repeat,
    /// Bytes that are no UTF-8.
    Foreign,
}

impl Way {
    /// So many tries of it are made before what they came to counts.
    pub(crate) fn variety(self) -> usize {
        match self {
            Way::Text(way) => way.variety(),
            Way::Json(way) => way.variety(),
            Way::Bytes(BytesWay::Flip) => 4,
            Way::Bytes(_) => 2,
            Way::Gone | Way::Again => 1,
        }
    }
}

/// What a change draws on.
pub(crate) struct Source<'a> {
    pub(crate) random: &'a mut Random,
    /// Texts that stood elsewhere, or mean something here.
    pub(crate) known: &'a [String],
}

/// All ways to change a place of a request.
pub(crate) fn ways(request: &Request, site: &Site) -> Vec<Way> {
    let texts = || TextWay::ALL.into_iter().map(Way::Text);
    let bytes = [
        BytesWay::Flip,
        BytesWay::Cut,
        BytesWay::Repeat,
        BytesWay::Foreign,
    ];
    match site {
        Site::Json(pointer) => {
            let document = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
            let Some(value) = document.pointer(pointer) else {
                return Vec::new();
            };
            let (json, text) = json::ways(value, pointer.is_empty());
            let json = json.into_iter().map(Way::Json);
            json.chain(text.into_iter().map(Way::Text)).collect()
        }
        Site::Query(..) | Site::Form(..) => {
            let foreign = Way::Bytes(BytesWay::Foreign);
            texts().chain([Way::Gone, Way::Again, foreign]).collect()
        }
        Site::Segment(_) => texts().chain([Way::Bytes(BytesWay::Foreign)]).collect(),
        Site::Header(_) => texts().chain([Way::Gone]).collect(),
        Site::Part(..) => {
            let bytes = bytes.into_iter().map(Way::Bytes);
            bytes.chain([Way::Gone, Way::Again]).collect()
        }
        Site::Body => bytes.into_iter().map(Way::Bytes).collect(),
    }
}

/// A change of a place of a request; none where there is nothing to change.
pub(crate) fn edit(
    request: &Request,
    site: &Site,
    way: Way,
    from: &mut Source<'_>,
) -> Option<Edit> {
    if way == Way::Gone {
        return Some(Edit {
            site: site.clone(),
            value: None,
        });
    }
    let value = match site {
        Site::Json(pointer) => return of_json(request, pointer, way, from),
        Site::Query(number, name) => {
            encoded_pair(query(&request.url)?, (*number, name), way, from)?
        }
        Site::Form(number, name) => {
            let text = String::from_utf8_lossy(&request.body);
            encoded_pair(&text, (*number, name), way, from)?
        }
        Site::Segment(number) => {
            let (begin, end) = request.path();
            let segment = request.url[begin..end].split('/').nth(*number)?;
            encoded(&decoded(segment), way, from).into_bytes()
        }
        Site::Header(name) => {
            let Way::Text(way) = way else { return None };
            let had = request.header(name)?;
            let new = text::changed(had, way, from.known, from.random);
            // What ends a header would not be sent at all.
            new.replace(['\r', '\n', '\0'], "").into_bytes()
        }
        Site::Part(number, _) => {
            let boundary = request.boundary()?;
            let all = parts(&request.body, &boundary);
            let part = all.get(*number)?;
            match way {
                Way::Again => [
                    part.as_slice(),
                    b"\r\n--",
                    boundary.as_bytes(),
                    b"\r\n",
                    part,
                ]
                .concat(),
                Way::Bytes(way) => of_bytes(part, way, from.random),
                _ => return None,
            }
        }
        Site::Body => match way {
            Way::Bytes(way) => of_bytes(&request.body, way, from.random),
            _ => return None,
        },
    };
    Some(Edit {
        site: site.clone(),
        value: Some(value),
    })
}

fn of_json(request: &Request, pointer: &str, way: Way, from: &mut Source<'_>) -> Option<Edit> {
    let document: Value = serde_json::from_slice(&request.body).ok()?;
    let value = document.pointer(pointer)?;
    let (place, text) = match way {
        Way::Text(way) => {
            let new = text::changed(value.as_str()?, way, from.known, from.random);
            (pointer, Value::String(new).to_string())
        }
        Way::Json(JsonWay::Missing) => {
            return Some(Edit {
                site: Site::Json(pointer.to_owned()),
                value: None,
            });
        }
        Way::Json(JsonWay::Twice) => {
            let (parent, _) = pointer.rsplit_once('/')?;
            (parent, json::twice(&document, pointer, from.random)?)
        }
        Way::Json(way) => (pointer, json::text(value, way, from.random)?),
        _ => return None,
    };
    Some(Edit {
        site: Site::Json(place.to_owned()),
        value: Some(text.into_bytes()),
    })
}

fn encoded_pair(
    text: &str,
    (number, name): (usize, &str),
    way: Way,
    from: &mut Source<'_>,
) -> Option<Vec<u8>> {
    let pair = text.split('&').nth(number)?;
    let had = pair.split_once('=').map_or("", |(_, value)| value);
    Some(match way {
        Way::Again => format!("{had}&{name}={had}&{name}[]=1").into_bytes(),
        way => encoded(&decoded(had), way, from).into_bytes(),
    })
}

fn encoded(had: &str, way: Way, from: &mut Source<'_>) -> String {
    match way {
        Way::Text(way) => {
            let new = text::changed(had, way, from.known, from.random);
            // Some servers see what is not encoded at all.
            match from.random.once_in(8) && new.bytes().all(|byte| byte.is_ascii_graphic()) {
                true => new.replace(['#', '&'], ""),
                false => percent(new.as_bytes()),
            }
        }
        _ => {
            let new = of_bytes(had.as_bytes(), BytesWay::Foreign, from.random);
            percent(&new)
        }
    }
}

fn percent(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let value = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (byte, value) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn of_bytes(had: &[u8], way: BytesWay, random: &mut Random) -> Vec<u8> {
    let mut new = had.to_vec();
    let at = random.below(had.len() + 1);
    match way {
        BytesWay::Flip => {
            for _ in 0..=random.below(3) {
                let at = random.below(new.len());
                if let Some(byte) = new.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        BytesWay::Cut => new.truncate(at.min(had.len().saturating_sub(1))),
        BytesWay::Repeat => {
            let part = had[..at].to_vec();
            let times = *random.pick(&[1, 4, 64]);
            for _ in 0..times.min(500_000 / part.len().max(1)) {
                new.extend_from_slice(&part);
            }
        }
        BytesWay::Foreign => {
            let foreign: &[&[u8]] = &[
                b"\xff",
                b"\xc3",
                b"\xed\xa0\x80",
                b"\xf4\x90\x80\x80",
                b"\x80",
            ];
            new.splice(at..at, random.pick(foreign).iter().copied());
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sites::sites;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_request_can_be_changed_in_all_ways(
            url in "/[a-z0-9/%]{0,12}(\\?[a-z0-9=&%]{0,12})?",
            body in prop_oneof!["\\PC{0,40}", "\\{\"a\":(1|\"x\"|\\[1\\]|null)\\}", "a=1&b=%zz"],
            seed: u64,
        ) {
            let request = Request {
                method: "POST".to_owned(),
                url,
                headers: vec![("accept".to_owned(), "x".to_owned())],
                body: body.into_bytes(),
            };
            let mut random = Random::new(seed);
            for site in sites(&request) {
                for way in ways(&request, &site) {
                    let mut from = Source { random: &mut random, known: &[] };
                    if let Some(edit) = edit(&request, &site, way, &mut from) {
                        let mut new = request.clone();
                        edit.apply(&mut new);
                        prop_assert!(new.body.len() < 2_000_000);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_encoded_is_read_and_written_again() {
        assert_eq!(decoded("a%20b%zz%"), "a b%zz%");
        assert_eq!(percent("é/".as_bytes()), "%C3%A9%2F");
    }
}
