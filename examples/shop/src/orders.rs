//! Buying: from a cart to an order.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::Refusal;
use crate::cart::Line;
use crate::coupon;
use crate::defects::Defect;
use crate::session::Session;
use crate::shop::{Shop, blocking};

/// What was bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub customer: u32,
    pub lines: Vec<Line>,
    pub total_cents: u64,
    /// The bank's number for the payment.
    pub payment: u64,
}

#[derive(Deserialize)]
pub(crate) struct Checkout {
    #[serde(default)]
    coupon: String,
}

pub(crate) async fn checkout(
    State(shop): State<Arc<Shop>>,
    session: Session,
    Json(checkout): Json<Checkout>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let cart = shop.carts.take(session);
    if cart.lines.is_empty() {
        return Err(Refusal::Conflict("the cart is empty".into()));
    }
    let saved = match shop.defects.on(Defect::Crash) {
        true => coupon::percent_by_bytes(&checkout.coupon),
        false => coupon::percent(&checkout.coupon),
    };
    let total_cents = cart.total_cents * (100 - saved.unwrap_or(0)) / 100;

    let mut stock = shop.stock.lock().await;
    for line in &cart.lines {
        stock.take(line.product, line.quantity);
    }
    let still_locked = if shop.defects.on(Defect::LockAcrossIo) {
        Some(stock)
    } else {
        drop(stock);
        None
    };
    let payment = shop.bank.charge(total_cents).await?;
    drop(still_locked);

    let order = Order {
        customer: session.customer,
        lines: cart.lines,
        total_cents,
        payment,
    };
    let id = blocking(&shop, move |shop| {
        Ok(shop.store.place(&order, &shop.catalogue)?)
    })
    .await?;
    Ok((
        StatusCode::CREATED,
        Json(json!({ "order": id, "total_cents": total_cents, "saved_percent": saved })),
    ))
}

pub(crate) async fn one(
    State(shop): State<Arc<Shop>>,
    session: Session,
    Path(id): Path<u64>,
) -> Result<Json<Order>, Refusal> {
    Ok(Json(found(&shop, session, id).await?))
}

/// An order of this customer.
pub(crate) async fn found(shop: &Arc<Shop>, session: Session, id: u64) -> Result<Order, Refusal> {
    let order = blocking(shop, move |shop| Ok(shop.store.order(id)?)).await?;
    let own = order.filter(|order| order.customer == session.customer);
    own.ok_or_else(|| Refusal::NotFound(format!("order {id}")))
}
