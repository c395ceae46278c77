//! A dictionary: texts that many remembered rows share, each held once and dropped with its last row.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};

use crate::records::Text;

/// A text in an [`Interner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Symbol(u32);

impl Symbol {
    /// Symbols of an interner are counted from 0, and free ones are given again.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
impl Symbol {
    /// One of no interner.
    pub(crate) const fn of(number: u32) -> Symbol {
        Symbol(number)
    }
}

#[derive(Debug)]
struct Entry {
    text: Text,
    uses: u32,
}

/// Texts by symbol and symbols by text, counted.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    /// Indexes of `entries`, found by their texts: four bytes a text, so that most look-ups find it in a cache.
    symbols: HashTable<u32>,
    hasher: DefaultHashBuilder,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Free, too, from the next [`Interner::recycle`] on.
    gone: Vec<u32>,
}

impl Interner {
    /// The symbol of `text`, one more use of it.
    pub(crate) fn acquire(&mut self, text: &str) -> Symbol {
        let Interner { symbols, hasher, entries, free, .. } = self;
        let hash = hasher.hash_one(text);
        if let Some(&index) = symbols.find(hash, |index| entries[*index as usize].text == *text) {
            entries[index as usize].uses += 1;
            return Symbol(index);
        }
        let entry = Entry { text: text.into(), uses: 1 };
        let index = match free.pop() {
            Some(index) => {
                entries[index as usize] = entry;
                index
            }
            None => {
                let index = u32::try_from(entries.len()).expect("more than 2^32 identifiers remembered at once");
                entries.push(entry);
                index
            }
        };
        symbols.insert_unique(hash, index, |index| hasher.hash_one(entries[*index as usize].text.as_str()));
        Symbol(index)
    }

    /// The symbol of `text`, if it is in use.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        let hash = self.hasher.hash_one(text);
        self.symbols.find(hash, |index| self.entries[*index as usize].text == *text).map(|index| Symbol(*index))
    }

    /// One use more of a symbol in use.
    pub(crate) fn again(&mut self, symbol: Symbol) -> Symbol {
        self.entries[symbol.0 as usize].uses += 1;
        symbol
    }

    /// Every text in use with its symbol.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Symbol, &Text)> {
        (0..)
            .map(Symbol)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.uses > 0)
            .map(|(symbol, entry)| (symbol, &entry.text))
    }

    /// One use less.
    pub(crate) fn release(&mut self, symbol: Symbol) {
        let entry = &mut self.entries[symbol.0 as usize];
        entry.uses -= 1;
        if entry.uses == 0 {
            let hash = self.hasher.hash_one(std::mem::take(&mut entry.text).as_str());
            let found = self.symbols.find_entry(hash, |index| *index == symbol.0);
            found.expect("a text in use is found by its hash").remove();
            self.gone.push(symbol.0);
        }
    }

    /// Symbols that are used no more may stand for other texts from now on.
    pub(crate) fn recycle(&mut self) {
        self.free.append(&mut self.gone);
    }

    /// The text of a symbol in use.
    pub(crate) fn text(&self, symbol: Symbol) -> &Text {
        &self.entries[symbol.0 as usize].text
    }

    /// How many texts are in use.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.symbols.len()
    }
}
