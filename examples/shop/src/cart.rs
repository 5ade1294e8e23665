//! Carts, one for each session, the last [`CARTS`] of them: an older one is empty again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::defects::{Defect, Defects};
use crate::session::Session;
use crate::shop::{Shop, blocking};

const CARTS: usize = 1_000;
const SUPPLIER_ANSWERS_AFTER: Duration = Duration::from_millis(5);
const LINES: usize = 50;
const QUANTITY: u32 = 20;

/// One product in a cart or an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub product: u32,
    pub quantity: u32,
    /// For one piece.
    pub price_cents: u64,
}

/// What somebody means to buy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Cart {
    pub lines: Vec<Line>,
    pub total_cents: u64,
}

impl Cart {
    fn add(&mut self, line: Line) {
        match self
            .lines
            .iter_mut()
            .find(|had| had.product == line.product)
        {
            Some(had) => had.quantity += line.quantity,
            None => self.lines.push(line),
        }
    }
}

/// The supplier takes its time, as the bank does.
fn tell_supplier(wanted: &Demand) {
    if !wanted.0.is_empty() {
        std::thread::sleep(SUPPLIER_ANSWERS_AFTER);
    }
}

/// All carts.
#[derive(Default)]
pub(crate) struct Carts {
    kept: Mutex<Kept>,
    /// Taken after `kept` where both are.
    wanted: Mutex<Demand>,
}

/// How many pieces of each product lie in carts.
#[derive(Default)]
struct Demand(HashMap<u32, u32>);

impl Demand {
    fn more(&mut self, product: u32, pieces: u32) {
        *self.0.entry(product).or_default() += pieces;
    }

    fn less(&mut self, cart: &Cart) {
        for line in &cart.lines {
            if let Some(pieces) = self.0.get_mut(&line.product) {
                *pieces = pieces.saturating_sub(line.quantity);
            }
        }
        self.0.retain(|_, pieces| *pieces > 0);
    }
}

#[derive(Default)]
struct Kept {
    by_session: HashMap<u64, Cart>,
    oldest_first: VecDeque<u64>,
}

impl Carts {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, session: Session) -> Cart {
        self.lock()
            .by_session
            .get(&session.number)
            .cloned()
            .unwrap_or_default()
    }

    /// Changes a cart in one step.
    fn change(&self, session: Session, line: Line, change: impl FnOnce(&mut Cart, Line)) -> Cart {
        let mut kept = self.lock();
        if !kept.by_session.contains_key(&session.number) {
            kept.oldest_first.push_back(session.number);
            if kept.oldest_first.len() > CARTS
                && let Some(oldest) = kept.oldest_first.pop_front()
            {
                let gone = kept.by_session.remove(&oldest).unwrap_or_default();
                self.demand().less(&gone);
            }
        }
        let cart = kept.by_session.entry(session.number).or_default();
        let (product, pieces) = (line.product, line.quantity);
        change(cart, line);
        self.demand().more(product, pieces);
        cart.clone()
    }

    /// Gives the cart away.
    pub(crate) fn take(&self, session: Session) -> Cart {
        let mut kept = self.lock();
        let cart = kept.by_session.remove(&session.number).unwrap_or_default();
        self.demand().less(&cart);
        cart
    }

    pub(crate) fn forget(&self, session: Session, defects: &Defects) {
        if defects.on(Defect::Deadlock) {
            // The other way round than everybody else, and the supplier is told in between.
            let mut wanted = self.demand();
            tell_supplier(&wanted);
            let cart = self.lock().by_session.remove(&session.number);
            wanted.less(&cart.unwrap_or_default());
        } else {
            self.take(session);
        }
    }
}

pub(crate) async fn show(State(shop): State<Arc<Shop>>, session: Session) -> Json<Cart> {
    Json(shop.carts.get(session))
}

pub(crate) async fn clear(State(shop): State<Arc<Shop>>, session: Session) -> Json<Value> {
    shop.carts.forget(session, &shop.defects);
    Json(json!({ "lines": [] }))
}

#[derive(Deserialize)]
pub(crate) struct Wanted {
    product: u32,
    quantity: u32,
}

pub(crate) async fn add(
    State(shop): State<Arc<Shop>>,
    session: Session,
    Json(wanted): Json<Wanted>,
) -> Result<(StatusCode, Json<Cart>), Refusal> {
    if !(1..=QUANTITY).contains(&wanted.quantity) {
        return Err(Refusal::Wrong(format!("quantity is to be 1 to {QUANTITY}")));
    }
    let product = shop.catalogue.product(wanted.product)?.id;
    if shop.stock.lock().await.of(product) < wanted.quantity {
        return Err(Refusal::Conflict(format!("product {product} is sold out")));
    }
    let before = shop.carts.get(session);
    if before.lines.len() >= LINES {
        return Err(Refusal::Conflict(format!("a cart holds {LINES} lines")));
    }
    let price_cents = blocking(&shop, move |shop| Ok(shop.store.price_cents(product)?)).await?;
    let line = Line {
        product,
        quantity: wanted.quantity,
        price_cents,
    };
    let more = price_cents * u64::from(line.quantity);
    let careless = shop.defects.on(Defect::Race);
    let cart = shop.carts.change(session, line, |cart, line| {
        cart.add(line);
        // Whoever else added something while this call waited for the price is forgotten in the sum.
        let had = if careless {
            before.total_cents
        } else {
            cart.total_cents
        };
        cart.total_cents = had + more;
    });
    Ok((StatusCode::CREATED, Json(cart)))
}
