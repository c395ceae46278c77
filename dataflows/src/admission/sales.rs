//! The transactions a partition knows: the row in force of each, as long as it can be corrected.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::Symbols;
use super::rows::{Inserted, LEAST_ROW_BYTES, PackedRows, Row};
use crate::intern::{Interner, Symbol};
use crate::records::{Millis, Outcome, Sale, Text};
use crate::state::{Chunk, ChunkError, ChunkWriter, read_chunk};
use crate::time::Diff;

/// What saved texts are called.
const TEXTS: &str = "texts";
/// What saved rows are called.
const ROWS: &str = "rows";

/// The known transactions of one partition.
#[derive(Debug, Default)]
pub(super) struct KnownSales {
    rows: PackedRows,
    texts: Interner,
    /// Rows older than this have been dropped from memory; whether a row is known never depends on it.
    forgotten_before: Option<Millis>,
}

/// How many times within a correction window the rows that are known no more are looked for: memory holds rows of
/// at most 17/16 of the window.
const SWEEPS_PER_WINDOW: i64 = 16;

impl KnownSales {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes a sale that is neither late nor from the future. Rows before `oldest` are known no more.
    pub(super) fn admit(
        &mut self,
        sale: Sale<&str>,
        oldest: Option<Millis>,
        emit: &mut impl FnMut(Sale<&str>, Symbols, Diff),
    ) -> Outcome {
        let row = intern(&mut self.texts, sale);
        let outcome = match self.rows.insert(sale.transaction_id, &row) {
            Inserted::New => Outcome::Accepted,
            // Neither is late, so one that is known no more is another row.
            Inserted::Same => {
                release(&mut self.texts, &row);
                return Outcome::Duplicate;
            }
            Inserted::Replaced(old) => {
                let known = oldest.is_none_or(|oldest| old.timestamp >= oldest);
                if known {
                    emit(restore(&self.texts, sale.transaction_id, &old), old.symbols(), -1);
                }
                release(&mut self.texts, &old);
                if known { Outcome::Correction } else { Outcome::Accepted }
            }
        };
        emit(sale, row.symbols(), 1);
        outcome
    }

    /// Cancels the transaction of that key, if it is known.
    pub(super) fn cancel(
        &mut self,
        key: &[u8],
        oldest: Option<Millis>,
        emit: &mut impl FnMut(Sale<&str>, Symbols, Diff),
    ) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        let Some(row) = self.rows.remove(key) else { return };
        if oldest.is_none_or(|oldest| row.timestamp >= oldest) {
            emit(restore(&self.texts, key, &row), row.symbols(), -1);
        }
        release(&mut self.texts, &row);
    }

    /// Symbols that were given with sales may stand for other texts from now on.
    pub(super) fn recycle(&mut self) {
        self.texts.recycle();
    }

    /// Drops rows before `oldest` from memory, now and then.
    pub(super) fn forget_before(&mut self, oldest: Millis, window: Millis) {
        let due = self.forgotten_before.is_none_or(|before| oldest.saturating_sub(before) > window / SWEEPS_PER_WINDOW);
        if !due {
            return;
        }
        if self.forgotten_before.is_some() {
            let texts = &mut self.texts;
            self.rows.remove_before(oldest, &mut |row| release(texts, row));
        }
        self.forgotten_before = Some(oldest);
    }

    /// Gives what is known: the texts, then the rows.
    pub(super) fn save(&self, give: &mut dyn FnMut(Chunk)) {
        let mut writer = ChunkWriter::new(TEXTS, give);
        self.texts.all().for_each(|entry| writer.write(&entry));
        writer.finish();
        self.rows.save(ROWS, give);
    }

    /// What was given.
    pub(super) fn restore(chunks: &[Chunk]) -> Result<KnownSales, ChunkError> {
        let mut known = KnownSales::default();
        let mut texts: HashMap<Symbol, Text> = HashMap::new();
        for chunk in chunks.iter().filter(|chunk| chunk.cut == TEXTS) {
            read_chunk(chunk, &mut |(symbol, text)| drop(texts.insert(symbol, text)))?;
        }
        let rows = || chunks.iter().filter(|chunk| chunk.cut == ROWS);
        let counted = |chunk: &Chunk| (chunk.records as usize).min(chunk.bytes.len() / LEAST_ROW_BYTES);
        known.rows.reserve(rows().map(counted).sum());
        let mut symbols: HashMap<Symbol, Symbol> = HashMap::with_capacity(texts.len());
        let KnownSales { rows: packed, texts: dictionary, .. } = &mut known;
        fn understand<'a>(
            mut row: Row<&'a str>,
            symbols: &mut HashMap<Symbol, Symbol>,
            texts: &HashMap<Symbol, Text>,
            dictionary: &mut Interner,
        ) -> Option<Row<&'a str>> {
            for symbol in row.symbols_mut() {
                *symbol = match symbols.entry(*symbol) {
                    Entry::Occupied(entry) => dictionary.again(*entry.get()),
                    Entry::Vacant(entry) => {
                        let text = texts.get(entry.key())?;
                        *entry.insert(dictionary.acquire(text))
                    }
                };
            }
            Some(row)
        }
        for chunk in rows() {
            packed.restore(chunk, &mut |row| understand(row, &mut symbols, &texts, dictionary))?;
        }
        Ok(known)
    }

    #[cfg(test)]
    pub(super) fn texts(&self) -> usize {
        self.texts.len()
    }
}

fn intern<'a>(texts: &mut Interner, sale: Sale<&'a str>) -> Row<&'a str> {
    Row {
        user_id: sale.user_id,
        product_id: texts.acquire(sale.product_id),
        payment_method: texts.acquire(sale.payment_method),
        store_id: texts.acquire(sale.store_id),
        category: texts.acquire(sale.category),
        quantity: i32::try_from(sale.quantity).expect("|quantity| <= 10^9 is held by the codec"),
        unit_price: sale.unit_price,
        total_amount: sale.total_amount,
        timestamp: sale.timestamp,
    }
}

fn release<T>(texts: &mut Interner, row: &Row<T>) {
    let Symbols { product_id, payment_method, store_id, category } = row.symbols();
    [product_id, payment_method, store_id, category].into_iter().for_each(|symbol| texts.release(symbol));
}

fn restore<'a>(texts: &'a Interner, transaction_id: &'a str, row: &'a Row) -> Sale<&'a str> {
    Sale {
        transaction_id,
        user_id: &row.user_id,
        product_id: texts.text(row.product_id),
        quantity: i64::from(row.quantity),
        unit_price: row.unit_price,
        total_amount: row.total_amount,
        payment_method: texts.text(row.payment_method),
        timestamp: row.timestamp,
        store_id: texts.text(row.store_id),
        category: texts.text(row.category),
    }
}
