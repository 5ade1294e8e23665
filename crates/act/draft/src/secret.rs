//! What is not to stand in a script: by the name it goes by, or by its looks.

/// Parts of names that hold secrets, in lower case, without `-` and `_`.
const SECRET: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "authorization",
    "credential",
    "session",
    "csrf",
    "xsrf",
    "signature",
    "privatekey",
    "accesskey",
    "pincode",
];
/// Whole names that do.
const SECRET_WHOLE: [&str; 9] = [
    "auth", "jwt", "pwd", "pass", "otp", "cvv", "cvc", "sid", "xauth",
];
/// Names of who someone is; replaced where a secret stands beside them.
const IDENTITY: [&str; 7] = [
    "username", "user", "login", "email", "mail", "userid", "account",
];
/// Names that only sound secret.
const HARMLESS: [&str; 5] = [
    "tokentype",
    "passwordless",
    "sessionlength",
    "nextpagetoken",
    "pagetoken",
];
/// Cookies of analytics and consent, which a service does not need.
const TRACKING: [&str; 12] = [
    "_ga",
    "_gid",
    "_gat",
    "_gcl",
    "_fbp",
    "_fbc",
    "__utm",
    "_hj",
    "_pk_",
    "amplitude",
    "ajs_",
    "optanon",
];

fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|char| char.to_ascii_lowercase()).collect()
}

/// Whether a header, field or parameter of this name holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let plain = plain(name);
    !HARMLESS.contains(&plain.as_str())
        && (SECRET_WHOLE.contains(&plain.as_str())
            || SECRET.iter().any(|part| plain.contains(part)))
}

/// Whether it says who someone is.
pub(crate) fn is_identity_name(name: &str) -> bool {
    IDENTITY.contains(&plain(name).as_str())
}

/// Whether a cookie is not worth sending.
pub(crate) fn is_tracking_cookie(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    TRACKING.iter().any(|known| lower.starts_with(known))
}

/// Whether it is a JSON Web Token, wherever it stands.
pub(crate) fn looks_secret(value: &str) -> bool {
    let parts: Vec<&str> = value.split('.').collect();
    let encoded = |part: &&str| {
        let mut bytes = part.bytes();
        part.len() >= 4 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    parts.len() == 3 && value.starts_with("eyJ") && parts.iter().all(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_what_is_not() {
        for name in [
            "Authorization",
            "X-CSRF-Token",
            "api_key",
            "user[password]",
            "sessionid",
            "pwd",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "content-type",
            "q",
            "author",
            "token_type",
            "compass",
            "monkey",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(looks_secret("eyJhbGciOi.eyJzdWIiOi.sflKxwRJSM"));
        assert!(!looks_secret("eyJhbGciOi") && !looks_secret("1.2.3"));
        assert!(is_identity_name("E-Mail") && is_tracking_cookie("_ga_ABC"));
    }
}
