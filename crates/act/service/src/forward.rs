//! Passes connections on to a server that listens only on the loopback address of its own network.
//!
//! ```text
//! agent --> 10.a.b.2:8080 (a thread of ours within the namespace) --> 127.0.0.1:8080 (the server)
//! ```
//!
//! A socket belongs to the network namespace of the thread that made it, so one thread that has entered
//! the namespace is enough; dropping the forwarder closes it and every connection through it.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(10);

/// Passes connections on until it is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Listens on `outer` in the network namespace that process `pid` is in, and passes on to `inner`
    /// there.
    pub(crate) async fn start(pid: i32, outer: SocketAddr, inner: SocketAddr) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("forward".to_owned())
            .spawn(move || match enter_and_listen(pid, outer) {
                Ok((runtime, listener)) => {
                    let _ = tell.send(Ok(()));
                    runtime.block_on(async {
                        tokio::select! {
                            () = accept(listener, inner) => {}
                            _ = stopped => {}
                        }
                    });
                }
                Err(error) => drop(tell.send(Err(error))),
            })?;
        let listening = told.await.map_err(io::Error::other).flatten();
        listening.map(|()| Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends at once; and then its port is free for the server.
            let _ = thread.join();
        }
    }
}

fn enter_and_listen(
    pid: i32,
    outer: SocketAddr,
) -> io::Result<(tokio::runtime::Runtime, TcpListener)> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind(outer))?;
    Ok((runtime, listener))
}

async fn accept(listener: TcpListener, inner: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((outside, _)) => drop(tokio::spawn(pass_on(outside, inner))),
            // No more files, most likely; one that ends makes room.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn pass_on(mut outside: TcpStream, inner: SocketAddr) {
    // Refused inside is closed outside, and a broken pair ends both: what a caller would see anyway.
    if let Ok(mut inside) = TcpStream::connect(inner).await {
        let _ = outside.set_nodelay(true);
        let _ = inside.set_nodelay(true);
        let _ = copy_bidirectional(&mut outside, &mut inside).await;
    }
}
