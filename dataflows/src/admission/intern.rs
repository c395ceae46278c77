//! A partition's dictionary: texts that many remembered rows share, each held once and dropped with its last row.

use hashbrown::HashMap;

use crate::records::Text;

/// A text in an [`Interner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol(u32);

#[derive(Debug)]
struct Entry {
    text: Text,
    uses: u32,
}

/// Texts by symbol and symbols by text, counted.
#[derive(Debug, Default)]
pub(super) struct Interner {
    symbols: HashMap<Text, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

impl Interner {
    /// The symbol of `text`, one more use of it.
    pub(super) fn acquire(&mut self, text: &Text) -> Symbol {
        if let Some(&index) = self.symbols.get(text) {
            self.entries[index as usize].uses += 1;
            return Symbol(index);
        }
        let entry = Entry { text: text.clone(), uses: 1 };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                let index = u32::try_from(self.entries.len()).expect("more than 2^32 identifiers remembered at once");
                self.entries.push(entry);
                index
            }
        };
        self.symbols.insert(text.clone(), index);
        Symbol(index)
    }

    /// One use less.
    pub(super) fn release(&mut self, symbol: Symbol) {
        let entry = &mut self.entries[symbol.0 as usize];
        entry.uses -= 1;
        if entry.uses == 0 {
            let text = std::mem::take(&mut entry.text);
            self.symbols.remove(&text);
            self.free.push(symbol.0);
        }
    }

    /// The text of a symbol in use.
    pub(super) fn text(&self, symbol: Symbol) -> &Text {
        &self.entries[symbol.0 as usize].text
    }

    /// How many texts are in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.symbols.len()
    }
}
