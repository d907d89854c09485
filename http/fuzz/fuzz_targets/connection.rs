//! A whole connection: events and answers of the pure functions, however the bytes are split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use squall_http_fuzz::properties::connection::connection;

fuzz_target!(|data: &[u8]| squall_http_fuzz::run(data, connection));
