//! Resource Allocator: what an instance is for, and what it may use. Pure.
//!
//! Two promises. The memory limits of all busy instances together never exceed the budget, so the
//! host cannot run out through us. And `cores` threads always run while there are tests, whatever
//! is measured, so adapting can be no worse than the fixed schedule in how much it keeps going.

mod cpu;
mod ledger;
mod memory;
mod need;
mod specialty;
mod transfer;

pub use cpu::{CpuRoom, Free, Stay, lanes_always};
pub use ledger::{Ledger, OverBudget};
pub use memory::{MEMORY_FLOOR, Promises};
pub use need::{Use, UseMeter, wanted};
pub use specialty::{allotment_weight, critical_us, is_preferred, specialty_for, specialty_found};
pub use transfer::{CHANGE_MAX, Claim, Resource, Transfer, spread, transfer};
