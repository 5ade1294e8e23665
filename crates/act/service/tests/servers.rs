//! Servers that behave and servers that do not, on the host's network.

mod support;

use std::net::TcpListener;
use std::time::Duration;

use cohort_model::{Exit, ServiceSeen};
use cohort_service::{Error, Ready, State, What};
use support::{Hub, get, get_later, is_alive, python, run, server, share, spec, until};

#[test]
fn a_server_starts_answers_restarts_and_stops() {
    run(async {
        let mut hub = Hub::open(server()).await;
        let (instance, address) = hub.ready(0).await;
        assert_eq!(get_later(address, "/").await.unwrap(), b"hello");
        let first = instance.status();
        assert_eq!((first.state, first.life), (State::Ready, 1));
        assert!(is_alive(first.pid.unwrap()));

        instance.restart().await.unwrap();
        let second = instance
            .until(|status| status.state == State::Ready && status.life == 2)
            .await
            .unwrap();
        assert!(!is_alive(first.pid.unwrap()));
        let address = second.address.unwrap();
        assert_eq!(get_later(address, "/").await.unwrap(), b"hello");

        instance.stop().await.unwrap();
        assert_eq!(instance.status().state, State::Stopped);
        assert!(!is_alive(second.pid.unwrap()));
        assert!(get(address, "/").is_err());
        let exits = hub
            .until(|event| match event.seen()? {
                ServiceSeen::InstanceExited { exit, again, .. } => Some((exit, again)),
                _ => None,
            })
            .await;
        assert_eq!(exits, (Exit::Asked, true));
        hub.close().await;
    });
}

#[test]
fn several_instances_have_ports_and_scratch_of_their_own() {
    run(async {
        let mut spec = server();
        spec.env.push(("WHO".to_owned(), "{instance}".to_owned()));
        spec.ready = Some(Ready::Http {
            url: "http://{host}:{port}/ready".to_owned(),
            status: Some(200),
        });
        let mut hub = Hub::try_open(spec, 3).await.unwrap();
        let mut ports = Vec::new();
        for number in 0..3 {
            let (instance, address) = hub.ready(number).await;
            assert!(instance.scratch().is_dir());
            let pid = instance.status().pid.unwrap();
            let env = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
            let env = String::from_utf8(env).unwrap();
            let scratch = instance.scratch().display();
            for wanted in [
                format!("WHO={number}"),
                format!("TMPDIR={scratch}"),
                format!("PORT={}", address.port()),
            ] {
                assert!(
                    env.split('\0').any(|variable| variable == wanted),
                    "{wanted} in {env}"
                );
            }
            ports.push(address.port());
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3);
        hub.close().await;
    });
}

#[test]
fn a_crash_is_told_with_its_last_lines_and_the_server_is_started_again() {
    run(async {
        let mut hub = Hub::open(server()).await;
        let (_, address) = hub.ready(0).await;
        let _ = get_later(address, "/kill").await;
        let exit = hub
            .until(|event| match &event.what {
                What::Exited { exit, again, .. } => Some((exit.clone(), again.is_some())),
                _ => None,
            })
            .await;
        let signal = libc::SIGSEGV;
        assert_eq!(exit, (Exit::Signal { signal }, true));
        let address = hub
            .until(|event| match &event.what {
                What::Ready { address, .. } => Some(*address),
                _ => None,
            })
            .await;
        let _ = get_later(address, "/die").await;
        let exit = hub
            .until(|event| match &event.what {
                What::Exited { exit, crashes, .. } => Some((exit.clone(), *crashes)),
                _ => None,
            })
            .await;
        assert_eq!(exit, (Exit::Code { code: 3 }, 2));
        hub.close().await;
    });
}

#[test]
fn an_exception_in_the_log_is_told() {
    run(async {
        let mut hub = Hub::open(server()).await;
        let (instance, address) = hub.ready(0).await;
        let _ = get_later(address, "/raise").await;
        let exception = hub
            .until(|event| match &event.what {
                What::Exceptions(exceptions) => Some(exceptions[0].clone()),
                _ => None,
            })
            .await;
        assert_eq!(exception.kind, "python ValueError");
        assert_eq!(exception.message, "asked for");
        assert_eq!(exception.count, 1);
        assert_eq!(instance.record().exceptions().len(), 1);
        let path = hub.logs.path().join("i0.log");
        until("the log is written", || {
            std::fs::read_to_string(&path)
                .is_ok_and(|text| text.contains("err ValueError: asked for"))
        })
        .await;
        hub.close().await;
    });
}

#[test]
fn one_that_never_listens_is_stopped_and_the_reason_told() {
    run(async {
        // How it goes down explains nothing.
        let script = "import signal, time\n\
            def down(*_):\n    print('going down'); raise SystemExit\n\
            signal.signal(signal.SIGTERM, down)\n\
            print('warming up'); time.sleep(1000)";
        let mut spec = python(script);
        spec.ready = Some(Ready::Tcp);
        spec.ready_within = Duration::from_secs(2);
        let mut hub = Hub::open(spec).await;
        let instance = hub.make(0).await;
        instance.start().await.unwrap();
        let reason = hub.never_ready().await;
        assert!(
            reason.contains("refused") && reason.contains("warming up"),
            "{reason}"
        );
        assert!(reason.contains("it listens on no port"), "{reason}");
        assert!(!reason.contains("going down"), "{reason}");
        assert_eq!(instance.status().state, State::Failed);
        hub.close().await;
    });
}

#[test]
fn one_that_listens_on_a_unix_socket_is_told_so() {
    run(async {
        let script = "import os, socket, time\n\
            s = socket.socket(socket.AF_UNIX)\n\
            s.bind(os.environ['TMPDIR'] + '/it.sock'); s.listen()\n\
            time.sleep(1000)";
        let mut spec = python(script);
        spec.ready = Some(Ready::Tcp);
        spec.ready_within = Duration::from_secs(2);
        let mut hub = Hub::open(spec).await;
        hub.make(0).await.start().await.unwrap();
        let reason = hub.never_ready().await;
        assert!(
            reason.contains("/it.sock: Unix sockets are not called"),
            "{reason}"
        );
        hub.close().await;
    });
}

#[test]
fn one_that_ignores_its_port_is_told_where_it_listens() {
    run(async {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let port = free.to_string();
        let mut spec = spec(&[
            "python3",
            "-u",
            "-m",
            "http.server",
            "-b",
            "127.0.0.1",
            &port,
        ]);
        spec.env.push(("LISTEN".to_owned(), "{port}".to_owned()));
        spec.ready_within = Duration::from_secs(3);
        let mut hub = Hub::open(spec).await;
        hub.make(0).await.start().await.unwrap();
        let reason = hub.never_ready().await;
        assert!(
            reason.contains(&format!("127.0.0.1:{port} instead")),
            "{reason}"
        );
        assert!(reason.contains("{port}"), "{reason}");
        hub.close().await;
    });
}

#[test]
fn one_that_is_told_no_port_is_reached_on_its_own() {
    run(async {
        let script = "import http.server\n\
            server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n\
            print('port', server.server_address[1])\n\
            server.serve_forever()\n";
        for ready in [
            Ready::Listens,
            Ready::Http {
                url: "/".to_owned(),
                status: None,
            },
            Ready::LogLine {
                pattern: "port".to_owned(),
            },
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut spec = spec(&["python3", "-u", "-c", script]);
            spec.directory = folder.path().to_owned();
            spec.ready = Some(ready);
            let mut hub = Hub::open(spec).await;
            let (instance, address) = hub.ready(0).await;
            let told = instance.last_lines(10);
            let line = format!("port {}", address.port());
            assert!(told.iter().any(|it| it.text == line), "{told:?} {address}");
            assert!(!get_later(address, "/").await.unwrap().is_empty());
            hub.close().await;
        }
    });
}

#[test]
fn a_line_that_comes_at_once_is_not_missed() {
    run(async {
        let mut spec = spec(&["sh", "-c", "echo ready for {instance}; exec sleep 1000"]);
        spec.ready = Some(Ready::LogLine {
            pattern: "ready*{instance}".to_owned(),
        });
        let mut hub = Hub::open(spec).await;
        for number in 0..10 {
            hub.ready(number).await;
        }
        hub.close().await;
    });
}

#[test]
fn one_to_which_localhost_is_ipv6_is_reached_there() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("LEFT OUT: a server on [::1]: this host has no IPv6");
        return;
    }
    run(async {
        let script = "import http.server, socket, sys\n\
            class Server(http.server.HTTPServer): address_family = socket.AF_INET6\n\
            Server(('::1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()\n";
        let folder = tempfile::tempdir().unwrap();
        let mut spec = spec(&["python3", "-u", "-c", script, "{port}"]);
        spec.directory = folder.path().to_owned();
        let mut hub = Hub::open(spec).await;
        let (instance, address) = hub.ready(0).await;
        assert!(address.ip().is_ipv6());
        assert!(!get_later(address, "/").await.unwrap().is_empty());
        instance.restart().await.unwrap();
        let status = instance
            .until(|status| status.state == State::Ready && status.life == 2)
            .await
            .unwrap();
        assert_eq!(status.address, Some(address));
        hub.close().await;
    });
}

#[test]
fn one_that_exits_at_once_is_given_up_with_what_it_said() {
    run(async {
        let mut hub = Hub::open(spec(&["sh", "-c", "echo no config >&2; exit 2", "{port}"])).await;
        let instance = hub.make(0).await;
        instance.start().await.unwrap();
        let reason = hub.given_up().await;
        assert!(
            reason.contains("exited with code 2 5 times in a row"),
            "{reason}"
        );
        assert!(
            reason.contains("never ready") && reason.contains("no config"),
            "{reason}"
        );
        let status = instance.status();
        assert_eq!((status.crashes, status.life), (5, 5));
        hub.close().await;
    });
}

#[test]
fn a_program_that_is_not_there_is_an_error_at_once() {
    run(async {
        let mut hub = Hub::open(spec(&["/nowhere/server", "{port}"])).await;
        let instance = hub.make(0).await;
        instance.start().await.unwrap();
        let reason = hub.never_ready().await;
        assert!(reason.contains("/nowhere/server"), "{reason}");
        assert_eq!(instance.status().crashes, 0);
        hub.close().await;
    });
}

#[test]
fn one_that_goes_into_the_background_is_told_to_stay() {
    run(async {
        let mut hub = Hub::open(spec(&["sh", "-c", "sleep 1000 & exit 0", "{port}"])).await;
        hub.make(0).await.start().await.unwrap();
        let reason = hub.given_up().await;
        assert!(reason.contains("must stay in the foreground"), "{reason}");
        hub.close().await;
    });
}

#[test]
fn whoever_ignores_the_stop_signal_is_killed_with_all_its_children() {
    run(async {
        // Children that left its group and session, with grandchildren of their own. Each line is one write: what print writes may
        // have another's line between its text and its end.
        let script = "import os, signal, time\n\
            signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
            for _ in range(3):\n    \
              if os.fork() == 0:\n        \
                os.setsid()\n        \
                os.fork()\n        \
                os.write(1, b'child %d\\n' % os.getpid())\n        \
                time.sleep(1000)\n\
            os.write(1, b'ready\\n')\n\
            time.sleep(1000)\n";
        let mut spec = python(script);
        spec.ready = Some(Ready::LogLine {
            pattern: "ready".to_owned(),
        });
        spec.stop.grace = Duration::from_millis(200);
        let mut hub = Hub::open(spec).await;
        let (instance, _) = hub.ready(0).await;
        let children = || -> Vec<i32> {
            let lines = instance.last_lines(100);
            lines
                .iter()
                .filter_map(|line| line.text.strip_prefix("child ")?.parse().ok())
                .collect()
        };
        until("all children are there", || children().len() == 6).await;
        assert!(children().into_iter().all(is_alive));
        instance.stop().await.unwrap();
        assert!(!children().into_iter().any(is_alive));
        hub.close().await;
    });
}

#[test]
fn megabytes_of_output_do_not_hold_the_server_up() {
    run(async {
        let script = "import os, sys\n\
            line = b'x' * 99 + b'\\n'\n\
            for _ in range(300000): os.write(1, line * 10) if _ % 10 == 0 else None\n\
            os.write(2, b'written\\n')\n\
            import time; time.sleep(1000)\n";
        let mut spec = python(script);
        spec.ready = Some(Ready::LogLine {
            pattern: "written".to_owned(),
        });
        spec.logs.bytes_max = 1 << 20;
        spec.logs.files_max = 3;
        let mut hub = Hub::open(spec).await;
        let (instance, _) = hub.ready(0).await;
        until("all was read", || {
            instance.record().counts().bytes >= 30_000_008
        })
        .await;
        let counts = instance.record().counts();
        assert_eq!(counts.bytes, 30_000_008);
        let logs = std::mem::replace(&mut hub.logs, tempfile::tempdir().unwrap());
        hub.close().await;
        let sizes: Vec<u64> = std::fs::read_dir(logs.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.metadata().unwrap().len())
            .collect();
        assert!(
            sizes.len() <= 3 && sizes.iter().all(|size| *size <= 1 << 20),
            "{sizes:?}"
        );
        assert!(sizes.iter().sum::<u64>() > 1 << 20, "{sizes:?}");
    });
}

#[test]
fn a_fixed_port_is_for_one_and_must_be_free() {
    run(async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut spec = server();
        spec.port = Some(taken.local_addr().unwrap().port());
        let error = Hub::try_open(spec.clone(), 2).await.err().unwrap();
        assert!(
            matches!(error, Error::FixedPort { instances: 2, .. }),
            "{error}"
        );
        let mut hub = Hub::open(spec).await;
        let instance = hub.make(0).await;
        instance.start().await.unwrap();
        let reason = hub.never_ready().await;
        assert!(reason.contains("in use already"), "{reason}");
        drop(taken);
        instance.start().await.unwrap();
        instance
            .until(|status| status.state == State::Ready)
            .await
            .unwrap();
        let second = hub
            .instances
            .make(cohort_model::InstanceId(1), share())
            .await;
        assert!(matches!(second, Err(Error::FixedPort { .. })));
        hub.close().await;
    });
}

#[test]
fn a_port_that_somebody_was_faster_to_take_is_left_to_them() {
    run(async {
        // The first time, another process (not of the instance) is made to listen on the port.
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let go = folder.path().join("go");
        let script = format!(
            "import os, sys, time, http.server\n\
            if not os.path.exists({go:?}):\n    \
              open({asked:?} + '.new', 'w').write(sys.argv[1])\n    \
              os.rename({asked:?} + '.new', {asked:?})\n    \
              while not os.path.exists({go:?}): time.sleep(0.005)\n\
            http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
        );
        let mut spec = spec(&["python3", "-u", "-c", &script, "{port}"]);
        spec.ready_within = Duration::from_secs(30);
        let mut hub = Hub::open(spec).await;
        let instance = hub.make(0).await;
        instance.start().await.unwrap();
        until("it knows its port", || asked.exists()).await;
        let port: u16 = std::fs::read_to_string(&asked).unwrap().parse().unwrap();
        let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
        std::fs::write(&go, "").unwrap();
        let status = instance
            .until(|status| status.state == State::Ready)
            .await
            .unwrap();
        assert_ne!(status.address.unwrap().port(), port);
        assert_eq!(status.crashes, 0);
        drop(stranger);
        hub.close().await;
    });
}

#[test]
fn a_build_that_fails_is_shown_and_one_that_works_comes_first() {
    run(async {
        let mut broken = server();
        broken.build = [
            "sh",
            "-c",
            "echo compiling; echo 'no such header' >&2; exit 1",
        ]
        .map(str::to_owned)
        .into();
        let error = Hub::try_open(broken, 1).await.err().unwrap().to_string();
        assert!(
            error.contains("exited with code 1") && error.contains("no such header"),
            "{error}"
        );
        let folder = tempfile::tempdir().unwrap();
        let mut built = server();
        built.directory = folder.path().to_owned();
        built.build = ["sh", "-c", "echo $MODE-$OWN > artifact"]
            .map(str::to_owned)
            .into();
        // What differs from instance to instance is nothing to a build.
        built.env.push(("MODE".to_owned(), "built".to_owned()));
        built.env.push(("OWN".to_owned(), "{scratch}".to_owned()));
        let mut hub = Hub::open(built).await;
        let artifact = std::fs::read_to_string(folder.path().join("artifact"));
        assert_eq!(artifact.unwrap(), "built-\n");
        hub.ready(0).await;
        hub.close().await;
    });
}

#[test]
fn an_answer_that_is_no_http_is_quoted() {
    run(async {
        let script = "import socket, sys\n\
            s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
            while True:\n    c, _ = s.accept(); c.recv(1000); c.sendall(b'SSH-2.0-garbage\\r\\n'); c.close()\n";
        let mut spec = spec(&["python3", "-u", "-c", script, "{port}"]);
        spec.ready = Some(Ready::Http {
            url: "/".to_owned(),
            status: None,
        });
        spec.ready_within = Duration::from_secs(2);
        let mut hub = Hub::open(spec).await;
        hub.make(0).await.start().await.unwrap();
        let reason = hub.never_ready().await;
        assert!(reason.contains("SSH-2.0-garbage"), "{reason}");
        hub.close().await;
    });
}

#[test]
fn its_own_log_files_are_followed() {
    run(async {
        let script = "import sys, time, os\n\
            path = os.path.join(os.environ['TMPDIR'], 'app.log')\n\
            out = open(path, 'w'); out.write('2026-11-26 ERROR one\\n'); out.flush()\n\
            os.rename(path, path + '.1')\n\
            out = open(path, 'w'); out.write('2026-11-26 FATAL two\\n'); out.flush()\n\
            time.sleep(1000)\n";
        let mut spec = python(script);
        spec.ready = Some(Ready::LogLine {
            pattern: "FATAL".to_owned(),
        });
        spec.logs.files = vec!["{scratch}/app.log".to_owned()];
        let mut hub = Hub::open(spec).await;
        let (instance, _) = hub.ready(0).await;
        until("it is recognized", || {
            let found = instance.record().exceptions();
            found.iter().any(|kind| kind.first.kind == "fatal line")
        })
        .await;
        hub.close().await;
    });
}

#[test]
fn a_hub_that_does_not_listen_holds_nothing_up() {
    run(async {
        let mut hub = Hub::open(server()).await;
        let instance = hub.make(0).await;
        for _ in 0..40 {
            instance.start().await.unwrap();
            instance.stop().await.unwrap();
        }
        hub.events.close();
        instance.start().await.unwrap();
        instance
            .until(|status| status.state == State::Ready)
            .await
            .unwrap();
        hub.close().await;
    });
}
