//! `cargo run -p cohort-coverage --example executed -- PROJECT FOLDER PROGRAM [ARGUMENTS...]`: runs a program that was
//! built by cargo with what `rust_build` sets, or any Python, and says which lines of PROJECT it executed. FOLDER
//! is made and holds the recording.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use cohort_coverage::{Built, Recording};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let mut word = || words.next().ok_or("PROJECT FOLDER PROGRAM [ARGUMENTS...]");
    let (project, folder, program) = (word()?, word()?, PathBuf::from(word()?));
    let recording = Recording::begin(Path::new(&folder), Path::new(&project), Built::Here)?;
    let status = Command::new(&program)
        .args(words)
        .envs(recording.environment(|name| std::env::var_os(name))?)
        .status()?;
    let begun = Instant::now();
    let lines = recording.read(&[program])?;
    println!("{status}; read in {} ms", begun.elapsed().as_millis());
    for (file, executed) in &lines.files {
        let functions = lines.functions.get(file).map_or(0, Vec::len);
        println!("{file}: {} lines, {functions} functions", executed.len());
    }
    Ok(())
}
