//! A script: loaded, checked, compiled.

use std::collections::BTreeMap;
use std::path::Path;

use crate::bundle::Bundle;

/// Why a script cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// x
    #[error("x")]
    X,
}

/// A script that can be run: machines are made of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Script {
    bundle: std::rc::Rc<Bundle>,
}

impl Script {
    /// Reads a script and the modules it imports, evaluates it once, and checks that all it needs is there.
    ///
    /// # Errors
    /// When a file cannot be read, is no JavaScript, throws, or needs what is not supported: by file and line.
    pub fn load(_entry: &Path, _env: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        unimplemented!()
    }

    /// Makes a script of what another process loaded.
    ///
    /// # Errors
    /// When its modules do not compile: it is not what [`Script::load`] made.
    pub fn from_bundle(_bundle: Bundle) -> Result<Self, LoadError> {
        unimplemented!()
    }

    /// What the script is made of.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The evaluated `export const options`; an empty object when there are none.
    pub fn options(&self) -> serde_json::Value {
        unimplemented!()
    }

    /// Whether the script exports a function of this name (`default`, `setup`, `teardown`, `handleSummary`, a scenario's `exec`).
    pub fn exports(&self, name: &str) -> bool {
        self.bundle.exports.iter().any(|export| export == name)
    }
}
