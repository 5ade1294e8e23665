//! Runs a program with the environment of instance 0, and prints what it tells, each second.
//!
//! `cargo run -p cohort-otlp --example listen -- PROGRAM ARGUMENTS...`

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use cohort_model::{At, InstanceId};
use cohort_otlp::Receiver;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("expected a program to run")?;
    let receiver = Receiver::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
    receiver.watch(InstanceId(0), None);
    let environment = receiver.environment(InstanceId(0), "listen", None);
    let mut child = Command::new(program)
        .args(arguments)
        // What was set from outside wins, as a user's settings do in a campaign.
        .envs(
            environment
                .into_iter()
                .filter(|(name, _)| std::env::var_os(name).is_none()),
        )
        .spawn()?;
    let start = Instant::now();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let ended = child.try_wait()?;
        for window in receiver.take(At(start.elapsed().as_micros() as u64)) {
            println!("{}", serde_json::to_string_pretty(&window)?);
        }
        for complaint in receiver.take_complaints() {
            println!("{}", complaint.sentence);
        }
        if let Some(status) = ended {
            println!("{status}; {}", serde_json::to_string(&receiver.account())?);
            return Ok(());
        }
    }
}
