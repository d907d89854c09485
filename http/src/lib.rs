//! A strict and fast HTTP/1.1 server on `squall-reactor`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod grammar;
mod method;
mod status;
mod error;
mod limits;
pub mod headers;
mod target;
pub mod head;
pub mod framing;
pub mod chunked;
pub mod date;
pub mod encode;

pub use error::Error;
pub use limits::Limits;
pub use method::Method;
pub use status::StatusCode;
pub use target::TargetForm;
