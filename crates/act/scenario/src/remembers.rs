//! Whether a thread may know more after an iteration than before it: a token of a server that only that server knows,
//! say. Guessed from the source, and rather once too often: variables of a module that a function assigns to or fills.

use std::collections::BTreeSet;

use crate::lexer::{Token, tokens};

/// Methods that change what they are called on.
const CHANGES: [&str; 8] = [
    "push", "pop", "shift", "unshift", "splice", "set", "delete", "clear",
];

pub(crate) fn remembers(source: &str) -> bool {
    let tokens = tokens(source);
    let depths = depths(&tokens);
    let names = names(&tokens, &depths);
    (0..tokens.len()).any(|at| {
        let known = tokens[at].word().is_some_and(|word| names.contains(word));
        let member = at > 0 && tokens[at - 1].is('.');
        known && !member && depths[at] > 0 && changes(&tokens, at)
    })
}

/// How many brackets each token is in.
fn depths(tokens: &[Token]) -> Vec<u32> {
    let mut depth = 0_u32;
    let depth_of = |token: &Token| {
        if ['}', ')', ']'].iter().any(|sign| token.is(*sign)) {
            depth = depth.saturating_sub(1);
        }
        let own = depth;
        if ['{', '(', '['].iter().any(|sign| token.is(*sign)) {
            depth += 1;
        }
        own
    };
    tokens.iter().map(depth_of).collect()
}

/// Variables of the module.
fn names<'a>(tokens: &'a [Token], depths: &[u32]) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let declares = matches!(token.word(), Some("let" | "var" | "const"));
        if !declares || depths[at] > 0 {
            continue;
        }
        // Up to its value: one name, or a pattern of several.
        let declared = tokens[at + 1..].iter().take_while(|token| !token.is('='));
        let one = tokens.get(at + 1).is_some_and(|next| next.word().is_some());
        let most = if one { 1 } else { usize::MAX };
        names.extend(declared.take(most).filter_map(Token::word));
    }
    names
}

/// Whether what is named there is assigned to or filled: `a = 1`, `a.b[c] += 1`, `++a`, `a.push(1)`.
fn changes(tokens: &[Token], at: usize) -> bool {
    let is = |place: usize, sign: char| tokens.get(place).is_some_and(|token| token.is(sign));
    let twice = |place: usize, sign: char| is(place, sign) && is(place + 1, sign);
    if at >= 2 && (twice(at - 2, '+') || twice(at - 2, '-')) {
        return true;
    }
    let mut next = at + 1;
    loop {
        if is(next, '.') {
            let method = tokens.get(next + 1).and_then(Token::word);
            if method.is_some_and(|method| CHANGES.contains(&method)) && is(next + 2, '(') {
                return true;
            }
            next += 2;
        } else if is(next, '[') {
            let mut depth = 0;
            loop {
                depth += i32::from(is(next, '[')) - i32::from(is(next, ']'));
                next += 1;
                if depth == 0 || next >= tokens.len() {
                    break;
                }
            }
        } else {
            break;
        }
    }
    let assigned = |place: usize| is(place, '=') && !is(place + 1, '=') && !is(place + 1, '>');
    let operated = ['+', '-', '*', '/', '%', '&', '|', '^', '?'];
    let with = operated.iter().any(|sign| {
        let doubled = twice(next, *sign);
        is(next, *sign) && is(next + 1, '=') || doubled && is(next + 2, '=')
    });
    assigned(next) || with || twice(next, '+') || twice(next, '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_beyond_an_iteration_is_seen() {
        let forgetful = [
            "export let options = { vus: 1 }; let U = 'x'; export default () => { http.get(U) }",
            "const a = [1]; export default function () { let a1 = a[0]; a1 = 2; if (a == 1) {} f(a => 1); x.a = 1 }",
            "const c = new Counter('c'); const o = { a: { b: 1 } }; export default () => { c.add(1); o.a.b === 2 }",
            "let n = 0; n = 1; export default () => { const m = n + 1 }",
        ];
        for source in forgetful {
            assert!(!remembers(source), "{source}");
        }
        let mindful = [
            "let token; export default function () { if (!token) token = login() }",
            "let n = 0; export default () => { n += 1 }",
            "let n = 0; export default () => { n++ }",
            "let n = 0; export default () => { --n }",
            "let n; export default () => { n ??= login() }",
            "const all = []; export default () => { all.push(1) }",
            "const known = {}; export default () => { known[f(__VU)[0]] = 1 }",
            "const s = { a: {} }; export default () => { s.a.b = login() }",
            "var { a, b: c } = f(); function g() { c = 1 }",
            "const m = new Map(); export default () => { m.set('a', 1) }",
        ];
        for source in mindful {
            assert!(remembers(source), "{source}");
        }
    }
}
