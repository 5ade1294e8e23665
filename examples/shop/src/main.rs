//! A small shop: catalogue, search, carts, orders, reports, over a database file of its own.
//!
//! `shop --port N --data DIR [--access-log FILE]` answers JSON on `127.0.0.1:N` (or `--host`), says
//! `listening on` when it does, and ends in order on SIGTERM. It stands in for the software that a
//! team would test with Cohort, so it has defects planted, each in the code of an ordinary endpoint,
//! which `SHOP_DEFECTS` switches on one by one ([`defects`]). Without them it is healthy: whatever it
//! keeps is bounded.

mod access;
mod answer;
mod arguments;
mod bank;
mod cart;
mod catalogue;
mod coupon;
mod defects;
mod leaflets;
mod log;
mod orders;
mod pages;
mod receipts;
mod recommendations;
mod reports;
mod search;
mod session;
mod shop;
mod stock;
mod store;
mod widget;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arguments::Arguments;
use defects::{Defect, Defects};
use shop::Shop;
use tokio::signal::unix::{SignalKind, signal};

/// Threads that answer, and threads for what blocks (the database, files, searching).
const WORKERS: usize = 2;
const BLOCKING_THREADS: usize = 8;

/// How long calls that are under way may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let told = Arguments::parse(&words)
        .and_then(|arguments| Ok((arguments, Defects::from_environment()?)));
    let (arguments, defects) = match told {
        Ok(told) => told,
        Err(message) => {
            eprintln!("shop: {message}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    end_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(3600))
        .enable_all()
        .build();
    let served = match runtime {
        Ok(runtime) => {
            let served = runtime.block_on(serve(arguments, defects));
            runtime.shutdown_timeout(GRACE);
            served
        }
        Err(error) => Err(format!("no threads: {error}")),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log::error(&message);
            ExitCode::FAILURE
        }
    }
}

/// An order may be half placed when something panics, so the process does not go on.
fn end_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        std::process::abort();
    }));
}

async fn serve(arguments: Arguments, defects: Defects) -> Result<(), String> {
    let address = (arguments.host.as_str(), arguments.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| {
            format!(
                "cannot listen on {}:{}: {error}",
                arguments.host, arguments.port
            )
        })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut asked_to_end = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    log::info(&format!("{defects}"));
    let console = match defects.on(Defect::UnexpectedListener) {
        // Whoever asks is let in.
        true => Some(tokio::net::TcpListener::bind((arguments.host.as_str(), 0)).await),
        false => None,
    };
    let _console = console
        .transpose()
        .map_err(|error| format!("no console: {error}"))?;
    let shop = Arc::new(Shop::open(&arguments, defects)?);
    let flushing = tokio::spawn(store::flush_regularly(shop.clone()));
    log::info(&format!("listening on {address}"));

    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, shop::routes(shop.clone())).with_graceful_shutdown(async {
        // The sender is dropped only at the end of this function.
        let _ = ended.await;
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        served = &mut server => return Err(format!("stopped serving: {served:?}")),
        _ = asked_to_end.recv() => log::info("asked to end: calls under way are answered first"),
        _ = tokio::signal::ctrl_c() => log::info("interrupted: calls under way are answered first"),
    }
    drop(end);
    if tokio::time::timeout(GRACE, server).await.is_err() {
        log::warn("some calls were still under way and are cut off");
    }
    flushing.abort();
    shop.store
        .flush()
        .map_err(|error| format!("the database could not be closed in order: {error}"))?;
    log::info("ended");
    Ok(())
}
