//! Every call of a healthy shop, and how it begins and ends.

use crate::client::{Client, Server};

#[test]
fn the_catalogue_is_listed_searched_and_shown() {
    let server = Server::start("");
    let mut client = Client::new(&server);
    assert_eq!(client.get("/health").json()["status"], "ok");
    assert_eq!(
        client.get("/categories").json()["categories"]
            .as_array()
            .map(Vec::len),
        Some(12)
    );
    let page = client.get("/products?category=tea&page=1").json();
    assert_eq!(page["products"].as_array().map(Vec::len), Some(24));
    let id = page["products"][0]["id"].as_u64().expect("an id");
    let product = client.get(&format!("/products/{id}")).json();
    assert_eq!(product["product"]["category"], "tea");
    assert_eq!(product["in_stock"], 1000);
    let found = client.get("/search?q=copper%20teapot").json();
    assert!(
        found["products"][0]["name"]
            .as_str()
            .is_some_and(|name| name.contains("copper teapot"))
    );
    assert_eq!(client.get("/search?q=st*l%20ket*e").json()["found"], 20);
    for (path, status) in [
        ("/products/2000", 404),
        ("/products?category=cars", 404),
        ("/search?q=", 400),
        ("/nothing", 404),
    ] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
}

#[test]
fn a_customer_buys_and_gets_a_receipt() {
    let server = Server::start("");
    assert_eq!(Client::new(&server).get("/cart").status, 401);
    let mut client = Client::customer(&server, 7);
    assert_eq!(client.get("/account").json()["customer"], "customer-7");
    assert_eq!(
        client.get("/recommendations").json()["products"]
            .as_array()
            .map(Vec::len),
        Some(8)
    );
    let price = client.get("/products/30").json()["product"]["price_cents"]
        .as_u64()
        .expect("a price");
    client.add(30, 1);
    let cart = client.add(30, 2).json();
    assert_eq!(
        (&cart["total_cents"], &cart["lines"][0]["quantity"]),
        (&(3 * price).into(), &3.into())
    );
    assert_eq!(client.add(30, 21).status, 400);
    let bought = client.post("/checkout", r#"{"coupon":"CAFÉ15"}"#);
    assert_eq!(bought.status, 201);
    assert_eq!(bought.json()["total_cents"], 3 * price * 85 / 100);
    assert_eq!(client.post("/checkout", "{}").status, 409);
    assert_eq!(client.get("/products/30").json()["in_stock"], 997);
    let id = bought.json()["order"].as_u64().expect("a number");
    assert_eq!(client.get(&format!("/orders/{id}")).json()["customer"], 7);
    let receipt = client.get(&format!("/orders/{id}/receipt"));
    assert!(receipt.text.contains("3 x product 30"), "{receipt:?}");
    assert_eq!(
        Client::customer(&server, 8)
            .get(&format!("/orders/{id}"))
            .status,
        404
    );
    let sales = client.get("/reports/sales").json();
    let pieces = sales["sales"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["pieces"].as_u64());
    assert_eq!(pieces.map(|n| n.expect("a number")).sum::<u64>(), 3);
    assert_eq!(client.get("/reports/stock").status, 200);
    client.add(31, 1);
    assert_eq!(
        client
            .call("DELETE", "/cart", "")
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(client.get("/cart").json()["total_cents"], 0);
    assert!(client.post("/logout", "").head.contains("Max-Age=0"));
}

#[test]
fn it_ends_in_order_and_keeps_its_orders() {
    let mut server = Server::start("");
    let id = Client::customer(&server, 7).buy(5);
    let log = server.access_log();
    assert_eq!(
        log.lines()
            .filter(|line| line.starts_with("POST /checkout 201 "))
            .count(),
        1,
        "{log}"
    );
    assert!(log.lines().all(|line| line.ends_with(" test")), "{log}");
    assert!(server.terminate().success());

    let again = server.start_again();
    assert_eq!(
        Client::customer(&again, 7)
            .get(&format!("/orders/{id}"))
            .status,
        200
    );
}

#[test]
fn it_starts_again_after_it_was_killed() {
    let mut server = Server::start("");
    Client::customer(&server, 7).buy(5);
    server.kill();
    let again = server.start_again();
    assert_eq!(Client::new(&again).get("/reports/sales").status, 200);
}

#[test]
fn wrong_command_lines_are_refused() {
    let refused = |args: &[&str], defects: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shop"));
        let output = command
            .args(args)
            .env("SHOP_DEFECTS", defects)
            .output()
            .expect("shop");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(refused(&["--port", "0"], "").contains("--data is missing"));
    assert!(refused(&["--port", "0", "--data", "d"], "cpu").contains("no defect `cpu`"));
}
