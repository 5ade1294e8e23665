//! Exceptions as real programs write them. Those of Rust, Python, Java, Node and gcc were written by the
//! programs themselves; paths were changed.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cohort_model::InstanceId;
use cohort_symptom::exceptions::{Known, Parser, Raised, fingerprint};
use proptest::prelude::*;

fn parse(text: &str) -> Vec<Raised> {
    let mut parser = Parser::default();
    let mut found: Vec<Raised> = text
        .lines()
        .flat_map(|line| parser.take(line, SystemTime::UNIX_EPOCH))
        .collect();
    found.extend(parser.finish());
    found
}

fn sample(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exceptions");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Kind, message, and the innermost frame of the program's own.
type Expected = &'static [(&'static str, &'static str, &'static str)];

const TABLE: &[(&str, Expected)] = &[
    (
        "rust-new.txt",
        &[
            (
                "rust panic",
                "assertion `left == right` failed: sum of 4 left: 2 right: 3",
                "r.rs:2",
            ),
            (
                "rust panic",
                "index out of bounds: the len is 1 but the index is 5",
                "r.rs:1",
            ),
        ],
    ),
    (
        "rust-backtrace.txt",
        &[
            (
                "rust panic",
                "assertion `left == right` failed: sum of 4 left: 2 right: 3",
                "r::main::{{closure}} (./r.rs:2)",
            ),
            (
                "rust panic",
                "index out of bounds: the len is 1 but the index is 5",
                "r::cart (./r.rs:1)",
            ),
        ],
    ),
    (
        "rust-old.txt",
        &[
            (
                "rust panic",
                "called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: NotFound, message: \"No such file or directory\" }",
                "src/cart.rs:41",
            ),
            (
                "rust panic",
                "assertion failed: `(left == right)` left: `1`, right: `2`",
                "/home/ci/shop/src/lib.rs:7",
            ),
        ],
    ),
    (
        "rust-stamped.txt",
        &[(
            "rust panic",
            "no stock for laptop",
            "shop::stock::reserve::h0123456789abcdef (./src/stock.rs:88)",
        )],
    ),
    (
        "python-chained.txt",
        &[(
            "python CartError",
            "cart 17 is broken",
            "serve (/srv/shop/a.py:7)",
        )],
    ),
    (
        "python-group.txt",
        &[
            (
                "python ExceptionGroup",
                "unhandled errors in a TaskGroup (1 sub-exception)",
                "main (/srv/shop/b.py:4)",
            ),
            ("python KeyError", "'k1'", "f (/srv/shop/b.py:2)"),
        ],
    ),
    (
        "python-logging.txt",
        &[
            ("python KeyError", "'x'", "<module> (/srv/shop/c.py:3)"),
            ("error line", "root: plain", ""),
        ],
    ),
    (
        "python-interleaved.txt",
        &[(
            "python AttributeError",
            "'NoneType' object has no attribute 'total'",
            "cart (/srv/shop/api.py:31)",
        )],
    ),
    (
        "java-cause.txt",
        &[(
            "java NullPointerException",
            "Cannot invoke \"java.lang.Integer.intValue()\" because the return value of \"java.util.Map.get(Object)\" is null",
            "A.load (A.java:2)",
        )],
    ),
    (
        "java-log4j.txt",
        &[(
            "java SQLTransientConnectionException",
            "HikariPool-1 - Connection is not available, request timed out after 30001ms.",
            "com.example.shop.Pool.take (Pool.java:12)",
        )],
    ),
    (
        "java-plain.txt",
        &[
            (
                "java ArrayIndexOutOfBoundsException",
                "Index 5 out of bounds for length 3",
                "com.example.shop.Stock.at (Stock.java:20)",
            ),
            (
                "java NullPointerException",
                "",
                "com.example.shop.Cart.total (Cart.java:9)",
            ),
        ],
    ),
    (
        "node-cause.txt",
        &[(
            "node TypeError",
            "Cannot read properties of undefined (reading 'length')",
            "load (/srv/shop/a.js:1)",
        )],
    ),
    (
        "node-properties.txt",
        &[(
            "node Error",
            "ENOENT: no such file or directory, open '/nowhere'",
            "f (/srv/shop/b.js:1)",
        )],
    ),
    (
        "node-assert.txt",
        &[(
            "node AssertionError",
            "both files are written in time",
            "Timeout._onTimeout (/srv/shop/written.js:6)",
        )],
    ),
    (
        "node-multi-line.txt",
        &[(
            "node TypeError",
            "multi",
            "Object.<anonymous> (/srv/shop/c.js:1)",
        )],
    ),
    (
        "node-json.txt",
        &[
            (
                "node TypeError",
                "Cannot read properties of null (reading 'id')",
                "load (/srv/shop/cart.js:7)",
            ),
            ("error line", "pool exhausted", ""),
        ],
    ),
    (
        "go-panic.txt",
        &[(
            "go panic",
            "runtime error: invalid memory address or nil pointer dereference",
            "main.(*Cart).Total (/srv/shop/cart.go:12)",
        )],
    ),
    (
        "go-http.txt",
        &[(
            "go panic",
            "runtime error: index out of range [5] with length 3",
            "main.stock (/srv/shop/stock.go:14)",
        )],
    ),
    (
        "go-fatal.txt",
        &[(
            "go fatal error",
            "all goroutines are asleep - deadlock!",
            "main.wait (/srv/shop/queue.go:8)",
        )],
    ),
    (
        "asan.txt",
        &[(
            "AddressSanitizer heap-use-after-free",
            "heap-use-after-free on address",
            "load (/srv/shop/a.c:3)",
        )],
    ),
    (
        "lsan.txt",
        &[(
            "LeakSanitizer detected memory leaks",
            "detected memory leaks",
            "main (/srv/shop/l.c:2)",
        )],
    ),
    (
        "ubsan.txt",
        &[(
            "UndefinedBehaviorSanitizer signed integer overflow",
            "signed integer overflow: 2147483647 + 1",
            "u.c:2",
        )],
    ),
    (
        "tsan.txt",
        &[(
            "ThreadSanitizer data race",
            "data race",
            "increment (/srv/shop/counter.c:4)",
        )],
    ),
    (
        "ruby-end.txt",
        &[(
            "ruby NoMethodError",
            "undefined method `price' for nil:NilClass",
            "block in total (cart.rb:3)",
        )],
    ),
    (
        "ruby-logger.txt",
        &[
            (
                "ruby NoMethodError",
                "undefined method `price' for 1:Integer",
                "block in total (stock.rb:3)",
            ),
            ("ruby RuntimeError", "no pool", "take (/srv/shop/pool.rb:9)"),
        ],
    ),
    (
        "ruby-webrick.txt",
        &[(
            "ruby NoMethodError",
            "undefined method `name' for nil",
            "block in <main> (app.rb:10)",
        )],
    ),
    (
        "ruby-rails.txt",
        &[(
            "ruby ActiveRecord::RecordNotFound",
            "Couldn't find Cart with 'id'=17",
            "CartsController#show (app/controllers/carts_controller.rb:12)",
        )],
    ),
    (
        "php-uncaught.txt",
        &[(
            "php RuntimeException",
            "post 4 has no author",
            "/srv/shop/index.php:6",
        )],
    ),
    (
        "php-chained.txt",
        &[
            ("php NoStock", "no stock of it", "/srv/shop/cart.php:2"),
            (
                "php parse error",
                "Unclosed '{' on line 1",
                "/srv/shop/p.php:2",
            ),
        ],
    ),
    (
        "dotnet-inner.txt",
        &[(
            "dotnet ArgumentNullException",
            "Value cannot be null. (Parameter 'item')",
            "Shop.Stock.Reserve (/src/Stock.cs:20)",
        )],
    ),
    (
        "dotnet-logging.txt",
        &[(
            "dotnet KeyNotFoundException",
            "The given key '7' was not present",
            "Program.<>c.<<Main>$>b__0_0 (/src/Program.cs:12)",
        )],
    ),
    (
        "json-python.txt",
        &[
            (
                "python KeyError",
                "'nmae'",
                "get_item (/srv/shop/main.py:30)",
            ),
            (
                "python KeyError",
                "'nmae'",
                "get_item (/srv/shop/main.py:31)",
            ),
            (
                "python KeyError",
                "'nmae'",
                "get_item (/srv/shop/main.py:32)",
            ),
            (
                "python KeyError",
                "'nmae'",
                "get_item (/srv/shop/main.py:33)",
            ),
            (
                "python KeyError",
                "'nmae'",
                "get_item (/srv/shop/main.py:34)",
            ),
            (
                "python KeyError",
                "'nmae'",
                "get_item (/srv/shop/main.py:35)",
            ),
            (
                "python KeyError",
                "'nmae'",
                "get_item (/srv/shop/main.py:36)",
            ),
        ],
    ),
    (
        "json-others.txt",
        &[
            ("KeyError", "'nmae'", "get_item (/srv/shop/main.py:40)"),
            (
                "error line",
                "no stock",
                "main.reserve (/srv/shop/stock.go:14)",
            ),
            (
                "java NullPointerException",
                "no cart",
                "com.example.shop.Cart.total (Cart.java:19)",
            ),
            (
                "node TypeError",
                "a.b is no function",
                "price (/srv/shop/price.js:7)",
            ),
            ("OutOfStock", "none left", ""),
        ],
    ),
    (
        "python-torn.txt",
        &[
            ("error line", "in app: failed", ""),
            (
                "python URLError",
                "<urlopen error [Errno 111] Connection refused>",
                "do_GET (/srv/shop/s.py:6)",
            ),
        ],
    ),
];

#[test]
fn real_exceptions_are_recognized() {
    for (name, expected) in TABLE {
        let found = parse(&sample(name));
        let seen: Vec<(&str, &str, String)> = found
            .iter()
            .map(|raised| {
                let own = raised.frames.iter().find(|frame| frame.own);
                let shown = own.map(|frame| frame.shown()).unwrap_or_default();
                (raised.kind.as_str(), raised.message.as_str(), shown)
            })
            .collect();
        assert_eq!(seen.len(), expected.len(), "{name}: {seen:#?}");
        for ((kind, message, frame), seen) in expected.iter().zip(&seen) {
            assert_eq!((*kind, *frame), (seen.0, seen.2.as_str()), "{name}");
            assert!(seen.1.starts_with(message), "{name}: {}", seen.1);
        }
        let plain = expected.iter().filter(|one| one.0 == "error line").count();
        assert_eq!(
            found.iter().filter(|one| one.plain_line).count(),
            plain,
            "{name}"
        );
    }
}

#[test]
fn each_sample_is_a_bug_of_its_own_however_often_it_comes() {
    let mut known = Known::default();
    let mut all = 0;
    for (name, expected) in TABLE {
        for _ in 0..3 {
            known.extend(parse(&sample(name)));
        }
        all += expected.len();
    }
    let kinds = known.all();
    assert_eq!(kinds.len(), all, "{kinds:#?}");
    assert!(kinds.iter().all(|kind| kind.count == 3));
    assert_eq!(known.take_new(InstanceId(0)).len(), all);
}

#[test]
fn the_same_bug_with_other_data_has_the_same_fingerprint() {
    for (name, from, to) in [
        (
            "rust-old.txt",
            "code: 2, kind: NotFound",
            "code: 13, kind: PermissionDenied",
        ),
        ("rust-stamped.txt", "laptop", "phone"),
        ("rust-stamped.txt", "h0123456789abcdef", "hfedcba9876543210"),
        ("rust-new.txt", "r.rs:1:35", "r.rs:1:77"),
        ("python-chained.txt", "cart 17", "cart 4711"),
        ("python-chained.txt", "/srv/shop/", "/home/ci/build-5/shop/"),
        ("java-log4j.txt", "30001ms", "1234ms"),
        ("node-json.txt", "reading 'id'", "reading 'name'"),
        (
            "go-http.txt",
            "index out of range [5]",
            "index out of range [9]",
        ),
        ("asan.txt", "0x602000000014", "0x602000000abc"),
    ] {
        let text = sample(name);
        assert!(text.contains(from), "{name} has no {from}");
        let prints = |text: &str| parse(text).iter().map(fingerprint).collect::<Vec<_>>();
        assert_eq!(
            prints(&text),
            prints(&text.replace(from, to)),
            "{name}: {from} -> {to}"
        );
    }
}

#[test]
fn another_bug_has_another_fingerprint() {
    for (name, from, to) in [
        ("rust-old.txt", "src/cart.rs:41:48", "src/cart.rs:57:48"),
        ("rust-stamped.txt", "stock.rs:88", "stock.rs:99"),
        ("python-chained.txt", "CartError: ", "StockError: "),
        ("java-plain.txt", "Stock.java:20", "Stock.java:25"),
        ("go-http.txt", "main.stock(", "main.price("),
        ("asan.txt", "heap-use-after-free", "heap-buffer-overflow"),
    ] {
        let text = sample(name);
        let first = |text: &str| fingerprint(&parse(text)[0]);
        assert_ne!(
            first(&text),
            first(&text.replace(from, to)),
            "{name}: {from} -> {to}"
        );
    }
}

#[test]
fn what_gets_no_more_lines_is_complete_after_a_while() {
    let mut parser = Parser::default();
    let at = SystemTime::UNIX_EPOCH;
    assert_eq!(
        parser.take("thread 'main' panicked at src/a.rs:1:2:", at),
        []
    );
    assert_eq!(parser.take("gone", at), []);
    assert_eq!(parser.settle(at + Duration::from_millis(100)), []);
    let found = parser.settle(at + Duration::from_secs(1));
    assert_eq!(found[0].message, "gone");
    assert_eq!(parser.finish(), []);
}

#[test]
fn an_endless_trace_is_bounded() {
    let mut text = "Traceback (most recent call last):\n".to_owned();
    for number in 0..5000 {
        text += &format!("  File \"/srv/a.py\", line {number}, in f\n    f()\n");
    }
    text += "RecursionError: maximum recursion depth exceeded\n";
    let found = parse(&text);
    assert!(!found.is_empty() && found.len() < 5000);
    assert!(found.iter().all(|raised| raised.frames.len() <= 64));
}

proptest! {
    #[test]
    fn any_lines_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        parse(&String::from_utf8_lossy(&bytes));
    }

    /// Lines of the samples in any order, cut anywhere, with anything between.
    #[test]
    fn any_mixture_is_survived(
        picks in prop::collection::vec((0..TABLE.len(), 0_usize..60, 0_usize..200, ".{0,5}"), 0..80),
    ) {
        let text: Vec<String> = picks
            .iter()
            .map(|(sample_at, line, cut, more)| {
                let text = sample(TABLE[*sample_at].0);
                let line = text.lines().nth(*line).unwrap_or_default();
                let cut: String = line.chars().take(*cut).collect();
                cut + more
            })
            .collect();
        let mut known = Known::default();
        for raised in parse(&text.join("\n")) {
            prop_assert!(raised.message.len() <= 500 && raised.frames.len() <= 64);
            known.extend([raised]);
        }
    }
}
