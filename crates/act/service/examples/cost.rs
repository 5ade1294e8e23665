//! What looking at log lines costs: `cargo run --release -p cohort-service --example cost`.

use std::time::{Instant, SystemTime};

use cohort_service::exceptions::{Known, Parser};

const LINES: usize = 1_000_000;

fn main() {
    let access = r#"127.0.0.1 - - [26/Nov/2026:12:00:00 +0000] "GET /products/17 HTTP/1.1" 200 512 "-" "k6/0.49""#;
    let json = r#"{"level":"info","time":"2026-11-26T12:00:00Z","msg":"request completed","path":"/cart","status":200,"ms":3.2}"#;
    let error = "2026-11-26 12:00:00,123 ERROR [worker-3] shop.cart: no stock for product 4711";
    let at = "\tat com.example.shop.CartService.load(CartService.java:44)";
    for (name, lines) in [
        ("access log", vec![access]),
        ("JSON of level info", vec![json]),
        ("errors, all the same", vec![error]),
        (
            "Java traces",
            vec![
                "java.lang.IllegalStateException: 4711",
                at,
                at,
                at,
                at,
                at,
                at,
                at,
            ],
        ),
    ] {
        let (mut parser, mut known) = (Parser::default(), Known::default());
        let now = SystemTime::now();
        let begin = Instant::now();
        for line in lines.iter().cycle().take(LINES) {
            known.extend(parser.take(line, now));
        }
        let ns = begin.elapsed().as_nanos() / LINES as u128;
        let found: u64 = known.all().iter().map(|kind| kind.count).sum();
        println!("{name}: {ns} ns a line, {found} found");
    }
}
