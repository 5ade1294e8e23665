//! The init of an instance, alone: what `cohort instance-init` runs, for tests and measurement.

fn main() {
    std::process::exit(cohort_host::init::main());
}
