//! Chunked bodies: one outcome for all splits, that of the reference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use squall_http_fuzz::properties::chunked::chunked;

fuzz_target!(|data: &[u8]| squall_http_fuzz::run(data, chunked));
