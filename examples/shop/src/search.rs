//! Searching: words that all have to occur, or a pattern in which `*` stands for anything.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::defects::Defect;
use crate::shop::{Shop, blocking};

const RESULTS: usize = 20;

/// Longest question, letters.
const LETTERS: usize = 64;

#[derive(Deserialize)]
pub(crate) struct Asked {
    q: String,
}

pub(crate) async fn search(
    State(shop): State<Arc<Shop>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Refusal> {
    let question = asked.q.trim().to_lowercase();
    if question.is_empty() || question.chars().count() > LETTERS {
        return Err(Refusal::Wrong(format!(
            "q is to have 1 to {LETTERS} letters"
        )));
    }
    let found = blocking(&shop, move |shop| Ok(find(shop, &question))).await?;
    Ok(Json(json!({ "found": found.len(), "products": found })))
}

/// The first products that match.
fn find(shop: &Shop, question: &str) -> Vec<Value> {
    let pattern = format!("*{question}*");
    let careless = shop.defects.on(Defect::CpuBlowup);
    let matches = |text: &String| {
        if !question.contains('*') {
            question.split_whitespace().all(|word| text.contains(word))
        } else if careless {
            tries_everything(pattern.as_bytes(), text.as_bytes())
        } else {
            matches(pattern.as_bytes(), text.as_bytes())
        }
    };
    let both = shop.catalogue.products.iter().zip(&shop.catalogue.texts);
    let found = both.filter(|(_, text)| matches(text)).take(RESULTS);
    found
        .map(|(p, _)| json!({ "id": p.id, "name": p.name, "price_cents": p.price_cents }))
        .collect()
}

/// Goes back only to the last star, since what an earlier one stands for need never grow: at most
/// length of the pattern times length of the text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            last = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star, from)) = last {
            (p, t) = (star + 1, from + 1);
            last = Some((star, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

/// [`Defect::CpuBlowup`]: short and obviously right, and exponential in the number of stars.
fn tries_everything(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        ([b'*', rest @ ..], []) => tries_everything(rest, text),
        ([b'*', rest @ ..], [_, more @ ..]) => {
            tries_everything(rest, text) || tries_everything(pattern, more)
        }
        ([letter, rest @ ..], [first, more @ ..]) => {
            letter == first && tries_everything(rest, more)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_matching_agree() {
        let texts = ["", "a", "ab", "ba", "aab", "abab", "bbaabba", "aaaaaab"];
        let patterns = [
            "*", "a*", "*a", "*b*", "a*b", "*a*b*a*", "**", "ab", "*aa*b", "*c*",
        ];
        for (pattern, text) in patterns
            .iter()
            .flat_map(|p| texts.iter().map(move |t| (p, t)))
        {
            let (p, t) = (pattern.as_bytes(), text.as_bytes());
            assert_eq!(matches(p, t), tries_everything(p, t), "{pattern} on {text}");
        }
        assert!(matches(b"*a*b*", b"xaxbx") && !matches(b"*a*b*", b"xbxax"));
    }
}
