//! Placeholder entry point until the part behind it lands.
fn main() {}
