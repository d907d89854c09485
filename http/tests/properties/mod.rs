//! What must hold for every string of bytes, as functions that panic where it does not.
//!
//! The one idea: a property is written once and fed twice, by random input in the tests beside this
//! folder and by a fuzzer in `fuzz/`. Each compares the crate, which reads as fast as it can and as
//! the bytes come, with the reference, which reads slowly and has them all; and it compares the
//! crate with itself under other splits of the same bytes. Next: `head`.

// Each binary compiles this folder and uses a part of it.
#![allow(dead_code)]

pub mod chunked;
pub mod connection;
pub mod encode;
pub mod head;

use squall_http::Limits;

/// Where bytes are split, and under which limits they are read: both from a number that the
/// caller prints, or that a fuzzer chooses.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub seed: u32,
}

impl Conditions {
    /// Takes the seed from the front of a fuzzer's bytes.
    pub fn split(data: &[u8]) -> Option<(Conditions, &[u8])> {
        let (seed, rest) = data.split_first_chunk()?;
        Some((Conditions { seed: u32::from_le_bytes(*seed) }, rest))
    }

    /// Some places in `0..=len`, in their order. Every fourth seed splits at every byte, unless
    /// that would take too long.
    pub fn cuts(self, len: usize) -> Vec<usize> {
        if self.seed.is_multiple_of(4) && len <= 2048 {
            return (0..=len).collect();
        }
        let mut random = Random(u64::from(self.seed));
        let mut cuts: Vec<usize> = (0..self.seed % 7).map(|_| random.below(len + 1)).collect();
        cuts.sort_unstable();
        cuts
    }

    /// The defaults, or ones so small that short input meets them.
    pub fn limits(self) -> Limits {
        let mut limits = Limits::default();
        if self.seed & 0x8000_0000 == 0 {
            return limits;
        }
        let mut random = Random(!u64::from(self.seed));
        limits.max_head_bytes = random.below(200);
        limits.max_fields = random.below(6);
        limits.max_target_bytes = random.below(40);
        limits.max_empty_lines = random.below(4);
        limits.max_body_bytes = random.below(60) as u64;
        limits.max_chunk_line_bytes = random.below(40);
        limits.max_chunk_extension_bytes = random.below(60);
        limits.max_trailer_bytes = random.below(80);
        limits.max_trailers = random.below(4);
        limits
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// One of them.
    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}
