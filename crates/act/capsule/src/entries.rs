//! Names of what is in a capsule, and its checksums.

use sha2::{Digest, Sha256};

/// The first entry ...
pub(crate) const MANIFEST: &str = "manifest.json";
/// ... and the second: the checksum of the first.
pub(crate) const SEAL: &str = "manifest.sha256";
/// Longest name, bytes: what a plain header of tar takes.
const NAME_BYTES_MAX: usize = 100;

/// Why an attachment may not be called so, if it may not.
pub(crate) fn wrong_name(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Some("which is no name of 1 to 100 bytes");
    }
    if name == MANIFEST || name == SEAL {
        return Some("which is the capsule's own");
    }
    if name.starts_with('/') || name.starts_with('\\') {
        return Some("which is an absolute path");
    }
    let parts = || name.split('/');
    if parts().any(|part| part == "..") {
        return Some("which leads out of its directory");
    }
    if parts().any(|part| part.is_empty() || part == ".") {
        return Some("which has an empty part");
    }
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    if !name.bytes().all(is_plain) {
        return Some("which has more than letters, digits, `.`, `_`, `-` and `/`");
    }
    None
}

/// SHA-256, hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
