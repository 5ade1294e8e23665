//! What is not supported is refused when a script is loaded, by file and line.

mod support;

use cohort_scenario::LoadError;
use support::{Files, load};

fn refused(source: &str) -> String {
    match load(source) {
        Ok(_) => panic!("not refused: {source}"),
        Err(error) => error.to_string(),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn by_line_and_name() {
    let rest = "export default function () {}\n";
    for (source, expected) in [
        (
            "\nimport { browser } from 'k6/browser';",
            "script.js:2:25: the module 'k6/browser' is not supported; there are: k6, k6/http",
        ),
        (
            "import grpc from 'k6/net/grpc';",
            "script.js:1:18: the module 'k6/net/grpc'",
        ),
        (
            "import ws from \"k6/ws\";",
            "the module 'k6/ws' is not supported",
        ),
        (
            "import x from 'k6/experimental/redis';",
            "the module 'k6/experimental/redis'",
        ),
        ("import x from 'k6/x/sql';", "the module 'k6/x/sql'"),
        (
            "import {parse} from 'k6/html';",
            "script.js:1:9: 'parse' of the module 'k6/html' is not supported; there are: parseHTML",
        ),
        (
            "const params = {\n  auth: 'digest' };",
            "script.js:2:3: auth: \"digest\" is not supported: basic is",
        ),
        (
            "const f = () => crypto.subtle.digest('SHA-256', data);",
            "script.js:1:17: crypto.subtle is not supported",
        ),
        (
            "import {u} from 'https://jslib.k6.io/k6-utils/1.4.0/index.js';",
            "script.js:1:9: 'u' of the module 'https://jslib.k6.io/k6-utils/1.4.0/index.js' is not supported; there are: check, find",
        ),
        (
            "import {S3Client} from 'https://jslib.k6.io/aws/0.11.0/s3.js';",
            "script.js:1:24: 'https://jslib.k6.io/aws/0.11.0/s3.js' is on the network, from where nothing is imported: download it \
             beside the script and import the local file; of the usual libraries there are: formdata, httpx, k6-reporter, k6-summary, k6-utils",
        ),
        (
            "import _ from 'lodash';",
            "script.js:1:15: 'lodash' is neither a module of k6 nor a local file",
        ),
        (
            "import { check, chekc } from 'k6';",
            "script.js:1:17: 'chekc' of the module 'k6' is not supported; there are: check, group",
        ),
        (
            "import { SharedArray as S, Other as O } from 'k6/data';",
            "script.js:1:28: 'Other' of the module 'k6/data'",
        ),
        (
            "import http from 'k6/http';\nconst f = () => http.foo('x'); // http.bar",
            "script.js:2:22: 'foo' of the module 'k6/http'",
        ),
        (
            "import * as http from 'k6/http';\nconst f = () => `${http['foo']()}`;",
            "script.js:2:25: 'foo' of the module 'k6/http'",
        ),
        (
            "import crypto from 'k6/crypto'; const f = () => crypto.md4('x');",
            "'md4' of the module 'k6/crypto'",
        ),
        (
            "export { nothing } from 'k6/http';",
            "script.js:1:10: 'nothing' of the module 'k6/http'",
        ),
        (
            "const http = require('k6/' + 'http');",
            "script.js:1:14: require() wants the name of a module as text",
        ),
        (
            "const http = require('k6/http'); const f = () => http.foo('x');",
            "script.js:1:55: 'foo' of the module 'k6/http'",
        ),
        (
            "import exec from 'k6/execution'; const f = () => exec.test.fail('so');",
            "script.js:1:60: exec.test.fail() is not supported",
        ),
        (
            "const x = require('k6/browser');",
            "script.js:1:19: the module 'k6/browser' is not supported",
        ),
        (
            "const f = () => import('./x.js');",
            "script.js:1:17: import() is not supported",
        ),
        (
            "export const options = {\n  vus: 1,\n  duratoin: '1s',\n};",
            "script.js:3:3: there is no option 'duratoin': did you mean 'duration'?",
        ),
        (
            "export const options = { hosts: {} };",
            "script.js:1:26: the option 'hosts' is not supported",
        ),
        (
            "export const options = { scenarios: { a: {\n executor: 'externally-controlled' } } };",
            "script.js:2:2: the scenario 'a' has no executor that is supported ('externally-controlled')",
        ),
        (
            "export const options = { scenarios: { a: { executor: 'constant-vus', vus: 1,\n duration: '1s', rate: 3 } } };",
            "script.js:2:18: the executor 'constant-vus' of the scenario 'a' has no 'rate'",
        ),
        (
            "export let options = { scenarios: { 'a': { executor: 'constant-vus', vus: 1, duration: '1s',\n exec: 'absent' } } };",
            "script.js:2:2: the scenario 'a' runs 'absent', which the script does not export",
        ),
    ] {
        let message = refused(&format!("{source}\n{rest}"));
        assert!(message.contains(expected), "{source}\n{message}");
    }
}

#[test]
fn all_at_once_and_in_every_module() {
    let files = Files::new(&[
        (
            "main.js",
            "import './lib/a.js'; import grpc from 'k6/net/grpc'; export default function () {}",
        ),
        ("lib/a.js", "import ws from 'k6/ws';"),
    ]);
    let message = files.load("main.js").unwrap_err().to_string();
    let lines: Vec<_> = message.lines().collect();
    assert!(
        lines.len() == 2
            && lines[0].starts_with("main.js:1:39: ")
            && lines[1].starts_with("lib/a.js:1:16: "),
        "{message}"
    );
}

#[test]
fn broken_scripts_say_where() {
    let message =
        refused("import http from 'k6/http';\nexport default function () {\n  let x = ;\n}\n");
    assert!(
        message.starts_with("script.js:3:11: SyntaxError: "),
        "{message}"
    );
    let message = refused("import ws from 'k6/ws';\nexport default function ( {\n");
    assert!(
        message.starts_with("script.js:") && message.contains("SyntaxError"),
        "{message}"
    );
    let message = refused("import {nothing} from './absent.js'; export default function () {}");
    assert!(
        message.contains("absent.js, which script.js:1:23 imports: No such file"),
        "{message}"
    );
    let message = refused("export const x = 1;");
    assert!(message.contains("exports no default function"), "{message}");
    let files = Files::new(&[
        ("a.ts", "let x: number = 1; export default () => {}"),
        ("b.js", "import {no} from './c.js'; export default () => no"),
        ("c.js", ""),
    ]);
    assert!(
        files
            .load("a.ts")
            .unwrap_err()
            .to_string()
            .contains("TypeScript")
    );
    let message = files.load("b.js").unwrap_err().to_string();
    assert!(
        message.contains("'no'") && message.contains("c.js"),
        "{message}"
    );
    assert!(matches!(files.load("none.js"), Err(LoadError::Read { .. })));
}

#[test]
fn what_only_looks_unsupported_is_let_through() {
    for source in [
        "import http from 'k6/http'; const f = (http) => http.foo; export default function () {}",
        "import http from 'k6/http'; function f(a, http) { return http.foo } export default function () {}",
        "import exec from 'k6/execution'; const m = /x/.exec('x'), o = {exec: 1}; o.exec.toString(); const s = 'exec.foo'; export default function () {}",
        "// import x from 'k6/ws'\n/* require('x') */ const s = `import y from 'k6/ws'`; export default function () {}",
        "const o = {require(x) { return x }, import: 1}; o.require(1); export default function () {}",
        "#!/usr/bin/env k6\nimport {default as http} from 'k6/http'; import k6, {check as c} from 'k6'; k6.check; http?.get; export default function () {}",
        "import http from 'k6/http'; export function a() {} export const options = {scenarios: {s: {executor: 'ramping-vus', stages: [{target: 1, duration: '1s'}], exec: 'a', env: {X: 'y'}, gracefulStop: '1s'}}}",
    ] {
        if let Err(error) = load(source) {
            panic!("{source}\n{error}");
        }
    }
}
