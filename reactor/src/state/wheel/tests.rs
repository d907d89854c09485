//! The wheel against a sorted list, and its corners one by one.

use std::collections::BTreeMap;

use super::*;

/// The obvious twin: timers sorted by (tick, insertion).
#[derive(Default)]
struct Sorted {
    now_tick: u64,
    next_seq: u64,
    pending: BTreeMap<(u64, u64), u64>,
    due: BTreeMap<(u64, u64), u64>,
    places: BTreeMap<u64, (u64, u64)>,
}

impl Sorted {
    fn insert(&mut self, deadline_tick: u64, target: u64) {
        let place = (deadline_tick.max(self.now_tick), self.next_seq);
        self.next_seq += 1;
        self.pending.insert(place, target);
        self.places.insert(target, place);
    }

    fn cancel(&mut self, target: u64) -> Option<u64> {
        let place = self.places.remove(&target)?;
        self.pending.remove(&place).or_else(|| self.due.remove(&place))
    }

    fn reset(&mut self, target: u64, deadline_tick: u64) -> bool {
        let lives = self.cancel(target).is_some();
        if lives {
            self.insert(deadline_tick, target);
        }
        lives
    }

    fn advance(&mut self, now_tick: u64) {
        self.now_tick = self.now_tick.max(now_tick);
        let rest = match self.now_tick.checked_add(1) {
            Some(after) => self.pending.split_off(&(after, 0)),
            None => BTreeMap::new(),
        };
        self.due.append(&mut std::mem::replace(&mut self.pending, rest));
    }

    fn pop_due(&mut self) -> Option<u64> {
        let (_, target) = self.due.pop_first()?;
        self.places.remove(&target);
        Some(target)
    }

    fn next_deadline(&self) -> Option<u64> {
        let first = self.due.first_key_value().or_else(|| self.pending.first_key_value());
        first.map(|((tick, _), _)| *tick)
    }
}

/// xorshift64*: a seed replays a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A stretch of time: often small, at slot borders, now and then beyond the wheel's span.
    fn stretch(&mut self) -> u64 {
        match self.below(10) {
            0 => 0,
            1..=4 => self.below(130),
            5 | 6 => self.below(60_000),
            7 => (1 << self.below(42)) - 1 + self.below(3),
            8 => 64_u64.pow(self.below(7) as u32) * self.below(64),
            _ => self.below(1 << 45),
        }
    }
}

/// Runs wheel and twin side by side. A wheel that loses, repeats, reorders or mistimes a timer
/// differs from the sorted list.
fn compare(seed: u64, steps: u32, small: bool) {
    let mut random = Random(seed);
    let (mut wheel, mut sorted) = (Wheel::new(), Sorted::default());
    let mut keys: Vec<(u64, TimerKey)> = Vec::new();
    for step in 0..steps {
        let at = format!("seed {seed}, step {step}");
        let stretch = if small { random.below(5_000) } else { random.stretch() };
        match random.below(12) {
            0..=4 => {
                let deadline = match random.below(40) {
                    0 => u64::MAX,
                    1 => sorted.now_tick.saturating_sub(stretch),
                    _ => sorted.now_tick.saturating_add(stretch),
                };
                let target = sorted.next_seq << 20 | u64::from(step);
                keys.push((target, wheel.insert(deadline, target)));
                sorted.insert(deadline, target);
            }
            5 | 6 if !keys.is_empty() => {
                let (target, key) = keys[random.below(keys.len() as u64) as usize];
                assert_eq!(wheel.cancel(key), sorted.cancel(target), "{at}");
            }
            7 if !keys.is_empty() => {
                let (target, key) = keys[random.below(keys.len() as u64) as usize];
                let deadline = sorted.now_tick.saturating_add(stretch);
                assert_eq!(wheel.reset(key, deadline), sorted.reset(target, deadline), "{at}");
            }
            8 | 9 => {
                let now = match (random.below(4), sorted.next_deadline()) {
                    (0, Some(deadline)) => deadline,
                    (1, Some(deadline)) => deadline.saturating_sub(1),
                    _ => sorted.now_tick.saturating_add(stretch),
                };
                // A jump to the end of time once would leave nothing to compare.
                let now = if now > u64::MAX / 2 { sorted.now_tick } else { now };
                wheel.advance(now);
                sorted.advance(now);
            }
            _ => {
                for _ in 0..random.below(6) {
                    assert_eq!(wheel.pop_due().map(|due| due.1), sorted.pop_due(), "{at}");
                }
            }
        }
        assert_eq!(wheel.next_deadline(), sorted.next_deadline(), "{at}");
        assert_eq!(wheel.len(), sorted.places.len(), "{at}");
        assert_eq!(wheel.has_due(), !sorted.due.is_empty(), "{at}");
        if let Some((target, key)) = keys.last() {
            assert_eq!(wheel.deadline(*key), sorted.places.get(target).map(|p| p.0), "{at}");
        }
        if step.is_multiple_of(64) {
            let mut deadlines: Vec<u64> = wheel.deadlines().collect();
            deadlines.sort_unstable();
            let mut places: Vec<u64> = sorted.places.values().map(|place| place.0).collect();
            places.sort_unstable();
            assert_eq!(deadlines, places, "{at}");
        }
    }
    wheel.advance(u64::MAX);
    sorted.advance(u64::MAX);
    while let Some(target) = sorted.pop_due() {
        assert_eq!(wheel.pop_due().map(|due| due.1), Some(target), "seed {seed}, at the end");
    }
    assert!(wheel.pop_due().is_none() && wheel.is_empty(), "seed {seed}, at the end");
}

fn drain(wheel: &mut Wheel, now_tick: u64) -> Vec<u64> {
    wheel.advance(now_tick);
    std::iter::from_fn(|| wheel.pop_due()).map(|(_, target)| target).collect()
}

#[test]
fn law_10_random_timers_fire_as_in_a_sorted_list() {
    for seed in 1..=400 {
        compare(seed, 500, false);
    }
    compare(1_000_001, 50_000, false);
}

#[test]
fn law_10_many_equal_and_close_timers_fire_as_in_a_sorted_list() {
    for seed in 1..=100 {
        compare(seed, 1_000, true);
    }
}

// One of each pair is inserted when the deadline is far, the other when it is near: a cascade that
// put the far ones behind the near ones would turn them round.
#[test]
fn law_10_equal_deadlines_fire_in_order_of_insertion_across_cascades() {
    let deadline = 64_u64.pow(4) * 3 + 64_u64.pow(3) * 2 + 64 * 7 + 5;
    let mut wheel = Wheel::new();
    let mut target = 0;
    let mut step = deadline;
    while step > 0 {
        wheel.advance(deadline - step);
        for _ in 0..3 {
            wheel.insert(deadline, target);
            target += 1;
        }
        step /= 3;
    }
    assert_eq!(drain(&mut wheel, deadline - 1), []);
    assert_eq!(drain(&mut wheel, deadline), (0..target).collect::<Vec<_>>());
}

#[test]
fn law_10_a_timer_is_not_due_one_tick_early_and_is_due_on_its_tick() {
    for bits in 0..64 {
        for deadline in [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1] {
            let mut wheel = Wheel::new();
            wheel.insert(deadline, 7);
            assert_eq!(wheel.next_deadline(), Some(deadline));
            if deadline > 0 {
                assert_eq!(drain(&mut wheel, deadline - 1), [], "{deadline}");
                assert_eq!(wheel.next_deadline(), Some(deadline));
            }
            assert_eq!(drain(&mut wheel, deadline), [7], "{deadline}");
        }
    }
}

// A wheel that answered with the start of a slot would wake the loop once per level.
#[test]
fn law_08_a_single_timer_is_one_wait_however_far_it_is() {
    for deadline in [5_000, 123_456, 64_u64.pow(5) + 1, 64_u64.pow(6) * 5 + 17, u64::MAX] {
        let mut wheel = Wheel::new();
        wheel.advance(3);
        wheel.insert(deadline, 1);
        let mut waits = 0;
        while let Some(next) = wheel.next_deadline() {
            waits += 1;
            drain(&mut wheel, next);
        }
        assert_eq!(waits, 1, "{deadline}");
    }
}

// A timer that sets itself again for "now" must let the turn end.
#[test]
fn law_07_a_timer_inserted_for_the_past_is_due_at_the_next_advance_only() {
    let mut wheel = Wheel::new();
    wheel.insert(10, 1);
    wheel.advance(10);
    wheel.insert(10, 2);
    wheel.insert(3, 3);
    assert_eq!(wheel.pop_due().map(|due| due.1), Some(1));
    assert!(!wheel.has_due());
    assert_eq!(wheel.next_deadline(), Some(10));
    assert_eq!(drain(&mut wheel, 10), [2, 3]); // the clock stands still
    assert_eq!(drain(&mut wheel, 10), []);
}

#[test]
fn law_10_a_clock_that_goes_back_changes_nothing() {
    let mut wheel = Wheel::new();
    wheel.advance(1_000);
    let key = wheel.insert(1_001, 1);
    assert_eq!(drain(&mut wheel, 5), []);
    assert_eq!(wheel.deadline(key), Some(1_001));
    assert_eq!(drain(&mut wheel, 1_001), [1]);
}

#[test]
fn law_10_a_due_timer_can_be_cancelled_or_moved_before_it_is_popped() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> = (0..5).map(|target| wheel.insert(10, target)).collect();
    wheel.advance(20);
    assert_eq!(wheel.cancel(keys[0]), Some(0));
    assert_eq!(wheel.cancel(keys[2]), Some(2));
    assert_eq!(wheel.cancel(keys[4]), Some(4));
    assert!(wheel.reset(keys[1], 30));
    assert_eq!(wheel.pop_due(), Some((keys[3], 3)));
    assert_eq!((wheel.pop_due(), wheel.len()), (None, 1));
    assert_eq!(wheel.next_deadline(), Some(30));
    assert_eq!(drain(&mut wheel, 30), [1]);
}

// The place is taken by the next timer: the old key must not reach it.
#[test]
fn law_10_a_key_is_dead_after_its_timer_fired_or_was_cancelled() {
    let mut wheel = Wheel::new();
    let cancelled = wheel.insert(10, 1);
    assert_eq!(wheel.cancel(cancelled), Some(1));
    let fired = wheel.insert(10, 2);
    assert_eq!(drain(&mut wheel, 10), [2]);
    let live = wheel.insert(20, 3);
    assert_eq!(wheel.entries.len(), 1);
    for dead in [cancelled, fired] {
        assert_eq!(wheel.cancel(dead), None);
        assert_eq!(wheel.deadline(dead), None);
        assert!(!wheel.reset(dead, 5));
    }
    assert_eq!(wheel.deadline(live), Some(20));
}

// Serials that started again would bring a dead key back to life.
#[test]
fn law_10_a_place_is_retired_when_its_serials_are_used_up() {
    let mut wheel = Wheel::new();
    let first = wheel.insert(1, 1);
    wheel.cancel(first);
    wheel.entries[0].serial = u32::MAX;
    let last = wheel.insert(1, 2);
    assert_eq!(last.slot, first.slot);
    assert_eq!(wheel.cancel(last), Some(2));
    let other = wheel.insert(1, 3);
    assert_ne!(other.slot, first.slot);
    assert_eq!((wheel.cancel(first), wheel.cancel(last)), (None, None));
}

#[test]
fn law_10_a_jump_over_ages_fires_everything_in_order() {
    let mut wheel = Wheel::new();
    let mut random = Random(42);
    let mut expected: Vec<_> =
        (0..10_000).map(|i| (random.next() >> random.below(64), i)).collect();
    for (deadline, target) in &expected {
        wheel.insert(*deadline, *target);
    }
    expected.sort();
    assert_eq!(wheel.next_deadline(), Some(expected[0].0));
    let expected: Vec<_> = expected.into_iter().map(|timer| timer.1).collect();
    assert_eq!(drain(&mut wheel, u64::MAX), expected);
    wheel.insert(0, 1);
    wheel.insert(u64::MAX, 2);
    assert_eq!(drain(&mut wheel, u64::MAX), [1, 2]);
}

// Fixed timeouts arrive in order, and refreshing takes the earliest out each time: the list's
// order answers without a search, also when every refresh takes the minimum.
#[test]
fn law_08_the_minimum_stays_exact_while_the_earliest_is_refreshed() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> = (0..1_000).map(|i| wheel.insert(60_000 + i, i)).collect();
    for round in 1..5 {
        for (i, key) in (0..).zip(&keys) {
            assert_eq!(wheel.next_deadline(), Some(60_000 * round + i));
            assert!(wheel.reset(*key, 60_000 * (round + 1) + i));
        }
    }
}

/// A forked child clears its wheel, and its new timers lie in the places of the old ones.
#[test]
fn a_wheel_prints_its_time_and_what_is_next() {
    let mut wheel = Wheel::new();
    wheel.advance(7);
    wheel.insert(70, 1);
    assert_eq!(format!("{wheel:?}"), "Wheel { now_tick: 7, len: 1, next: Some(70) }");
}

#[test]
fn law_02_a_key_from_before_a_clear_means_nothing_after_it() {
    let mut wheel = Wheel::new();
    let deadlines = [0, 5, 70, 5_000, 400_000, 1 << 40];
    let old = deadlines.map(|deadline| wheel.insert(deadline, deadline));
    wheel.advance(5); // two are set aside, and not popped
    wheel.clear();
    assert_eq!((wheel.len(), wheel.next_deadline(), wheel.has_due()), (0, None, false));
    let new = deadlines.map(|deadline| wheel.insert(deadline + 6, deadline));
    for key in old {
        assert_eq!(wheel.cancel(key), None);
        assert!(!wheel.reset(key, 9) && wheel.deadline(key).is_none());
    }
    assert_eq!((wheel.len(), wheel.next_deadline()), (new.len(), Some(6)));
    wheel.advance(1 << 41);
    let popped: Vec<u64> = std::iter::from_fn(|| wheel.pop_due()).map(|(_, word)| word).collect();
    assert_eq!(popped, deadlines);
}
