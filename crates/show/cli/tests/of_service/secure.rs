//! Servers that speak TLS, with certificates that nobody knows, and HTTP/2.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::{Campaign, assert_said};

/// Passes on every connection to a port of this process.
const RELAY: &str = "\
import socket, sys, threading

def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    near, _ = listener.accept()
    far = socket.create_connection(('127.0.0.1', int(sys.argv[2])))
    for pair in [(near, far), (far, near)]:
        threading.Thread(target=copy, args=pair, daemon=True).start()
";

/// How often each call came, by its `X-Call`, all of them over HTTP/2.
type Calls = Arc<Mutex<BTreeMap<String, u32>>>;

#[test]
fn a_server_over_tls_is_called_though_nobody_knows_its_certificate() {
    let suite = Campaign {
        ready: "{ tcp = true, timeout = \"30s\" }",
        sut: "instances = 2\nnetwork = \"host\"\ntls = true\nenv = { CERTIFICATE = \"own.pem\" }",
        ..Campaign::of(
            "check(get(`/items/${__ITER}`), { 'it answers': (r) => r.json('number') === __ITER, \
             'over TLS': (r) => r.proto === 'HTTP/1.1' && r.timings.tls_handshaking >= 0 })",
        )
    }
    .write();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let both = [
        pem("CERTIFICATE", own.cert.der()),
        pem("PRIVATE KEY", &own.signing_key.serialize_der()),
    ];
    suite.write("own.pem", &both.concat());
    let ended = suite.run_for("1s");
    assert_said(&ended, 0, &["nothing found ", "check held ", " over TLS\n"]);
    assert!(!ended.stdout.contains("check failed"), "{ended:?}");
    suite.assert_no_call_twice();
    suite.assert_replays();
    suite.assert_all_gone(&ended);

    // What speaks no TLS is said to speak none.
    let written = suite.read("cohort.toml");
    suite.write(
        "cohort.toml",
        &written.replace("CERTIFICATE", "NO_CERTIFICATE"),
    );
    let ended = suite.run_for("1s");
    let wanted = ["tls: what it answers is no TLS", "no call was answered; "];
    assert_said(&ended, 1, &wanted);
}

#[test]
fn http2_is_spoken_where_the_server_offers_it() {
    let calls = Calls::default();
    let port = serve(Arc::clone(&calls));
    let command = format!(r#"["python3", "relay.py", "{{port}}", "{port}"]"#);
    let suite = Campaign {
        command: &command,
        ready: "{ tcp = true, timeout = \"30s\" }",
        sut: "instances = 2\nnetwork = \"host\"\ntls = true",
        ..Campaign::of(
            "check(get('/items/1'), { 'over HTTP/2': (r) => r.proto === 'HTTP/2.0' && r.body === 'HTTP/2.0' });
             const both = ['a', 'b'].map((name) => ({ method: 'GET', url: U + '/' + name, params: { headers: { 'X-Call': `${__VU} ${at} ${name}` } } }));
             check(http.batch(both), { 'both at once': (all) => all.every((r) => r.status === 200) })",
        )
    }
    .write();
    suite.write("relay.py", RELAY);
    let ended = suite.run_for("1s");
    let wanted = ["nothing found ", " over HTTP/2\n", " both at once\n"];
    assert_said(&ended, 0, &wanted);
    assert!(!ended.stdout.contains("check failed"), "{ended:?}");
    let calls = calls.lock().unwrap();
    assert!(calls.len() >= 6, "{calls:?}");
    assert!(calls.values().all(|times| *times == 1), "{calls:?}");
    let said = format!("{} calls and {} iterations", calls.len(), calls.len() / 3);
    assert!(ended.stdout.contains(&said), "{said}: {ended:?}");
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<&str> = (0..text.len().div_ceil(64))
        .map(|line| &text[line * 64..text.len().min(line * 64 + 64)])
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A server of HTTP/2 alone, as long as this process lives. Gives its port.
fn serve(calls: Calls) -> u16 {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            let acceptor = acceptor();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, calls) = (acceptor.clone(), Arc::clone(&calls));
                tokio::task::spawn_local(async move {
                    // A look whether it is ready says nothing.
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let answer = service_fn(|request| answer(request, Arc::clone(&calls)));
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(tls), answer).await;
                });
            }
        });
    });
    told.recv().unwrap()
}

fn acceptor() -> TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut configuration = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], PrivateKeyDer::from(key))
        .unwrap();
    configuration.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(configuration))
}

async fn answer(
    request: Request<Incoming>,
    calls: Calls,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    let named = request.headers().get("x-call");
    let name = named.map_or_else(String::new, |name| format!("{name:?}"));
    *calls.lock().unwrap().entry(name).or_default() += 1;
    Ok(Response::new(Full::new(Bytes::from(version))))
}
