//! Chance, the same on every machine and in every version of this program.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tillflow_dataflows::records::Millis;

/// A reproducible source of random numbers.
///
/// Whole numbers only: the distributions of the `rand` family may draw differently from one version to the next,
/// and logarithms differ between platforms; the bytes of a seed must not.
pub(super) struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    /// The dice of a seed and a start: a different start is a different history.
    pub(super) fn new(seed: u64, start: Millis) -> Dice {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&start.to_le_bytes());
        Dice { rng: ChaCha8Rng::from_seed(key) }
    }

    pub(super) fn bits32(&mut self) -> u32 {
        self.rng.next_u32()
    }

    pub(super) fn bits64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        // The product's upper half; for the bounds used here its bias is less than one in a million.
        ((u64::from(self.bits32()) * u64::from(bound)) >> 32) as u32
    }

    /// A number in `low..=high`, which must be less than 2^32 apart; `low` if they are the wrong way round.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u32::try_from((high - low).saturating_add(1).max(0)).unwrap_or(u32::MAX);
        low + i64::from(self.below(span))
    }

    /// True `percent` times in a hundred.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, each as likely as the others.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }
}

/// A choice among numbered things, some likelier than others.
pub(super) struct Weighted {
    cumulated: Vec<u32>,
    total: u32,
}

impl Weighted {
    /// The weights of things 0, 1, 2 …; their sum must be above 0 and below 2^32.
    pub(super) fn new(weights: impl IntoIterator<Item = u32>) -> Weighted {
        let mut total = 0;
        let cumulated = weights
            .into_iter()
            .map(|weight| {
                total += weight;
                total
            })
            .collect();
        Weighted { cumulated, total }
    }

    /// The number of one thing.
    pub(super) fn draw(&self, dice: &mut Dice) -> usize {
        let mark = dice.below(self.total);
        self.cumulated.partition_point(|upto| *upto <= mark)
    }

    /// How often thing `number` is drawn, in parts of 1.
    pub(super) fn share(&self, number: usize) -> f64 {
        let before = if number == 0 { 0 } else { self.cumulated[number - 1] };
        f64::from(self.cumulated[number] - before) / f64::from(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept() {
        let mut dice = Dice::new(1, 2);
        let table = Weighted::new([1, 0, 7, 2]);
        let mut drawn = [0; 4];
        for _ in 0..100_000 {
            drawn[table.draw(&mut dice)] += 1;
        }
        assert_eq!(drawn[1], 0);
        for (number, share) in [(0, 0.1), (2, 0.7), (3, 0.2)] {
            assert!((f64::from(drawn[number]) / 100_000.0 - share).abs() < 0.01, "{drawn:?}");
            assert!((table.share(number) - share).abs() < 1e-12);
        }
    }

    #[test]
    fn seed_and_start_both_count() {
        let first = |seed, start| Dice::new(seed, start).bits64();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(2, 2));
        assert_ne!(first(1, 2), first(1, 3));
    }

    #[test]
    fn ranges_hold_their_ends() {
        let mut dice = Dice::new(3, 4);
        let seen: std::collections::BTreeSet<i64> = (0..1_000).map(|_| dice.between(-2, 2)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
        assert_eq!(dice.between(5, 4), 5);
        assert_eq!(dice.below(0), 0);
    }
}
