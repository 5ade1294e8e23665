//! Functions that stand before the script of a recording, when it calls them.

use super::carry::{Carried, Carry, Place};

/// Those that the groups of a script of `count` requests call.
pub(super) fn helpers(carried: &Carried, count: usize, groups: &str) -> String {
    let all: Vec<&Carry> = (0..count).flat_map(|at| carried.from(at)).collect();
    let mut source = String::new();
    if all
        .iter()
        .any(|carry| matches!(carry.place, Place::Json(_)))
    {
        source.push_str(PICK);
    }
    if all
        .iter()
        .any(|carry| matches!(carry.place, Place::Field(_)))
    {
        source.push_str(FIELD);
    }
    if groups.contains("newKey()") {
        source.push_str(NEW_KEY);
    }
    source
}

const PICK: &str = "
// A value of an answer in JSON; undefined when it is not there.
function pick(response, path) {
  try {
    return response.json(path);
  } catch (error) {
    return undefined;
  }
}
";

const NEW_KEY: &str = "
// A key that no other request has.
function newKey() {
  const digit = () => Math.floor(Math.random() * 16).toString(16);
  return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, digit);
}
";

const FIELD: &str = r#"
// The value of a field of a form in HTML; undefined when it is not there.
function field(response, name) {
  const tag = String(response.body).match(new RegExp(`<input[^>]*\\sname="${name}"[^>]*>`));
  const value = tag && tag[0].match(/\svalue="([^"]*)"/);
  return value ? value[1] : undefined;
}
"#;
