//! k6's API as its documentation has it.

mod support;

use support::{logs, ok, run};

#[test]
fn first() {
    let world = run(
        "import http from 'k6/http'; import {check, sleep, group} from 'k6';
         export default function () {
           group('g', () => { const r = http.get('http://h/x'); check(r, {'is ok': (r) => r.status === 200, 'no': r => r.body === 'n'}); });
           sleep(1); console.log(JSON.stringify({a: 1}), new Date().toISOString(), Math.random() < 1);
         }",
        2,
        |_| ok("hi"),
    );
    println!("{:?}", world.notes);
    assert_eq!(world.failures(), [""; 0]);
    assert_eq!(world.checks(), [("is ok".into(), true), ("no".into(), false), ("is ok".into(), true), ("no".into(), false)]);
    let _ = logs;
}
