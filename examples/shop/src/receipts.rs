//! Receipts: written as a file, as the printer wants it, and sent.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::answer::Refusal;
use crate::defects::Defect;
use crate::orders::{self, Order};
use crate::session::Session;
use crate::shop::{Shop, blocking};

/// Where they are written.
pub(crate) struct Receipts {
    dir: PathBuf,
    written: AtomicU64,
    /// [`Defect::DescriptorLeak`]: open, in case somebody wants to have one sent again.
    to_send_again: Mutex<Vec<File>>,
}

impl Receipts {
    pub(crate) fn open(data: &FilePath) -> std::io::Result<Receipts> {
        let dir = data.join("receipts");
        std::fs::create_dir_all(&dir)?;
        Ok(Receipts {
            dir,
            written: AtomicU64::new(0),
            to_send_again: Mutex::default(),
        })
    }

    /// The text, by way of the file.
    fn write(&self, id: u64, order: &Order, keep_open: bool) -> std::io::Result<String> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("order-{id}-{number}.txt"));
        let mut file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)?;
        writeln!(file, "Receipt for order {id}, customer-{}", order.customer)?;
        for line in &order.lines {
            let cents = line.price_cents * u64::from(line.quantity);
            writeln!(
                file,
                "{:>3} x product {:<6} {:>9} cents",
                line.quantity, line.product, cents
            )?;
        }
        writeln!(
            file,
            "paid {} cents, payment {}",
            order.total_cents, order.payment
        )?;
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        std::fs::remove_file(&path)?;
        if keep_open {
            self.to_send_again
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(file);
        }
        Ok(text)
    }
}

pub(crate) async fn receipt(
    State(shop): State<Arc<Shop>>,
    session: Session,
    Path(id): Path<u64>,
) -> Result<Response, Refusal> {
    let order = orders::found(&shop, session, id).await?;
    let keep_open = shop.defects.on(Defect::DescriptorLeak);
    let text = blocking(&shop, move |shop| {
        Ok(shop.receipts.write(id, &order, keep_open)?)
    })
    .await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
