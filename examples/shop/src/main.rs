//! A small shop server with planted defects that are switched on one by one.

fn main() {}
