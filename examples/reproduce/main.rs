//! The main job: see README.md.
fn main() {}
