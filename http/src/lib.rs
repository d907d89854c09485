//! A strict and fast HTTP/1.1 server on `squall-reactor`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

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
mod trailers;

mod protocol;
mod buffer;
mod content;
mod slots;
mod deadline;
mod departure;
mod body;
mod request;
mod response;
mod router;
mod watch;
mod send;
mod app;
mod answer;
mod exchange;
mod drain;
mod connection;
mod stats;
mod server;

pub mod stream;
pub mod timeout;
pub mod sse;
pub mod proxy;
pub mod access_log;
pub mod metrics;
mod conditional;
pub mod files;
pub mod upgrade;
#[cfg(feature = "http")]
pub mod convert;

pub use app::Refusal;
pub use body::{Body, BodyError};
pub use content::Produce;
pub use departure::Left;
pub use error::Error;
pub use limits::Limits;
pub use method::Method;
pub use request::Request;
pub use response::Response;
pub use router::{RouteError, Router};
pub use server::{Server, Serving};
pub use stats::ServerStats;
pub use status::StatusCode;
pub use target::TargetForm;
pub use trailers::Trailers;
pub use watch::Fin;

/// The examples of the package's own page compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
