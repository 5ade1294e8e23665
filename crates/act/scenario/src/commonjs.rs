//! Modules as they were before `import`: `require()`, `module.exports`. Each runs as a function, which is called by a *stand-in*,
//! an ordinary module that imports all that the function requires and exports what others want of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rquickjs::context::EvalOptions;
use rquickjs::{Ctx, Value};

/// Name under which a stand-in exports `module.exports` as it is.
pub(crate) const WHOLE: &str = "cohort_exports";

/// What a module requires: by the name it is written with, the module's own name.
pub(crate) type Required = BTreeMap<String, String>;

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Imports of all that is required, and the function that gives them; on one line.
fn requiring(required: &Required) -> String {
    let mut source = String::new();
    let mut table = String::new();
    for (number, name) in required.keys().enumerate() {
        let name = quoted(name);
        let _ = write!(source, "import * as cohort_m{number} from {name};");
        let _ = write!(table, "{name}: cohort_m{number},");
    }
    let _ = write!(
        source,
        "function require(name) {{ const found = {{ {table} }}[name]; if (!found) throw new Error(`require('${{name}}'): it is not \
         named in the script`); return '{WHOLE}' in found ? found.{WHOLE} : found; }}"
    );
    source
}

/// What is put behind a module that imports and requires.
pub(crate) fn behind(required: &Required) -> String {
    format!("\n;{}", requiring(required))
}

/// The stand-in of a module. `wanted` are the names that others import from it.
pub(crate) fn stand_in(name: &str, required: &Required, wanted: &BTreeSet<String>) -> String {
    let mut source = requiring(required);
    let _ = write!(
        source,
        "const module = {{ exports: {{}} }}; \
         globalThis['cohort:prelude'].commonjs({}).call(module.exports, module, module.exports, require); \
         const {WHOLE} = module.exports; export {{ {WHOLE} }}; \
         export default {WHOLE}?.__esModule && 'default' in {WHOLE} ? {WHOLE}.default : {WHOLE};",
        quoted(name)
    );
    let own = wanted.iter().filter(|name| *name != "default");
    for (number, name) in own.enumerate() {
        let _ = write!(
            source,
            "const cohort_e{number} = {WHOLE}?.{name}; export {{ cohort_e{number} as {name} }};"
        );
    }
    source
}

/// The function that a module is.
pub(crate) fn function<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    source: &str,
) -> rquickjs::Result<Value<'js>> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(name.into());
    ctx.eval_with_options(
        format!("(function (module, exports, require) {{{source}\n}})"),
        options,
    )
}
