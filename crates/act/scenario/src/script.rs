//! A script: loaded, checked, compiled.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::{Context, Ctx, Module, Runtime, WriteOptions};

use crate::api::globals::{PRELUDE, PRELUDE_SOURCE};
use crate::birth::Birth;
use crate::bundle::Bundle;
use crate::call::{Answer, Call, Ended, Reply};
use crate::engine::Names;
use crate::holes::Holes;
use crate::jslib;
use crate::machine::{BirthError, Machine};
use crate::note::Failure;
use crate::refuse::{self, Refusal};
use crate::sources::{self, join};
use crate::{api, core};

/// How long a script may compute while it is loaded.
const LOAD_LONGEST: Duration = Duration::from_secs(60);

/// Why a script cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}, which {wanted_by}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Who wants it.
        wanted_by: String,
        /// Why not.
        reason: std::io::Error,
    },
    /// A module is no JavaScript.
    #[error("{at}: {message}")]
    Syntax {
        /// File, line and column.
        at: String,
        /// What the compiler says.
        message: String,
    },
    /// It needs what is not supported.
    #[error("{}", Refusal::all(.0))]
    Refused(Vec<Refusal>),
    /// Its init code failed.
    #[error("{} in the init code of the script{}", .0.message, place(.0))]
    Throws(Failure),
    /// Its init code does not end.
    #[error("the init code of the script computes for more than {} s without end", .0.as_secs_f64())]
    Endless(Duration),
    /// No machine can be made to evaluate it.
    #[error(transparent)]
    Birth(#[from] BirthError),
}

fn place(failure: &Failure) -> String {
    if failure.at.is_empty() {
        String::new()
    } else {
        format!(", at {}", failure.at)
    }
}

/// A script that can be run: machines are made of it. Cheap to clone; may be sent to other threads.
#[derive(Clone, Debug)]
pub struct Script(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bundle: Bundle,
    bytecode: BTreeMap<String, Vec<u8>>,
    /// While it is being loaded: where from, and what was found.
    loading: Option<Loading>,
}

#[derive(Debug)]
struct Loading {
    folder: PathBuf,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    files: BTreeMap<String, Vec<u8>>,
    shared: BTreeMap<String, Vec<String>>,
}

impl Script {
    /// Reads a script and the modules it imports, evaluates it once, and checks that all it needs is there.
    ///
    /// # Errors
    /// When a file cannot be read, is no JavaScript, throws, or needs what is not supported: by file and line.
    pub fn load(entry: &Path, env: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        Self::load_within(entry, env, LOAD_LONGEST)
    }

    fn load_within(
        entry: &Path,
        env: &BTreeMap<String, String>,
        longest: Duration,
    ) -> Result<Self, LoadError> {
        let unreadable = |reason| LoadError::Read {
            path: entry.to_path_buf(),
            wanted_by: "is the script".into(),
            reason,
        };
        let whole = entry.canonicalize().map_err(unreadable)?;
        let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(unreadable(std::io::ErrorKind::InvalidInput.into()));
        };
        let sources = sources::read(folder, &name.to_string_lossy())?;
        let mut bundle = Bundle {
            entry: name.to_string_lossy().into_owned(),
            modules: sources.modules,
            commonjs: sources.commonjs,
            env: env.clone(),
            options: "{}".into(),
            ..Bundle::default()
        };
        let bytecode = compile(&bundle)?;
        let loading = Loading {
            folder: folder.into(),
            found: Mutex::default(),
        };
        let trial = Self(Arc::new(Inner {
            bundle: bundle.clone(),
            bytecode: bytecode.clone(),
            loading: Some(loading),
        }));
        let evaluated = trial.evaluate(env, longest)?;
        bundle.options = evaluated["options"].to_string();
        bundle.exports = serde_json::from_value(evaluated["exports"].clone()).unwrap_or_default();
        if let Some(loading) = &trial.0.loading {
            let found =
                std::mem::take(&mut *loading.found.lock().unwrap_or_else(PoisonError::into_inner));
            (bundle.files, bundle.shared) = (found.files, found.shared);
        }
        refused(refuse::options(&evaluated["options"], &bundle))?;
        Ok(Self(Arc::new(Inner {
            bundle,
            bytecode,
            loading: None,
        })))
    }

    /// Makes a script of what another process loaded.
    ///
    /// # Errors
    /// When its modules do not compile: it is not what [`Script::load`] made.
    pub fn from_bundle(bundle: Bundle) -> Result<Self, LoadError> {
        Ok(Self(Arc::new(Inner {
            bytecode: compile(&bundle)?,
            bundle,
            loading: None,
        })))
    }

    /// What the script is made of.
    pub fn bundle(&self) -> &Bundle {
        &self.0.bundle
    }

    /// The evaluated `export const options`; an empty object when there are none.
    pub fn options(&self) -> serde_json::Value {
        serde_json::from_str(&self.0.bundle.options).unwrap_or_default()
    }

    /// Whether the script exports a function of this name (`default`, `setup`, `teardown`, `handleSummary`, a scenario's `exec`).
    pub fn exports(&self, name: &str) -> bool {
        self.0.bundle.exports.iter().any(|export| export == name)
    }

    /// Whether a thread may know something of earlier iterations, beyond cookies: moved in between, it might ask another
    /// server for what only the first one knows. Guessed from the source.
    pub fn remembers(&self) -> bool {
        let mut modules = self.0.bundle.modules.values();
        modules.any(|source| crate::remembers::remembers(source))
    }

    /// Where the URLs that it makes vary. Read from the source.
    #[must_use]
    pub fn holes(&self) -> Holes {
        let mut holes = Holes::default();
        let modules = self.0.bundle.modules.values();
        modules.for_each(|source| holes.read(source));
        holes
    }

    pub(crate) fn bytecode(&self, module: &str) -> Option<&[u8]> {
        self.0.bytecode.get(module).map(Vec::as_slice)
    }

    pub(crate) fn loading(&self) -> bool {
        self.0.loading.is_some()
    }

    fn found<R>(&self, with: impl FnOnce(&mut Found) -> R) -> Option<R> {
        let loading = self.0.loading.as_ref()?;
        Some(with(
            &mut loading.found.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    pub(crate) fn shared_len(&self, name: &str) -> Option<usize> {
        let known = self.0.bundle.shared.get(name).map(Vec::len);
        known.or_else(|| {
            self.found(|found| found.shared.get(name).map(Vec::len))
                .flatten()
        })
    }

    pub(crate) fn shared_at(&self, name: &str, at: usize) -> Option<String> {
        let of = |shared: &BTreeMap<String, Vec<String>>| {
            shared
                .get(name)
                .and_then(|elements| elements.get(at))
                .cloned()
        };
        of(&self.0.bundle.shared).or_else(|| self.found(|found| of(&found.shared)).flatten())
    }

    pub(crate) fn add_shared(&self, name: String, elements: Vec<String>) {
        self.found(|found| found.shared.insert(name, elements));
    }

    /// The bytes of a file that a module opens, or why there are none.
    pub(crate) fn open(&self, module: &str, path: &str) -> Result<Vec<u8>, String> {
        let name = join(module, path.strip_prefix("file://").unwrap_or(path));
        if let Some(bytes) = self.0.bundle.files.get(&name) {
            return Ok(bytes.clone());
        }
        let Some(loading) = &self.0.loading else {
            return Err(format!(
                "the file '{path}' was not opened when the script was loaded: what it opens must not depend on __VU, time or chance"
            ));
        };
        let whole = loading.folder.join(&name);
        let bytes = std::fs::read(&whole)
            .map_err(|error| format!("cannot open {}: {error}", whole.display()))?;
        self.found(|found| found.files.insert(name, bytes.clone()));
        Ok(bytes)
    }

    /// Evaluates the script once, with the real time.
    fn evaluate(
        &self,
        env: &BTreeMap<String, String>,
        longest: Duration,
    ) -> Result<serde_json::Value, LoadError> {
        let began = Instant::now();
        let birth = Birth {
            vu: 0,
            env: env.clone(),
            ..Birth::default()
        };
        let mut machine = Machine::new(self, birth)?;
        let mut reply = Reply::Resume;
        loop {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let at_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            reply = match machine.resume(Answer { at_us, reply }).call {
                // One that asks for the time again and again never pauses.
                Call::Pause { .. } | Call::Now if began.elapsed() > longest => {
                    return Err(LoadError::Endless(longest));
                }
                Call::Pause { .. } => Reply::Resume,
                Call::Sleep { .. } => Reply::Woken,
                Call::Now => Reply::Now,
                Call::Ended(Ended::Failed(failure)) => return Err(LoadError::Throws(failure)),
                Call::Ended(Ended::Returned(json)) => {
                    return Ok(json
                        .and_then(|json| serde_json::from_str(&json).ok())
                        .unwrap_or_default());
                }
                Call::Ended(Ended::Terminated) | Call::Iterate | Call::Http(_) => Reply::Terminate,
            };
        }
    }
}

pub(crate) fn refused(refusals: Vec<Refusal>) -> Result<(), LoadError> {
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(LoadError::Refused(refusals))
    }
}

/// Compiles modules as they are imported, and keeps their bytecode.
struct Compiler {
    bundle: Bundle,
    compiled: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
}

impl Loader for Compiler {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js>> {
        if let Some(module) = api::declare(ctx, name) {
            return module;
        }
        let Some(source) = self.bundle.source(name) else {
            return Err(rquickjs::Error::new_loading_message(
                name,
                "there is no such module",
            ));
        };
        declare(ctx, name, source, &self.compiled)
    }
}

fn declare<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    source: &str,
    compiled: &RefCell<BTreeMap<String, Vec<u8>>>,
) -> rquickjs::Result<Module<'js>> {
    let module = Module::declare(ctx.clone(), name, source)?;
    let options = WriteOptions {
        strip_source: true,
        ..WriteOptions::default()
    };
    compiled
        .borrow_mut()
        .insert(name.into(), module.write(options)?);
    Ok(module)
}

fn compile(bundle: &Bundle) -> Result<BTreeMap<String, Vec<u8>>, LoadError> {
    let compiled: Rc<RefCell<BTreeMap<String, Vec<u8>>>> = Rc::default();
    let compiler = Compiler {
        bundle: bundle.clone(),
        compiled: compiled.clone(),
    };
    with_compiler(Names, compiler, |ctx| {
        declare(ctx, PRELUDE, PRELUDE_SOURCE, &compiled)?;
        let entry = bundle.source(&bundle.entry).unwrap_or_default();
        declare(ctx, &bundle.entry, entry, &compiled)?;
        // Needed by what responses do, not by an import.
        let html = jslib::html();
        if bundle.modules.contains_key(&html.module()) {
            declare(ctx, &html.module(), html.source, &compiled)?;
        }
        Ok(())
    })?;
    Ok(compiled.take())
}

/// Takes every import for an empty module.
struct Anything;

impl Resolver for Anything {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        _: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        Ok(format!("imported {name}"))
    }
}

impl Loader for Anything {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js>> {
        Module::declare(ctx.clone(), name, "")
    }
}

/// Compiles each module by itself, for its syntax only.
pub(crate) fn compile_alone<'a>(
    modules: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), LoadError> {
    for (name, source) in modules.filter(|(name, _)| !refuse::is_typescript(name)) {
        with_compiler(Anything, Anything, |ctx| {
            Module::declare(ctx.clone(), name.as_str(), source.as_str()).map(drop)
        })?;
    }
    Ok(())
}

fn with_compiler(
    names: impl Resolver + 'static,
    loader: impl Loader + 'static,
    work: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<()>,
) -> Result<(), LoadError> {
    let internal = |error: rquickjs::Error| LoadError::Syntax {
        at: "the compiler".into(),
        message: error.to_string(),
    };
    let runtime = Runtime::new().map_err(internal)?;
    runtime.set_loader(names, loader);
    let context = Context::full(&runtime).map_err(internal)?;
    context.with(|ctx| {
        work(&ctx).map_err(|error| {
            if !error.is_exception() {
                return internal(error);
            }
            let (message, stack) = core::describe(&ctx.catch());
            LoadError::Syntax {
                at: core::place(&stack),
                message,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_code_that_never_ends_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let entry = folder.path().join("endless.js");
        for endless in ["for (;;) {}", "while (Date.now() > 0) {}"] {
            let source = format!("try {{ {endless} }} finally {{ }}\nexport default () => {{}};");
            std::fs::write(&entry, source).unwrap();
            let limit = Duration::from_millis(300);
            let loaded = Script::load_within(&entry, &BTreeMap::new(), limit);
            let error = loaded.map(drop).unwrap_err().to_string();
            assert!(error.contains("computes for more than 0.3 s"), "{error}");
        }
        // One that ends in time is none of them.
        std::fs::write(
            &entry,
            "const end = Date.now() + 20; while (Date.now() < end) {}\nexport default () => {};",
        )
        .unwrap();
        let loaded = Script::load_within(&entry, &BTreeMap::new(), LOAD_LONGEST);
        assert!(loaded.is_ok(), "{:?}", loaded.map(drop));
    }
}
