//! Squall inside other loops, and other loops inside Squall: the code to copy.
//!
//! A guest is a descriptor to wait for, a deadline, and a turn that does not sleep:
//! `Reactor: AsFd`, `next_deadline()` and `turn(Some(Duration::ZERO))`. [`in_tokio`] and
//! [`in_calloop`] are hosts by edge and by level; `tests/` has both directions. A host that is another
//! Squall is in the workspace's `tests/embedding.rs`.

pub mod in_calloop;
pub mod in_tokio;
