//! The `pollgate` program.
fn main() {}
