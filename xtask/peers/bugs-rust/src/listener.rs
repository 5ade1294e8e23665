//! A server that says hello.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;

/// Where it listens, as its settings say.
fn address(settings: &Path) -> io::Result<SocketAddr> {
    let text = std::fs::read_to_string(settings)?;
    let line = text.lines().find_map(|line| line.strip_prefix("listen = "));
    let address = line.and_then(|address| address.trim().parse().ok());
    address.ok_or_else(|| io::Error::other("settings without an address to listen on"))
}

/// Reads the settings, listens, greets one caller.
pub fn serve(settings: &Path) -> io::Result<()> {
    let listener = TcpListener::bind(address(settings)?)?;
    let (mut caller, _) = listener.accept()?;
    caller.write_all(b"hello\n")
}

/// The same in the background.
pub fn start(settings: PathBuf) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || serve(&settings))
}

/// A port that is free now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;
    use std::time::Duration;

    fn settings(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).expect("writable");
        path
    }

    #[test]
    fn settings_need_an_address() {
        let path = settings("empty", "name = x\n");
        assert!(serve(&path).is_err());
        std::fs::remove_file(path).expect("was there");
    }

    #[test]
    fn callers_are_greeted() {
        let port = free_port().expect("a port");
        let path = settings("listen", &format!("listen = 127.0.0.1:{port}\n"));
        let server = start(path.clone());
        thread::sleep(Duration::from_millis(2));
        let mut caller =
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a server that listens");
        let mut text = String::new();
        caller.read_to_string(&mut text).expect("a greeting");
        assert_eq!(text, "hello\n");
        server.join().expect("it ends").expect("it served");
        std::fs::remove_file(path).expect("was there");
    }
}
