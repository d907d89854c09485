//! A moment in four bytes, for what a snapshot tells.
//!
//! Each source and each task remembers when it was last heard of. Steps of 16 ms are fine enough to
//! read, last for two years before they wrap, and find room in what the slots pad anyway. Next:
//! `ready`.

/// Steps of 16 ticks since the reactor's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment(u32);

const STEP_BITS: u32 = 4;

impl Moment {
    /// Tick 0.
    pub const BEGINNING: Self = Self(0);

    /// The step that `tick` (a millisecond) is in.
    pub fn at(tick: u64) -> Self {
        Self((tick >> STEP_BITS) as u32)
    }

    /// Ticks from here to `later`, to a step; more than two years come out as the rest.
    pub fn ticks_until(self, later: Self) -> u64 {
        u64::from(later.0.wrapping_sub(self.0)) << STEP_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_moments_is_told_to_a_step_also_across_the_wrap() {
        assert_eq!(Moment::at(1000).ticks_until(Moment::at(1000 + 3600)), 3600);
        assert_eq!(Moment::at(15).ticks_until(Moment::at(16)), 16);
        let wrap = u64::from(u32::MAX) << 4;
        assert_eq!(Moment::at(wrap).ticks_until(Moment::at(wrap + 32)), 32);
    }
}
