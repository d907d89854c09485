//! Squall beside httparse and hyper: each difference has a row in docs/differences.md.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| squall_http_fuzz::differential(data));
