//! Ports for servers that are started beside each other.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// The first port of those set aside for this.
const FIRST: u16 = 23_400;
/// How many there are.
const COUNT: u16 = 40;

/// One of them.
pub fn any() -> u16 {
    let number = RandomState::new().hash_one(std::process::id());
    FIRST + u16::try_from(number % u64::from(COUNT)).unwrap_or(0)
}

/// A server on one of them.
pub fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, any()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;

    #[test]
    fn ports_are_of_the_range() {
        assert!((0..100).all(|_| (FIRST..FIRST + COUNT).contains(&any())));
    }

    #[test]
    fn a_server_echoes() {
        let server = listen().expect("a port to listen on");
        let address = server.local_addr().expect("it has one");
        let echo = thread::spawn(move || {
            let (mut caller, _) = server.accept().expect("a caller");
            let mut text = Vec::new();
            caller.read_to_end(&mut text).expect("all of it");
            caller.write_all(&text).expect("the caller listens");
        });
        let mut caller = TcpStream::connect(address).expect("a server");
        for line in 0..2000 {
            writeln!(caller, "line {line}").expect("the server reads");
        }
        caller.shutdown(std::net::Shutdown::Write).expect("open");
        let mut text = String::new();
        caller.read_to_string(&mut text).expect("an echo");
        assert_eq!(text.lines().count(), 2000);
        echo.join().expect("it ends");
    }
}
