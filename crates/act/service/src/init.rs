//! The hub's end of the socket to the init of an instance.

use std::io;
use std::process::Child;
use std::time::Duration;

use cohort_host::init::{Decoder, FromInit, ToInit, protocol};
use cohort_model::InstanceId;
use tokio::net::UnixStream;

use crate::Error;

/// Longest wait for an init to say that it is where it belongs.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait for one to end all it started.
const END_WITHIN: Duration = Duration::from_secs(12);
/// Pause between two looks at an init that has not ended yet.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// An init.
#[derive(Debug)]
pub(crate) struct Init {
    stream: UnixStream,
    decoder: Decoder,
    child: Child,
}

impl Init {
    /// `stream` and `child` are those of [`cohort_host::init::spawn`]. Waits until it is set up; gives
    /// what it could not have.
    pub(crate) async fn set_up(
        instance: InstanceId,
        (stream, child): (std::os::unix::net::UnixStream, Child),
        setup: protocol::Setup,
    ) -> Result<(Self, Vec<String>), Error> {
        let talk = || format!("talk to the init of {instance}");
        stream.set_nonblocking(true).map_err(Error::host(talk()))?;
        let mut init = Self {
            stream: UnixStream::from_std(stream).map_err(Error::host(talk()))?,
            decoder: Decoder::default(),
            child,
        };
        let fail = |reason: String| Error::Init { instance, reason };
        let asked = init.tell(&ToInit::Setup(setup)).await;
        let answer = match asked {
            Ok(()) => tokio::time::timeout(READY_WITHIN, init.hear()).await,
            Err(error) => Ok(Err(error)),
        };
        let failed = match answer {
            Ok(Ok(FromInit::Ready { missing })) => return Ok((init, missing)),
            Ok(Ok(FromInit::SetupFailed { message })) => fail(message),
            Ok(Ok(_)) => fail("its init answers out of turn".to_owned()),
            Ok(Err(error)) => error,
            Err(_) => fail(format!("its init says nothing for {READY_WITHIN:?}")),
        };
        init.end().await;
        Err(failed)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Orders something. One that is gone is heard of by [`Init::hear`].
    pub(crate) async fn tell(&mut self, order: &ToInit) -> Result<(), Error> {
        let frame = protocol::encode(order)?;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let ready = self.stream.writable().await;
            match ready.and_then(|()| self.stream.try_write(rest)) {
                Ok(bytes) => rest = &rest[bytes..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// The next report. May be dropped and called again.
    ///
    /// # Errors
    /// Once it is gone, or speaks nonsense.
    pub(crate) async fn hear(&mut self) -> Result<FromInit, Error> {
        loop {
            if let Some(report) = self.decoder.pop()? {
                return Ok(report);
            }
            let gone = |source| Error::Host {
                what: "hear an init: it is gone".to_owned(),
                source,
            };
            self.stream.readable().await.map_err(gone)?;
            let mut piece = [0; 8192];
            match self.stream.try_read(&mut piece) {
                Ok(0) => return Err(gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(bytes) => self.decoder.push(&piece[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(gone(error)),
            }
        }
    }

    /// Has it kill all it started and end; kills it when it does not.
    pub(crate) async fn end(self) {
        let Self { stream, child, .. } = self;
        drop(stream);
        wait_for(child, END_WITHIN).await;
    }
}

/// Waits for a child without a thread of its own; kills it when it takes too long.
async fn wait_for(mut child: Child, within: Duration) {
    let deadline = tokio::time::Instant::now() + within;
    while matches!(child.try_wait(), Ok(None)) {
        if tokio::time::Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
