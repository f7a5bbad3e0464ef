//! Repeatable chance. Every id and every choice is computed from the seed and from what it is for, so that nothing has
//! to be remembered: the thousandth Object of a Flow is found without the 999 before it.
//!
//! The numbers are splitmix64's. A crate's generator would do as well today, but may give other numbers in its next
//! version, and with them the same seed another catalogue.

use crate::domain::ObjectId;
use crate::domain::StorageId;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Makes the second half of an id independent of the first.
const OTHER_HALF: u64 = 0x5851_f42d_4c95_7f2d;

/// What chance decides about: two uses never share their numbers.
#[derive(Debug, Clone, Copy)]
pub enum What {
    Group,
    Flow,
    Edit,
    FlowId,
    SourceId,
    ObjectId,
    InitObjectId,
    Jitter,
    Size,
    InitSize,
}

/// A row of random numbers.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64, what: What, number: u64) -> Self {
        Self(fold(seed, &[what as u64, number]))
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// From 0 up to, but not including, the limit; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let scaled = (u128::from(self.roll()) * u128::from(limit)) >> 64;
        // The upper half of a product of two 64-bit numbers.
        u64::try_from(scaled).unwrap_or(0)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let place = usize::try_from(self.below(from.len() as u64)).ok()?;
        from.get(place).copied()
    }
}

/// 16 bytes for a UUID.
pub fn id_bytes(seed: u64, what: What, owner: u64, number: u64) -> [u8; 16] {
    let half = |seed| u128::from(fold(seed, &[what as u64, owner, number]));
    (half(seed) << 64 | half(seed ^ OTHER_HALF)).to_be_bytes()
}

/// Object ids look as most clients make them: the text of a random UUID.
#[expect(clippy::expect_used, reason = "36 hex digits and dashes are an Object id")]
pub fn object_id(seed: u64, what: What, flow: u64, number: u64) -> ObjectId {
    let text = StorageId::from_random(id_bytes(seed, what, flow, number)).to_string();
    text.parse().expect("the text of a UUID is an Object id")
}

fn fold(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(mix(seed.wrapping_add(STEP)), |state, part| mix(state.wrapping_add(STEP) ^ part))
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_the_seed_for_ever() {
        let id = object_id(7, What::ObjectId, 3, 11);
        assert_eq!(id, object_id(7, What::ObjectId, 3, 11));
        assert_eq!(id.as_str(), "cf13782c-c464-448d-a174-e3574215fbde");
        for other in [
            object_id(8, What::ObjectId, 3, 11),
            object_id(7, What::InitObjectId, 3, 11),
            object_id(7, What::ObjectId, 4, 11),
            object_id(7, What::ObjectId, 3, 12),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn dice_stay_below_their_limit_and_reach_all_of_it() {
        let mut dice = Dice::new(1, What::Group, 1);
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[usize::try_from(dice.below(6)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!((dice.below(0), dice.below(1), dice.pick::<u8>(&[])), (0, 0, None));
    }
}
