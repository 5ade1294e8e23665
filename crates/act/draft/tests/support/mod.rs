//! A small stand-in for k6: runs a script once against an imagined service, and says what was sent.

use rquickjs::loader::{BuiltinLoader, BuiltinResolver};
use rquickjs::{CatchResultExt, Context, Function, Module, Object, Runtime};
use serde_json::Value;

/// `answers` is the source of a function `(method, url) => ({ status, body })`.
pub(crate) struct Service<'a> {
    pub(crate) environment: &'a [(&'a str, &'a str)],
    pub(crate) answers: &'a str,
}

const K6: &str = "
export function check(value, conditions) {
  for (const [name, condition] of Object.entries(conditions)) {
    log({ check: name, passed: Boolean(condition(value)) });
  }
}
export function group(name, body) { log({ group: name }); return body(); }
export function sleep(seconds) { log({ sleep: seconds }); }
";

const HTTP: &str = "
function request(method, url, body, params) {
  const answer = answers(method, url) || { status: 200, body: '' };
  log({ method, url, body, params });
  return {
    status: answer.status,
    body: answer.body,
    json(path) {
      const get = (value, key) => (value === undefined ? undefined : value[key]);
      return path.split('.').reduce(get, JSON.parse(answer.body));
    },
  };
}
export default {
  request,
  get: (url, params) => request('GET', url, undefined, params),
  head: (url, params) => request('HEAD', url, undefined, params),
  post: (url, body, params) => request('POST', url, body, params),
  put: (url, body, params) => request('PUT', url, body, params),
  patch: (url, body, params) => request('PATCH', url, body, params),
  del: (url, body, params) => request('DELETE', url, body, params),
  options: (url, body, params) => request('OPTIONS', url, body, params),
  batch: (all) => all.map(([method, url]) => request(method, url)),
  cookieJar: () => ({ set: (url, name, value) => log({ cookie: name, value }) }),
};
";

const GLOBALS: &str = "
globalThis.logged = [];
globalThis.log = (entry) => { logged.push(entry); };
";

impl Service<'_> {
    /// Runs what the script exports as `function` once; what it did, in order.
    pub(crate) fn run(&self, script: &str, function: &str) -> Vec<Value> {
        let runtime = Runtime::new().unwrap();
        runtime.set_loader(
            BuiltinResolver::default()
                .with_module("k6")
                .with_module("k6/http"),
            BuiltinLoader::default()
                .with_module("k6", K6)
                .with_module("k6/http", HTTP),
        );
        let context = Context::full(&runtime).unwrap();
        context.with(|context| {
            let run = || {
                context.eval::<(), _>(GLOBALS)?;
                let environment = Object::new(context.clone())?;
                for (name, value) in self.environment {
                    environment.set(*name, *value)?;
                }
                context.globals().set("__ENV", environment)?;
                context.eval::<(), _>(format!("globalThis.answers = {};", self.answers))?;
                let module = Module::declare(context.clone(), "script", script)?;
                let (module, promise) = module.eval()?;
                promise.finish::<()>()?;
                module.get::<_, Function>(function)?.call::<_, ()>(())?;
                context.eval::<String, _>("JSON.stringify(logged)")
            };
            let logged = run().catch(&context);
            let logged = logged.unwrap_or_else(|error| panic!("{error}\n{script}"));
            serde_json::from_str(&logged).unwrap()
        })
    }
}

/// Method and address of each request.
pub(crate) fn requests(logged: &[Value]) -> Vec<String> {
    let sent = logged.iter().filter(|entry| entry.get("method").is_some());
    let line = |entry: &Value| {
        let of = |key: &str| entry[key].as_str().unwrap().to_owned();
        format!("{} {}", of("method"), of("url"))
    };
    sent.map(line).collect()
}

/// The names of checks that did not pass.
pub(crate) fn failed_checks(logged: &[Value]) -> Vec<&Value> {
    logged
        .iter()
        .filter(|entry| entry["passed"] == false)
        .collect()
}
