//! Numbers of texts, for a tick, across partitions.
//!
//! Each partition calls its texts by symbols of its own. What the partitions of a worker add to the same cell is one sum all
//! the same: the first time in a tick that a partition gives a symbol its text is looked up, and from then on the symbol
//! leads to a number that all partitions have for that text.

use hashbrown::HashMap;

use crate::intern::Symbol;
use crate::records::Text;

/// The number of a text, until [`Names::forget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(u32);

/// A round of no tick.
const NEVER: u32 = 0;

/// What the partitions of a worker call the texts of a tick.
#[derive(Debug)]
pub(super) struct Names {
    names: HashMap<Text, Name>,
    /// By partition.
    partitions: HashMap<i32, Known>,
    /// The partition of the record before, whose names are here and not there: records come in runs.
    partition: i32,
    known: Known,
    /// Counts ticks: what is known of another round is forgotten.
    round: u32,
}

/// The names of one partition's symbols, and in which round they were found.
type Known = Vec<(u32, Name)>;

impl Names {
    pub(super) fn new() -> Names {
        let (names, partitions) = (HashMap::new(), HashMap::new());
        Names { names, partitions, partition: -1, known: Known::new(), round: NEVER + 1 }
    }

    /// The names of what a partition calls `symbols`, which stand for `texts`.
    #[inline]
    pub(super) fn of<const N: usize>(&mut self, partition: i32, symbols: [(Symbol, &str); N]) -> [Name; N] {
        if partition != self.partition {
            self.turn_to(partition);
        }
        symbols.map(|(symbol, text)| match self.known.get(symbol.index()) {
            Some((round, name)) if *round == self.round => *name,
            _ => self.learn(symbol.index(), text),
        })
    }

    #[cold]
    fn turn_to(&mut self, partition: i32) {
        let next = self.partitions.remove(&partition).unwrap_or_default();
        self.partitions.insert(self.partition, std::mem::replace(&mut self.known, next));
        self.partition = partition;
    }

    fn learn(&mut self, index: usize, text: &str) -> Name {
        let name = match self.names.get(text) {
            Some(name) => *name,
            None => {
                let name = Name(u32::try_from(self.names.len()).expect("a tick has fewer than 2^32 texts"));
                self.names.insert(text.into(), name);
                name
            }
        };
        if index >= self.known.len() {
            self.known.resize(index + 1, (NEVER, name));
        }
        self.known[index] = (self.round, name);
        name
    }

    /// Forgets the names: symbols may stand for other texts from now on.
    pub(super) fn forget(&mut self) {
        let used = self.names.len();
        self.names.clear();
        self.round = self.round.wrapping_add(1);
        if super::sums::is_too_much(self.names.capacity(), used) || self.round == NEVER {
            *self = Names::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_a_name_in_common_for_a_text() {
        let mut names = Names::new();
        let [tea, milk] = names.of(0, [(Symbol::of(0), "tea"), (Symbol::of(1), "milk")]);
        assert_ne!(tea, milk);
        assert_eq!(names.of(7, [(Symbol::of(5), "tea"), (Symbol::of(0), "milk")]), [tea, milk]);
        // Again, by their symbols.
        assert_eq!(names.of(0, [(Symbol::of(1), "milk"), (Symbol::of(0), "tea")]), [milk, tea]);
        assert_eq!(names.of(7, [(Symbol::of(5), "tea")]), [tea]);
    }

    #[test]
    fn a_symbol_may_stand_for_another_text_in_another_tick() {
        let mut names = Names::new();
        names.of(0, [(Symbol::of(0), "tea"), (Symbol::of(1), "milk")]);
        names.of(1, [(Symbol::of(0), "tea"), (Symbol::of(1), "milk")]);
        names.forget();
        let [a, b] = names.of(0, [(Symbol::of(0), "milk"), (Symbol::of(1), "tea")]);
        assert_ne!(a, b);
        assert_eq!(names.of(1, [(Symbol::of(1), "milk"), (Symbol::of(0), "tea")]), [a, b]);
    }

    #[test]
    fn room_for_many_names_is_given_back() {
        let mut names = Names::new();
        for number in 0..100_000_u32 {
            names.of(0, [(Symbol::of(number), number.to_string().as_str())]);
        }
        names.forget();
        assert!(names.names.capacity() >= 100_000);
        names.of(0, [(Symbol::of(3), "3")]);
        names.forget();
        assert_eq!((names.names.capacity(), names.known.capacity()), (0, 0));
    }
}
