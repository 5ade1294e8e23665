//! The shop as a process, called over its socket.

mod client;
mod defects;
mod endpoints;
mod weaknesses;
