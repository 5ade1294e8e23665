//! `cohort under`, alone, for tests and measurement: `under --order FILE -- PROGRAM ARGS...`.

use std::ffi::OsString;
use std::path::Path;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let order = match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(flag), Some(order), Some(end)) if flag == "--order" && end == "--" => order,
        _ => {
            eprintln!("under: --order FILE -- PROGRAM ARGS... is expected");
            std::process::exit(125);
        }
    };
    let program: Vec<OsString> = arguments.collect();
    std::process::exit(cohort_conditions::main(Path::new(&order), &program));
}
