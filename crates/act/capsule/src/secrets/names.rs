//! Names of variables that hold secrets.

/// Anywhere in a name.
const ANYWHERE: [&str; 12] = [
    "TOKEN",
    "SECRET",
    "PASSW",
    "PASSPHRASE",
    "CREDENTIAL",
    "PRIVATE",
    "APIKEY",
    "ACCESSKEY",
    "BEARER",
    "COOKIE",
    "NETRC",
    "JWT",
];
/// As one of its words, or the end of one.
const WORDS: [&str; 10] = [
    "PASS",
    "KEY",
    "KEYS",
    "PWD",
    "AUTH",
    "AUTHORIZATION",
    "SIGNATURE",
    "OTP",
    "PASSFILE",
    "DSN",
];
/// At its beginning.
const STARTS: [&str; 2] = ["AWS_", "ARM_"];
/// Not at all: known, and of use.
const HARMLESS: [&str; 8] = [
    "PWD",
    "OLDPWD",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PAGER",
    "SSH_AUTH_SOCK",
    "XAUTHORITY",
    "TOKENIZERS_PARALLELISM",
];

pub(super) fn tells_of_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if HARMLESS.contains(&name.as_str()) {
        return false;
    }
    let words = || name.split(|letter: char| !letter.is_ascii_alphanumeric());
    STARTS.iter().any(|start| name.starts_with(start))
        || ANYWHERE.iter().any(|part| name.contains(part))
        || words()
            .any(|word| WORDS.contains(&word) || word.ends_with("KEY") || word.ends_with("PASS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        for name in [
            "GITHUB_TOKEN",
            "npm_config__authToken",
            "DB_PASSWORD",
            "DB_PASS",
            "PGPASSWORD",
            "STRIPE_API_KEY",
            "stripe_apikey",
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SSH_PRIVATE_KEY",
            "client-secret",
            "MYSQL_PWD",
            "SENTRY_DSN",
            "HTTP_AUTHORIZATION",
            "SIGNING_KEYS",
            "GPG_PASSPHRASE",
        ] {
            assert!(tells_of_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "PWD",
            "OLDPWD",
            "LANG",
            "RUST_BACKTRACE",
            "GIT_AUTHOR_NAME",
            "KEYBOARD_LAYOUT",
            "PASSED",
            "COMPILER_BYPASSED",
            "CARGO_MANIFEST_DIR",
            "PYTHONHASHSEED",
            "SSH_AUTH_SOCK",
            "AWS_REGION",
        ] {
            assert!(!tells_of_secret(name), "{name}");
        }
    }
}
