//! Prints the script of a recording or description: `cargo run --example draft -- FILE`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("expected a file")?;
    let text = std::fs::read_to_string(&path)?;
    let draft = if path.ends_with(".har") {
        cohort_draft::from_har(&text)?
    } else {
        cohort_draft::from_openapi(&text)?
    };
    print!("{}", draft.script);
    Ok(())
}
