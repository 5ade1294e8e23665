//! The load that Cohort's agent is measured beside, written for Goose as its book shows it: every
//! user asks for `/` again and again, without waiting. `peer-goose --host URL --users N --increase-rate N --run-time S`.

use goose::prelude::*;

#[tokio::main]
async fn main() -> Result<(), GooseError> {
    let scenario = scenario!("Trivial").register_transaction(transaction!(root));
    GooseAttack::initialize()?
        .register_scenario(scenario)
        .execute()
        .await?;
    Ok(())
}

/// One request, with its body read, as the other contenders do.
async fn root(user: &mut GooseUser) -> TransactionResult {
    let goose = user.get("").await?;
    if let Ok(response) = goose.response {
        // The body's own errors are requests that failed; there are none on a trivial server.
        let _ = response.bytes().await;
    }
    Ok(())
}
