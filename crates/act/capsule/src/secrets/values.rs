//! What credentials look like, whatever the variable is called.

/// How keys of well-known services begin, and how long they are at least.
const STARTS: [(&str, usize); 22] = [
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("github_pat_", 20),
    ("glpat-", 15),
    ("xoxb-", 15),
    ("xoxp-", 15),
    ("xoxa-", 15),
    ("sk-", 20),
    ("sk_live_", 15),
    ("sk_test_", 15),
    ("rk_live_", 15),
    ("pypi-", 20),
    ("npm_", 30),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("ya29.", 15),
    ("hvs.", 15),
    ("dckr_pat_", 15),
    ("SG.", 30),
];
/// Shortest word without a pattern that is taken for a key.
const RANDOM_MIN: usize = 20;
/// Shortest one of hexadecimal digits: shorter ones are mostly checksums cut short.
const HEX_MIN: usize = 32;
/// Bits of entropy a letter from which on there is no pattern. Words of a language have about 2.5 to 3.5
/// in such lengths, random base 64 of 20 letters 4.1 on average.
const ENTROPY_MIN: f64 = 3.7;
/// The same for hexadecimal digits, which have 4 at most.
const HEX_ENTROPY_MIN: f64 = 3.0;

pub(super) fn looks_like_secret(value: &str) -> bool {
    has_password_in_address(value)
        || value.contains("-----BEGIN ") && value.contains("PRIVATE KEY")
        || value.starts_with("Bearer ")
        || value.starts_with("Basic ")
        || words(value).any(|word| is_web_token(word) || is_known_key(word))
        || (!is_path(value) && words(value).any(is_random))
}

/// A path, or a list of them: what is in there is a name, random or not.
fn is_path(value: &str) -> bool {
    value.starts_with(['/', '~', '.']) || value.contains(":/")
}

/// Words of what keys are made of.
fn words(value: &str) -> impl Iterator<Item = &str> {
    let in_path = is_path(value);
    let part = move |letter: char| {
        letter.is_ascii_alphanumeric()
            || matches!(letter, '+' | '=' | '_' | '-' | '.')
            || (letter == '/' && !in_path)
    };
    value.split(move |letter: char| !part(letter))
}

/// `scheme://user:password@host`
fn has_password_in_address(value: &str) -> bool {
    passwords(value).next().is_some()
}

/// The passwords of all addresses in a text.
pub(super) fn passwords(value: &str) -> impl Iterator<Item = &str> {
    value.split("://").skip(1).filter_map(|rest| {
        let host_end = rest
            .find(['/', '?', '#', ' ', '"', '\'', ','])
            .unwrap_or(rest.len());
        let (user, _) = rest[..host_end].rsplit_once('@')?;
        let (_, password) = user.split_once(':').unwrap_or(("", user));
        (!password.is_empty()).then_some(password)
    })
}

/// RFC 7519: three parts of base 64, of which the first is an object of JSON.
fn is_web_token(word: &str) -> bool {
    word.starts_with("eyJ") && word.matches('.').count() >= 2 && word.len() >= 30
}

fn is_known_key(word: &str) -> bool {
    STARTS
        .iter()
        .any(|(start, least)| word.starts_with(start) && word.len() >= *least)
}

fn is_random(word: &str) -> bool {
    let core = word.trim_end_matches('=');
    let has = |is: fn(&u8) -> bool| core.bytes().any(|byte| is(&byte));
    if !has(u8::is_ascii_digit) || !has(u8::is_ascii_alphabetic) {
        return false;
    }
    if core.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return core.len() >= HEX_MIN && entropy(core) >= HEX_ENTROPY_MIN;
    }
    let is_uuid = core.len() == 36 && core.matches('-').count() == 4;
    // Parts of names and versions: `x86_64-unknown-linux-gnu`, `rustc-1.95.0-beta.2`.
    let longest = core.split(['-', '_', '.']).map(str::len).max().unwrap_or(0);
    is_uuid || (longest >= RANDOM_MIN && entropy(core) >= ENTROPY_MIN)
}

/// Bits a letter, of the letters as they are distributed in the word (Shannon).
fn entropy(word: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in word.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let all = word.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / all)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_seen_by_their_looks() {
        for value in [
            "postgres://shop:hunter2@db.local:5432/shop",
            "https://x-access-token@github.com",
            "redis://:hunter2@cache",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
            "ghp_abcdefghijklmnopqrstuvwxyz0123",
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
            "Bearer abc",
            "{\"auth\": \"dGhpc2lzYTEyMzR2ZXJ5c2VjcmV0a2V5\"}",
            "3f2b8c1e-1234-4a5b-9c8d-0123456789ab",
        ] {
            assert!(looks_like_secret(value), "{value}");
        }
        for value in [
            "/usr/local/bin:/usr/bin:/home/me/.cargo/bin",
            "/nix/store/0c0cw1xk3m3p1fbd1ydqc1a9j3d4rk9w-rust-1.95.0/bin",
            "x86_64-unknown-linux-gnu",
            "http://localhost:8080/a?b=c",
            "https://user.example.com/path@2x.png",
            "en_US.UTF-8",
            "America/Argentina/ComodRivadavia",
            "-C target-cpu=native -C link-arg=-fuse-ld=lld",
            "xterm-256color",
            "0123456789",
            "cohort-1-instance-3",
        ] {
            assert!(!looks_like_secret(value), "{value}");
        }
    }
}
