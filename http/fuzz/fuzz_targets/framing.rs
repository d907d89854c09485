//! What a head says of its body, its connection and its expectation, by the rules and again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use squall_http_fuzz::properties::head::framing;

fuzz_target!(|data: &[u8]| squall_http_fuzz::run(data, framing));
