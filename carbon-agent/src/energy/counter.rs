//! An energy counter that wraps: readings go in, what was counted between them comes out.
//!
//! The counter itself is 32 bits wide in most processors and comes to us as microjoules that return to zero past
//! `max_energy_range_uj`. Between two readings it counted
//!
//! ```text
//! delta = now − last                   where now ≥ last
//! delta = now + modulus − last         where now < last (one wrap)
//! ```
//!
//! Two readings cannot tell one wrap from two. The type therefore judges each delta against the power that the meter
//! can plausibly have seen, and never books energy that nothing but a doubtful reading vouches for.

use crate::units::{MicroJoules, Nanos};
use std::num::NonZeroU64;

/// What a reading says, given the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first reading (since opening, or since [`WrappingCounter::forget`]): a base to count from, no energy yet.
    First,
    /// Energy counted since the reading before, at `begin`.
    Advanced { energy: MicroJoules, begin: Nanos },
    /// The reading cannot be taken at its word; `energy` is what remains after clamping, never more than is certain.
    Clamped { energy: MicroJoules, begin: Nanos, why: Doubt },
}

/// Why a reading was clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The counter moved faster than the power bound allows: a glitch. Nothing is booked.
    TooFast,
    /// It moved backwards, and a wrap would mean more power than the bound allows: it was reset (suspend, a reloaded
    /// driver). What it shows since the reset is booked, where that is plausible.
    Reset,
    /// So much time passed that at the power seen before it went round more than once. The visible part is booked.
    ManyWraps,
}

impl Doubt {
    /// In words that stay the same from reading to reading, so that a log can say it once.
    pub fn words(self) -> &'static str {
        match self {
            Doubt::TooFast => "jumped further than the hardware can spend; nothing was booked for that reading",
            Doubt::Reset => "went backwards without a wrap (reset); only what it counted since was booked",
            Doubt::ManyWraps => {
                "was left unread for so long that it may have wrapped more than once; only the visible part was booked"
            }
        }
    }
}

/// One wrapping energy counter.
#[derive(Clone, Debug)]
pub struct WrappingCounter {
    /// The value after which it returns to zero (`max_energy_range_uj`); `None`: it does not wrap.
    modulus: Option<NonZeroU64>,
    /// No plausible delta exceeds this power.
    bound: MicroWatts,
    /// The highest power seen so far: how fast this very meter is known to run.
    peak: MicroWatts,
    last: Option<(MicroJoules, Nanos)>,
    clamped: u64,
}

/// Power in microwatts: microjoules a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct MicroWatts(pub u64);

impl MicroWatts {
    pub fn from_watts(watts: f64) -> Self {
        Self((watts * 1e6).round().max(0.0) as u64)
    }

    pub fn watts(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Energy at this power over `duration`, rounded down to whole microjoules.
    pub fn over(self, duration: Nanos) -> MicroJoules {
        let energy = u128::from(self.0) * u128::from(duration.0) / 1_000_000_000;
        MicroJoules(u64::try_from(energy).unwrap_or(u64::MAX))
    }

    /// Mean power of `energy` over `duration`; `None` for an empty duration.
    pub fn mean(energy: MicroJoules, duration: Nanos) -> Option<Self> {
        let power = (u128::from(energy.0) * 1_000_000_000).checked_div(u128::from(duration.0))?;
        Some(Self(u64::try_from(power).unwrap_or(u64::MAX)))
    }
}

/// Readings closer together than this say little about power: the hardware updates its counters about every
/// millisecond (Intel SDM vol. 3B, "Package RAPL Domain"), so a short gap may see two updates or none.
const SHORTEST_JUDGED: Nanos = Nanos(5_000_000);

impl WrappingCounter {
    /// `modulus` is `max_energy_range_uj`; `bound` is more than the metered part can ever draw.
    pub fn new(modulus: Option<NonZeroU64>, bound: MicroWatts) -> Self {
        Self { modulus, bound, peak: MicroWatts(0), last: None, clamped: 0 }
    }

    /// Takes a reading of `value` at `at`.
    pub fn advance(&mut self, value: MicroJoules, at: Nanos) -> Step {
        let Some((last, begin)) = self.last.replace((value, at)) else {
            return Step::First;
        };
        // A clock that did not move forward leaves the base where it was in time; the energy still counts.
        let elapsed = Nanos(at.0.saturating_sub(begin.0));
        let judged = Nanos(elapsed.0.max(SHORTEST_JUDGED.0));
        let limit = self.bound.over(judged);
        let step = if value >= last {
            let energy = MicroJoules(value.0 - last.0);
            if energy > limit {
                Step::Clamped { energy: MicroJoules(0), begin, why: Doubt::TooFast }
            } else if self.may_have_wrapped_more(elapsed, energy.0) {
                Step::Clamped { energy, begin, why: Doubt::ManyWraps }
            } else {
                Step::Advanced { energy, begin }
            }
        } else {
            match self.wrapped(value, last) {
                Some(energy) if energy <= limit => {
                    if self.may_have_wrapped_more(elapsed, energy.0) {
                        Step::Clamped { energy, begin, why: Doubt::ManyWraps }
                    } else {
                        Step::Advanced { energy, begin }
                    }
                }
                _ => {
                    let energy = if value <= limit { value } else { MicroJoules(0) };
                    Step::Clamped { energy, begin, why: Doubt::Reset }
                }
            }
        };
        match step {
            Step::Advanced { energy, .. } if elapsed >= SHORTEST_JUDGED => {
                self.peak = self.peak.max(MicroWatts::mean(energy, elapsed).unwrap_or_default());
            }
            Step::Clamped { .. } => self.clamped += 1,
            _ => {}
        }
        step
    }

    /// The last reading and the highest power seen, to count on from in another process.
    pub fn standing(&self) -> Option<(MicroJoules, Nanos, MicroWatts)> {
        self.last.map(|(value, at)| (value, at, self.peak))
    }

    /// Counts on from the standing that another process left.
    pub fn resume(&mut self, value: MicroJoules, at: Nanos, peak: MicroWatts) {
        self.last = Some((value, at));
        self.peak = self.peak.max(peak);
    }

    /// Forgets the last reading: the next is a first one. For a counter whose identity is in doubt.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// How many readings were clamped so far.
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Energy across one wrap; `None` where the counter does not wrap or `last` was beyond its range.
    fn wrapped(&self, value: MicroJoules, last: MicroJoules) -> Option<MicroJoules> {
        let modulus = self.modulus?.get();
        Some(MicroJoules(modulus.checked_sub(last.0)?.checked_add(value.0)?))
    }

    /// Whether a whole further round on top of `seen` microjoules is within the power this meter is known to reach.
    fn may_have_wrapped_more(&self, elapsed: Nanos, seen: u64) -> bool {
        self.modulus.is_some_and(|modulus| {
            // The peak of means over a second understates what follows; a quarter more is a fair margin.
            let reach = MicroWatts(self.peak.0.saturating_add(self.peak.0 / 4)).over(elapsed);
            reach.0 >= modulus.get().saturating_add(seen)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;
    const BOUND: MicroWatts = MicroWatts(1_000_000_000); // 1 kW

    fn counter(modulus: u64) -> WrappingCounter {
        WrappingCounter::new(NonZeroU64::new(modulus), BOUND)
    }

    /// Feeds `(value µJ, second)` readings and returns what each booked; `None` is the first reading.
    fn booked(counter: &mut WrappingCounter, readings: &[(u64, u64)]) -> Vec<Option<(u64, Option<Doubt>)>> {
        readings
            .iter()
            .map(|&(value, second)| match counter.advance(MicroJoules(value), Nanos(second * SECOND)) {
                Step::First => None,
                Step::Advanced { energy, .. } => Some((energy.0, None)),
                Step::Clamped { energy, why, .. } => Some((energy.0, Some(why))),
            })
            .collect()
    }

    #[test]
    fn the_first_reading_books_nothing() {
        let mut counter = counter(1_000_000_000);
        assert_eq!(counter.advance(MicroJoules(123_456), Nanos(0)), Step::First);
        assert_eq!(
            counter.advance(MicroJoules(123_457), Nanos(SECOND)),
            Step::Advanced { energy: MicroJoules(1), begin: Nanos(0) }
        );
    }

    #[test]
    fn one_wrap_is_counted_through() {
        let readings = [(262_000_000_000, 0), (100_000_000, 1)];
        assert_eq!(booked(&mut counter(262_143_328_850), &readings), [None, Some((243_328_850, None))]);
    }

    #[test]
    fn a_jump_beyond_the_bound_books_nothing_and_the_count_goes_on() {
        let readings = [(0, 0), (5_000_000_000, 1), (5_020_000_000, 2)];
        let expected = [None, Some((0, Some(Doubt::TooFast))), Some((20_000_000, None))];
        let mut counter = counter(262_143_328_850);
        assert_eq!(booked(&mut counter, &readings), expected);
        assert_eq!(counter.clamped(), 1);
    }

    #[test]
    fn a_reset_is_not_a_wrap() {
        // A wrap would have meant 260 kJ in a second; the counter began anew and has counted 7 J since.
        let readings = [(2_000_000_000, 0), (7_000_000, 1), (27_000_000, 2)];
        let expected = [None, Some((7_000_000, Some(Doubt::Reset))), Some((20_000_000, None))];
        assert_eq!(booked(&mut counter(262_143_328_850), &readings), expected);
    }

    #[test]
    fn a_counter_without_range_takes_every_step_back_for_a_reset() {
        let mut counter = WrappingCounter::new(None, BOUND);
        assert_eq!(booked(&mut counter, &[(9, 0), (4, 1)]), [None, Some((4, Some(Doubt::Reset)))]);
    }

    #[test]
    fn more_than_one_wrap_is_called_doubtful() {
        // 30 W round a 50 J range: one second at a time is fine, five seconds may hide three rounds.
        let readings = [(0, 0), (30_000_000, 1), (10_000_000, 2), (10_000_000, 7)];
        let expected = [None, Some((30_000_000, None)), Some((30_000_000, None)), Some((0, Some(Doubt::ManyWraps)))];
        assert_eq!(booked(&mut counter(50_000_000), &readings), expected);
    }

    #[test]
    fn a_reading_beyond_the_range_cannot_underflow() {
        let readings = [(60_000_000, 0), (10_000_000, 1)];
        assert_eq!(booked(&mut counter(50_000_000), &readings), [None, Some((10_000_000, Some(Doubt::Reset)))]);
    }

    #[test]
    fn two_readings_at_one_moment_are_safe() {
        let mut counter = counter(1_000_000_000);
        counter.advance(MicroJoules(5), Nanos(SECOND));
        assert!(matches!(counter.advance(MicroJoules(5), Nanos(SECOND)), Step::Advanced { .. }));
        assert!(matches!(counter.advance(MicroJoules(6), Nanos(0)), Step::Advanced { .. }));
    }

    #[test]
    fn power_and_energy_agree() {
        assert_eq!(MicroWatts(20_000_000).over(Nanos(SECOND / 2)), MicroJoules(10_000_000));
        assert_eq!(MicroWatts::mean(MicroJoules(10_000_000), Nanos(SECOND / 2)), Some(MicroWatts(20_000_000)));
        assert_eq!(MicroWatts::mean(MicroJoules(1), Nanos(0)), None);
    }

    proptest! {
        /// Whatever the true counter does within the bounds, the sum of the steps is what it counted.
        #[test]
        fn steps_sum_to_the_truth(start in 0u64..50_000_000, steps in prop::collection::vec(0u64..40_000_000, 1..200)) {
            let modulus = 50_000_000u64;
            let mut counter = counter(modulus);
            let (mut truth, mut sum) = (start, 0);
            counter.advance(MicroJoules(truth % modulus), Nanos(0));
            for (second, step) in steps.iter().enumerate() {
                truth += step;
                match counter.advance(MicroJoules(truth % modulus), Nanos((second as u64 + 1) * SECOND)) {
                    Step::Advanced { energy, .. } | Step::Clamped { energy, .. } => sum += energy.0,
                    Step::First => unreachable!("only the first reading is one"),
                }
            }
            prop_assert_eq!(sum, truth - start);
        }

        /// Any readings at all: no panic, and nothing above the bound is ever booked.
        #[test]
        fn nothing_implausible_is_booked(readings in prop::collection::vec((any::<u64>(), 0u64..u64::MAX / 2), 1..50)) {
            let mut counter = counter(262_143_328_850);
            let mut previous = None;
            for (value, at) in readings {
                if let Step::Advanced { energy, begin } | Step::Clamped { energy, begin, .. } =
                    counter.advance(MicroJoules(value), Nanos(at))
                {
                    prop_assert_eq!(Some(begin), previous);
                    let elapsed = Nanos(at.saturating_sub(begin.0).max(SHORTEST_JUDGED.0));
                    prop_assert!(energy <= BOUND.over(elapsed));
                }
                previous = Some(Nanos(at));
            }
        }
    }
}
