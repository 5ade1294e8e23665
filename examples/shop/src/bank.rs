//! The bank, which takes its time: a service of another company that the shop calls when somebody
//! pays. So that the shop needs nothing else to run, it is played by a thread of the shop's own
//! behind a real socket; it answers [`ANSWERS_AFTER`] a call, many calls at a time.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// As long as a payment provider takes.
const ANSWERS_AFTER: Duration = Duration::from_millis(60);

/// Where the bank is reached.
pub(crate) struct Bank {
    address: SocketAddr,
}

impl Bank {
    /// Opens it, on a socket without a file, named after this process.
    pub(crate) fn open() -> std::io::Result<Bank> {
        let name = format!("shop-bank-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = StdListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        tokio::spawn(answer_all(UnixListener::from_std(listener)?));
        Ok(Bank { address })
    }

    /// Pays; gives the bank's number for it.
    pub(crate) async fn charge(&self, cents: u64) -> std::io::Result<u64> {
        let stream = StdStream::connect_addr(&self.address)?;
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream)?;
        stream.write_u64(cents).await?;
        stream.read_u64().await
    }
}

async fn answer_all(listener: UnixListener) {
    let mut payments = 0u64;
    // Out of descriptors it cannot accept for a while; those who wait go on waiting.
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(ANSWERS_AFTER).await;
            continue;
        };
        payments += 1;
        let number = payments;
        tokio::spawn(async move {
            // Whoever hung up does not want the answer.
            if stream.read_u64().await.is_ok() {
                tokio::time::sleep(ANSWERS_AFTER).await;
                let _ = stream.write_u64(number).await;
            }
        });
    }
}
