//! The only caller of "now" and of the random generator, so that tests can set the time and repeat the dice.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{SubsecRound, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::domain::UtcTime;

/// Cheap to clone; clones show the same time.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    System,
    Manual(Box<Mutex<Manual>>),
}

struct Manual {
    now: UtcTime,
    random: StdRng,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &*self.0 {
            Source::System => "Clock(system)",
            Source::Manual(_) => "Clock(manual)",
        })
    }
}

impl Clock {
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// Stands still until [`Clock::advance`], and repeats its random bytes for the same seed.
    pub fn manual(now: UtcTime, seed: u64) -> Self {
        let manual = Manual { now: now.trunc_subsecs(6), random: StdRng::seed_from_u64(seed) };
        Self(Arc::new(Source::Manual(Box::new(Mutex::new(manual)))))
    }

    /// UTC, to the microsecond.
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn now(&self) -> UtcTime {
        match &*self.0 {
            Source::System => Utc::now().trunc_subsecs(6),
            Source::Manual(manual) => manual.lock().unwrap_or_else(PoisonError::into_inner).now,
        }
    }

    /// Moves a manual clock on; the system's clock does not care.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &*self.0 {
            manual.lock().unwrap_or_else(PoisonError::into_inner).now += by;
        }
    }

    /// Bytes that nobody can guess (of a manual clock: that follow from its seed).
    #[expect(clippy::disallowed_methods, reason = "the one place where random bytes are drawn")]
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &*self.0 {
            Source::System => rand::rng().fill_bytes(&mut bytes),
            Source::Manual(manual) => {
                manual.lock().unwrap_or_else(PoisonError::into_inner).random.fill_bytes(&mut bytes);
            }
        }
        bytes
    }
}

/// Measures how long something took, on a clock that never jumps.
#[derive(Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the one place where the monotonic clock is read")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_and_repeats_its_dice() {
        let start = UtcTime::from_timestamp(1_700_000_000, 0).unwrap();
        let (one, two) = (Clock::manual(start, 7), Clock::manual(start, 7));
        assert_eq!(one.random_bytes::<16>(), two.random_bytes::<16>());
        assert_ne!(one.random_bytes::<16>(), Clock::manual(start, 8).random_bytes::<16>());
        one.advance(Duration::from_secs(60));
        assert_eq!(one.now() - two.now(), chrono::TimeDelta::seconds(60));
    }
}
