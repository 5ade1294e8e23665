//! The widget for paying, which comes as a package of JavaScript with the versions that it was built from.

use std::path::Path;

use serde_json::json;

/// Versions of what it is built from: today's, and one that should have been left behind
/// ([`crate::defects::Defect::VulnerableDependency`]).
const LODASH: [&str; 2] = ["4.17.21", "4.17.15"];

/// Unpacks it beside the data.
pub(crate) fn unpack(data: &Path, old: bool) -> std::io::Result<()> {
    let dir = data.join("pay-widget");
    std::fs::create_dir_all(&dir)?;
    let lock = json!({
        "name": "pay-widget",
        "version": "1.4.0",
        "lockfileVersion": 3,
        "packages": {
            "": { "name": "pay-widget", "version": "1.4.0", "dependencies": { "lodash": "^4.17.0" } },
            "node_modules/lodash": { "version": LODASH[usize::from(old)] },
        },
    });
    std::fs::write(dir.join("package-lock.json"), format!("{lock:#}\n"))
}
