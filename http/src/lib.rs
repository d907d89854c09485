//! A strict and fast HTTP/1.1 server on `squall-reactor`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
