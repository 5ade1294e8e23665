//! Against real servers, well-behaved and not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cohort_scenario::{Expected, Response};
use tokio::task::LocalSet;

use super::*;

/// Serves each connection with `answer`, which is given its number and the stream.
fn server(
    answer: impl Fn(usize, TcpStream) + Send + Sync + 'static,
) -> (Address, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let number = count.fetch_add(1, Ordering::SeqCst);
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(number, stream));
        }
    });
    (address(port, false), connections)
}

fn address(port: u16, tls: bool) -> Address {
    Address {
        tls,
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// Reads one request; `None` when the client has closed.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(bytes).unwrap())
}

fn request(method: &str) -> Request {
    Request {
        method: method.to_owned(),
        url: "http://sut.test/path".to_owned(),
        headers: vec![("X-Own".to_owned(), "1".to_owned())],
        body: Vec::new(),
        timeout_us: 5_000_000,
        response_type: ResponseType::Text,
        expected: Expected::default(),
        name: "http://sut.test/path".to_owned(),
        named: false,
        group: String::new(),
        tags: Vec::new(),
    }
}

fn client() -> Client {
    Client::new(HttpSettings {
        body_bytes_max: 1 << 20,
        ..HttpSettings::default()
    })
}

async fn send(
    client: &Client,
    mine: &Connections,
    address: &Address,
    request: &Request,
) -> Exchanged {
    let path = PathAndQuery::from_static("/path?q=1");
    let going = Going {
        request,
        address,
        path: &path,
        script_origin: Some("http://sut.test"),
    };
    client.exchange(mine, going).await
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// One request to a server whose connections are served with `answer`.
fn once(timeout_us: u64, answer: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Exchanged {
    let (address, _) = server(answer);
    let request = Request {
        timeout_us,
        ..request("GET")
    };
    run(async { send(&client(), &Connections::default(), &address, &request).await })
}

fn ok(exchanged: Exchanged) -> Response {
    exchanged.outcome.unwrap()
}

/// Code and kind of a failure.
fn failure(exchanged: &Exchanged) -> (u16, TransportError) {
    let code = exchanged.outcome.as_ref().unwrap_err().code;
    (code, exchanged.failed.unwrap())
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_connection_is_kept_and_what_is_sent_is_what_the_script_says() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let (address, connections) = server(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            log.lock().unwrap().push(request);
            stream.write_all(FINE).unwrap();
        }
    });
    run(async {
        let (client, mine) = (client(), Connections::default());
        for _ in 0..5 {
            let response = ok(send(&client, &mine, &address, &request("GET")).await);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, &b"ok"[..])
            );
            assert_eq!(response.proto, "HTTP/1.1");
            assert_eq!(response.remote_port, address.port);
            assert!(response.timings.duration_us() > 0);
        }
        ok(send(&client, &mine, &address, &request("POST")).await);
    });
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let seen = seen.lock().unwrap();
    let lower = seen[0].to_lowercase();
    assert!(
        seen[0].starts_with("GET /path?q=1 HTTP/1.1\r\n"),
        "{}",
        seen[0]
    );
    assert!(
        lower.contains(&format!("host: 127.0.0.1:{}\r\n", address.port)),
        "{lower}"
    );
    assert!(
        lower.contains("x-own: 1\r\n") && lower.contains("user-agent: cohort/"),
        "{lower}"
    );
    assert!(!lower.contains("content-length"), "{lower}");
    assert!(
        seen[5].to_lowercase().contains("content-length: 0"),
        "{}",
        seen[5]
    );
}

#[test]
fn a_connection_that_was_closed_while_idle_is_replaced() {
    let (address, connections) = server(|_, mut stream| {
        if read_request(&mut stream).is_some() {
            stream.write_all(FINE).unwrap();
        }
    });
    run(async {
        let (client, mine) = (client(), Connections::default());
        for _ in 0..20 {
            let exchanged = send(&client, &mine, &address, &request("POST")).await;
            ok(exchanged);
            // The server has written everything before it closes: this is when the end is seen.
            while mine.take_if_open(&address).await {
                tokio::task::yield_now().await;
            }
        }
    });
    assert_eq!(connections.load(Ordering::SeqCst), 20);
}

/// Answers the first request of each connection, and hangs up on the second.
fn hangs_up_on_the_second() -> (Address, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let (address, connections) = server(move |_, mut stream| {
        for place in 0..2 {
            if read_request(&mut stream).is_none() {
                return;
            }
            count.fetch_add(1, Ordering::SeqCst);
            if place == 0 {
                stream.write_all(FINE).unwrap();
            }
        }
    });
    (address, connections, requests)
}

#[test]
fn a_request_that_may_change_something_is_never_sent_again() {
    let (address, connections, requests) = hangs_up_on_the_second();
    run(async {
        let (client, mine) = (client(), Connections::default());
        ok(send(&client, &mine, &address, &request("POST")).await);
        let broken = send(&client, &mine, &address, &request("POST")).await;
        assert_eq!(failure(&broken).1, TransportError::Reset);
        assert!(broken.sent > 0 && broken.received == 0);
        ok(send(&client, &mine, &address, &request("POST")).await);
    });
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_request_that_changes_nothing_is_sent_once_more_when_a_kept_connection_ends() {
    let (address, connections, requests) = hangs_up_on_the_second();
    run(async {
        let (client, mine) = (client(), Connections::default());
        ok(send(&client, &mine, &address, &request("GET")).await);
        ok(send(&client, &mine, &address, &request("GET")).await);
    });
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn it_is_not_sent_a_third_time_and_its_first_end_is_told() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let (address, connections) = server(move |_, mut stream| {
        while read_request(&mut stream).is_some() {
            if count.fetch_add(1, Ordering::SeqCst) > 0 {
                return;
            }
            stream.write_all(FINE).unwrap();
        }
    });
    run(async {
        let (client, mine) = (client(), Connections::default());
        ok(send(&client, &mine, &address, &request("GET")).await);
        let broken = send(&client, &mine, &address, &request("GET")).await;
        assert_eq!(failure(&broken).1, TransportError::Reset);
    });
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[test]
fn what_is_no_http_is_an_error_of_the_protocol() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        b"\x00\x01\x02\x03\x04\x05\x06\x07\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let exchanged = once(5_000_000, move |_, mut stream| {
            read_request(&mut stream);
            stream.write_all(garbage).unwrap();
            let _ = stream.read(&mut [0]);
        });
        let (code, kind) = failure(&exchanged);
        let message = &exchanged.outcome.as_ref().unwrap_err().message;
        assert_eq!((code, kind), (1_000, TransportError::Protocol), "{message}");
    }
}

#[test]
fn an_answer_that_does_not_end_is_given_up() {
    let beginnings: [&[u8]; 4] = [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    ];
    for beginning in beginnings {
        let exchanged = once(100_000, move |_, mut stream| {
            read_request(&mut stream);
            stream.write_all(beginning).unwrap();
            let _ = stream.read(&mut [0]);
        });
        assert_eq!(failure(&exchanged), (1_050, TransportError::Timeout));
    }
    // A flood is given up when it is larger than what is allowed, long before the timeout.
    let exchanged = once(60_000_000, |_, mut stream| {
        read_request(&mut stream);
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        while stream
            .write_all(&[&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat())
            .is_ok()
        {}
    });
    assert_eq!(failure(&exchanged).1, TransportError::Body);
    let exchanged = once(60_000_000, |_, mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        while stream
            .write_all(b"X-More: and more and more and more and more\r\n")
            .is_ok()
        {}
    });
    assert_eq!(failure(&exchanged).1, TransportError::Protocol);
}

#[test]
fn an_end_in_the_middle_of_an_answer_is_a_broken_connection() {
    let beginnings: [&[u8]; 4] = [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    ];
    for beginning in beginnings {
        let exchanged = once(5_000_000, move |_, mut stream| {
            read_request(&mut stream);
            stream.write_all(beginning).unwrap();
        });
        let message = &exchanged.outcome.as_ref().unwrap_err().message;
        assert_eq!(failure(&exchanged).1, TransportError::Reset, "{message}");
    }
    // Where the end of the connection is the end of the body it is none.
    let exchanged = once(5_000_000, |_, mut stream| {
        read_request(&mut stream);
        stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nall of it")
            .unwrap();
    });
    let response = ok(exchanged);
    assert_eq!(
        (response.proto.as_str(), response.body.as_slice()),
        ("HTTP/1.0", &b"all of it"[..])
    );
}

#[test]
fn nobody_there_and_no_such_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    run(async {
        let (client, mine) = (client(), Connections::default());
        let refused = send(&client, &mine, &address(port, false), &request("GET")).await;
        assert_eq!(failure(&refused), (1_212, TransportError::Connect));
        let nowhere = Address {
            host: "nowhere.invalid".to_owned(),
            ..address(80, false)
        };
        let unknown = send(&client, &mine, &nowhere, &request("GET")).await;
        assert_eq!(failure(&unknown), (1_101, TransportError::Dns));
    });
}

#[test]
fn a_redirect_to_the_instance_is_one_to_the_script_s_host() {
    let (to, _) = server(|_, mut stream| {
        let port = stream.local_addr().unwrap().port();
        while read_request(&mut stream).is_some() {
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/next?a=1\r\nContent-Length: 0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let response =
        run(async { ok(send(&client(), &Connections::default(), &to, &request("GET")).await) });
    let location = ("location".to_owned(), "http://sut.test/next?a=1".to_owned());
    assert!(
        response.headers.contains(&location),
        "{:?}",
        response.headers
    );
}

#[test]
fn what_makes_no_sense_is_not_sent() {
    let (to, connections) = server(|_, _| {});
    run(async {
        let (client, mine) = (client(), Connections::default());
        let newline = Request {
            headers: vec![("X-A".to_owned(), "1\r\nX-B: 2".to_owned())],
            ..request("GET")
        };
        for bad in [newline, request("G E T")] {
            let refused = send(&client, &mine, &to, &bad).await;
            assert_eq!(failure(&refused), (1_000, TransportError::Refused));
        }
    });
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

mod over_tls {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// Says back what it was sent, over HTTP/2 where that was agreed on.
    async fn echo(
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, Infallible> {
        let version = format!("{:?} ", request.version());
        let body = request
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes());
        let all = [version.as_bytes(), &body.unwrap_or_default()].concat();
        Ok(http::Response::new(Full::new(Bytes::from(all))))
    }

    async fn server() -> Address {
        let certified = rcgen::generate_simple_self_signed(vec!["sut.test".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut configuration = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], PrivateKeyDer::from(key))
            .unwrap();
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(configuration));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::task::spawn_local(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let second = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                    let io = TokioIo::new(tls);
                    if second {
                        let builder =
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(io, service_fn(echo)).await;
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(io, service_fn(echo)).await;
                    }
                });
            }
        });
        address(port, true)
    }

    fn posting(body: &str) -> Request {
        Request {
            body: body.as_bytes().to_vec(),
            ..request("POST")
        }
    }

    #[test]
    fn a_certificate_is_checked_unless_the_user_says_otherwise() {
        run(async {
            let to = server().await;
            let mine = Connections::default();
            let unknown = send(&client(), &mine, &to, &posting("a")).await;
            assert_eq!(failure(&unknown), (1_310, TransportError::Tls));
            let of_instances = Client::new(HttpSettings {
                insecure_instances: true,
                ..HttpSettings::default()
            });
            ok(send(&of_instances, &mine, &to, &posting("a")).await);
            let elsewhere = Going {
                request: &posting("a"),
                address: &to,
                path: &PathAndQuery::from_static("/"),
                script_origin: None,
            };
            let unknown = of_instances.exchange(&mine, elsewhere).await;
            assert_eq!(failure(&unknown), (1_310, TransportError::Tls));
            let trusting = Client::new(HttpSettings {
                insecure: true,
                http2: false,
                ..HttpSettings::default()
            });
            let mine = Connections::default();
            for body in ["one", "two"] {
                let response = ok(send(&trusting, &mine, &to, &posting(body)).await);
                assert_eq!(response.proto, "HTTP/1.1");
                assert_eq!(response.body, format!("HTTP/1.1 {body}").as_bytes());
            }
        });
    }

    #[test]
    fn http2_is_spoken_where_both_can_and_its_connection_is_shared() {
        run(async {
            let to = server().await;
            let mine = Connections::default();
            let trusting = Client::new(HttpSettings {
                insecure: true,
                ..HttpSettings::default()
            });
            let first = ok(send(&trusting, &mine, &to, &posting("first")).await);
            assert_eq!(first.proto, "HTTP/2.0");
            assert!(first.timings.tls_us > 0);
            let (one, two) = (posting("one"), posting("two"));
            let (one, two) = tokio::join!(
                send(&trusting, &mine, &to, &one),
                send(&trusting, &mine, &to, &two)
            );
            let (one, two) = (ok(one), ok(two));
            assert_eq!(one.body, b"HTTP/2.0 one");
            assert_eq!(two.body, b"HTTP/2.0 two");
            assert_eq!((one.timings.tls_us, two.timings.tls_us), (0, 0));
        });
    }

    #[test]
    fn a_server_that_speaks_no_tls_is_an_error_of_tls() {
        let (to, _) = super::server(|_, mut stream| {
            let _ = stream.read(&mut [0; 16]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        let to = Address { tls: true, ..to };
        let exchanged =
            run(async { send(&client(), &Connections::default(), &to, &posting("a")).await });
        assert_eq!(failure(&exchanged).1, TransportError::Tls);
    }
}
