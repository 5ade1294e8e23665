//! What a thread was told and has not looked at yet.

use std::cell::RefCell;
use std::collections::VecDeque;

use cohort_model::At;
use tokio::sync::Notify;

use crate::protocol::SideOrder;

/// What a thread is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// The hand-off protocol.
    Side(Box<SideOrder>),
    /// Iterate until then.
    Free(At),
    /// So many more iterations.
    Count(u64),
    /// Begin the iteration of this number in its scenario, now.
    Begin(u64),
    /// There may be permits in the scenario's pool, or the instance has moved: look again.
    Look,
    /// End, at the latest after so many microseconds.
    Stop(u64),
}

/// Orders in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    orders: RefCell<VecDeque<Order>>,
    came: Notify,
}

impl Mailbox {
    pub(crate) fn put(&self, order: Order) {
        self.orders.borrow_mut().push_back(order);
        self.came.notify_one();
    }

    pub(crate) fn take(&self) -> Option<Order> {
        self.orders.borrow_mut().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.orders.borrow().is_empty()
    }

    /// Until there is an order. Safe to cancel.
    pub(crate) async fn wait(&self) {
        while self.is_empty() {
            self.came.notified().await;
        }
    }
}
