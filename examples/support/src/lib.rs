//! What Squall's examples and tests share: everything around a server that is not the server.
//!
//! | module | gives |
//! |---|---|
//! | `args` | a command line with `--help` |
//! | `limits` | the soft limit of open files raised to the hard one |
//! | `proc` | what /proc says of a process: CPU per thread, switches, descriptors |
//! | `page` | a page of counters that processes share |
//! | `child` | children that die with us, and whole trees of them ended |
//! | `client` | a raw, blocking HTTP client with timeouts |
//! | `json` | text as a JSON string |
//! | `table` | a plain text table |
//!
//! The package is not published and depends on libc alone. Nothing in it knows Squall, so that
//! what it measures is measured from outside. Next: `args`.

#![warn(missing_docs)]

pub mod args;
pub mod limits;
pub mod proc;
pub mod page;
pub mod child;
pub mod client;
pub mod json;
pub mod table;
