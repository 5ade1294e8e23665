//! A script with everything it is made of, so that it can be sent to another process and run there without its files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What [`Script::load`](crate::Script::load) found; the same bundle gives the same machines everywhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// Name of the module the user named; a key of `modules`.
    pub entry: String,
    /// Source of each module, by its name: its path relative to the folder of the entry (`lib/login.js`, `../shared.js`).
    pub modules: BTreeMap<String, String>,
    /// Of each module that is of CommonJS, what stands in for it among the others.
    pub commonjs: BTreeMap<String, String>,
    /// Bytes of each file the script opened, by its name: its path relative to the folder of the entry.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Elements of each `SharedArray` as JSON, by its name: its function is called once, when the script is loaded.
    pub shared: BTreeMap<String, Vec<String>>,
    /// The environment the script was loaded with (`__ENV`).
    pub env: BTreeMap<String, String>,
    /// The evaluated `export const options` as JSON, `{}` when there are none.
    pub options: String,
    /// Names of the exported functions.
    pub exports: Vec<String>,
}

impl Bundle {
    /// What is compiled for a module.
    pub(crate) fn source(&self, module: &str) -> Option<&str> {
        let source = self
            .commonjs
            .get(module)
            .or_else(|| self.modules.get(module));
        source.map(String::as_str)
    }
}
