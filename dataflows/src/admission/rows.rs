//! The rows in force of many transactions, packed: a row takes what its texts and numbers need, not what they could.
//!
//! Rows lie one after another in segments, in the order in which they came, and an index of four bytes a row finds them
//! by their transaction_id. So to take one more in writes where the last one was written, the rows of a time lie together
//! and leave together, and a checkpoint shares the segments: one is copied if it changes before it is written.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};

use super::Symbols;
use crate::intern::Symbol;
use crate::records::{Millis, Money, Text};
use crate::state::{Chunk, ChunkError, SharedBytes};

/// A sale without its transaction_id; the texts that are many sales' in the partition's dictionary. Few sales of a correction
/// window have a buyer in common: a dictionary would have to find each one, and hold most for one or two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row<T = Text> {
    pub(super) timestamp: Millis,
    pub(super) user_id: T,
    pub(super) product_id: Symbol,
    pub(super) payment_method: Symbol,
    pub(super) store_id: Symbol,
    pub(super) category: Symbol,
    /// |quantity| <= 10^9.
    pub(super) quantity: i32,
    pub(super) unit_price: Money,
    pub(super) total_amount: Money,
}

impl<T> Row<T> {
    pub(super) const fn symbols(&self) -> Symbols {
        let Row { product_id, payment_method, store_id, category, .. } = self;
        Symbols { product_id: *product_id, payment_method: *payment_method, store_id: *store_id, category: *category }
    }

    pub(super) fn symbols_mut(&mut self) -> [&mut Symbol; 4] {
        let Row { product_id, payment_method, store_id, category, .. } = self;
        [product_id, payment_method, store_id, category]
    }
}

/// What became of a row that was to be taken in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// Its transaction had none.
    New,
    /// Its transaction has the same one.
    Same,
    /// Its transaction had this one.
    Replaced(Row),
}

/// The most bytes of an identifier, says the codec.
const ID_BYTES_MAX: usize = 256;

/// The most bytes of a row in postcard's format: three numbers of 64 bits and five of 32, and an identifier.
const ROW_BYTES_MAX: usize = 3 * 10 + 5 * 5 + 2 + ID_BYTES_MAX;

/// Bytes of a segment, at most.
const SEGMENT: usize = 256 << 10;

/// Entries begin at multiples of this.
const ALIGNMENT: usize = 4;

/// Before each entry: its length without what fills it up, and the length of its transaction_id, 16 bits each.
const HEADER: usize = 4;

/// Bytes of an entry with a transaction_id of one byte and a row of small numbers.
pub(super) const LEAST_ROW_BYTES: usize = 16;

/// In an entry's length: it is not in force any more.
const DEAD: u16 = 1 << 15;

/// Where an entry is: its segment, and where it begins there in units of [`ALIGNMENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

/// How many places a segment has.
const PLACES: u32 = (SEGMENT / ALIGNMENT) as u32;

impl Place {
    fn new(segment: usize, at: usize) -> Place {
        let segment = u32::try_from(segment).ok().filter(|segment| *segment < u32::MAX / PLACES);
        let segment = segment.expect("a partition remembers less than 16 GiB of transactions");
        Place(segment * PLACES + (at / ALIGNMENT) as u32)
    }

    const fn segment(self) -> usize {
        (self.0 / PLACES) as usize
    }

    const fn at(self) -> usize {
        (self.0 % PLACES) as usize * ALIGNMENT
    }
}

/// An entry as it lies in a segment.
#[derive(Clone, Copy)]
struct Packed<'a> {
    at: usize,
    is_dead: bool,
    transaction_id: &'a [u8],
    row: &'a [u8],
    /// Where the next one begins.
    next: usize,
}

impl Packed<'_> {
    /// The entry at a place; none if there is no whole one.
    fn read(bytes: &[u8], at: usize) -> Option<Packed<'_>> {
        let header: &[u8; HEADER] = bytes.get(at..)?.first_chunk()?;
        let length = u16::from_le_bytes([header[0], header[1]]);
        let id_length = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let end = at + usize::from(length & !DEAD);
        let (transaction_id, row) = bytes.get(at + HEADER..end)?.split_at_checked(id_length)?;
        Some(Packed { at, is_dead: length & DEAD != 0, transaction_id, row, next: end.next_multiple_of(ALIGNMENT) })
    }

    fn row(&self) -> Row<&str> {
        postcard::from_bytes(self.row).expect("what was packed can be unpacked")
    }

    fn owned_row(&self) -> Row {
        postcard::from_bytes(self.row).expect("what was packed can be unpacked")
    }
}

/// Entries one after another.
#[derive(Debug, Default)]
struct Segment {
    bytes: SharedBytes,
    /// Entries in force.
    rows: u32,
    /// Bytes of the others.
    dead: usize,
    /// No timestamp of an entry in force is less.
    oldest: Millis,
}

impl Segment {
    fn at(&self, at: usize) -> Packed<'_> {
        Packed::read(&self.bytes, at).expect("the index knows where entries begin")
    }

    /// The entries in force, in order.
    fn in_force(&self) -> impl Iterator<Item = Packed<'_>> {
        let mut at = 0;
        let all = std::iter::from_fn(move || {
            let entry = Packed::read(&self.bytes, at)?;
            at = entry.next;
            Some(entry)
        });
        all.filter(|entry| !entry.is_dead)
    }

    fn has_room(&self, length: usize) -> bool {
        self.bytes.len() + length <= SEGMENT
    }

    fn push(&mut self, transaction_id: &[u8], row: &[u8], timestamp: Millis) -> usize {
        let bytes = self.bytes.to_mut();
        let at = bytes.len();
        let length = HEADER + transaction_id.len() + row.len();
        let header = u16::try_from(length).ok().filter(|length| length & DEAD == 0);
        let length_bytes = header.expect("an identifier has at most 256 bytes, says the codec").to_le_bytes();
        bytes.extend_from_slice(&length_bytes);
        bytes.extend_from_slice(&(transaction_id.len() as u16).to_le_bytes());
        bytes.extend_from_slice(transaction_id);
        bytes.extend_from_slice(row);
        bytes.resize((at + length).next_multiple_of(ALIGNMENT), 0);
        self.oldest = if self.rows == 0 { timestamp } else { self.oldest.min(timestamp) };
        self.rows += 1;
        at
    }

    fn kill(&mut self, at: usize) {
        let entry = self.at(at);
        let bytes = entry.next - entry.at;
        self.bytes.to_mut()[at + 1] |= (DEAD >> 8) as u8;
        self.rows -= 1;
        self.dead += bytes;
    }
}

/// Rows by transaction_id.
#[derive(Debug, Default)]
pub(super) struct PackedRows {
    index: HashTable<Place>,
    hasher: DefaultHashBuilder,
    /// Those without bytes are free.
    segments: Vec<Segment>,
    free: Vec<usize>,
    /// Where the next row goes.
    open: usize,
}

impl PackedRows {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.index_again(self.len() + more);
    }

    /// Takes a row in, in place of the one that the transaction had. Where that is the same, nothing changes.
    pub(super) fn insert(&mut self, transaction_id: &str, row: &Row<&str>) -> Inserted {
        let mut buffer = [0; ROW_BYTES_MAX];
        let packed = &*postcard::to_slice(row, &mut buffer).expect("there is room for the longest row");
        let id = transaction_id.as_bytes();
        self.grow();
        let PackedRows { index, hasher, segments, free, open } = self;
        let found = index.entry(
            hasher.hash_one(id),
            |place| at(segments, *place).transaction_id == id,
            |place| hasher.hash_one(at(segments, *place).transaction_id),
        );
        match found {
            Entry::Vacant(entry) => {
                entry.insert(push(segments, free, open, (id, packed), row.timestamp));
                Inserted::New
            }
            Entry::Occupied(mut entry) => {
                let place = *entry.get();
                let old = at(segments, place);
                if old.row == packed {
                    return Inserted::Same;
                }
                let old_row = old.owned_row();
                *entry.get_mut() = push(segments, free, open, (id, packed), row.timestamp);
                segments[place.segment()].kill(place.at());
                self.tidy(place.segment());
                Inserted::Replaced(old_row)
            }
        }
    }

    /// Takes a transaction's row out.
    pub(super) fn remove(&mut self, transaction_id: &str) -> Option<Row> {
        let PackedRows { index, hasher, segments, .. } = self;
        let id = transaction_id.as_bytes();
        let is_it = |place: &Place| at(segments, *place).transaction_id == id;
        let (place, _) = index.find_entry(hasher.hash_one(id), is_it).ok()?.remove();
        let row = at(segments, place).owned_row();
        segments[place.segment()].kill(place.at());
        self.tidy(place.segment());
        Some(row)
    }

    /// Takes out the rows before `oldest`, and gives them.
    pub(super) fn remove_before(&mut self, oldest: Millis, give: &mut dyn FnMut(&Row<&str>)) {
        for number in 0..self.segments.len() {
            let PackedRows { index, hasher, segments, .. } = self;
            let segment = &mut segments[number];
            if segment.rows == 0 || segment.oldest >= oldest {
                continue;
            }
            let (mut gone, mut oldest_left) = (Vec::new(), Millis::MAX);
            for entry in segment.in_force() {
                let row = entry.row();
                if row.timestamp >= oldest {
                    oldest_left = oldest_left.min(row.timestamp);
                    continue;
                }
                let place = Place::new(number, entry.at);
                let found = index.find_entry(hasher.hash_one(entry.transaction_id), |it| *it == place);
                found.expect("a row in force is in the index").remove();
                gone.push(entry.at);
                give(&row);
            }
            segment.oldest = oldest_left;
            gone.into_iter().for_each(|at| segment.kill(at));
            self.tidy(number);
        }
        if self.index.len() < self.index.capacity() / 4 {
            self.index_again(self.len());
        }
    }

    /// Gives all rows, as [`PackedRows::restore`] takes them.
    pub(super) fn save(&self, name: &str, give: &mut dyn FnMut(Chunk)) {
        for segment in self.segments.iter().filter(|segment| segment.rows > 0) {
            let bytes = if segment.dead == 0 {
                segment.bytes.clone()
            } else {
                let mut bytes = Vec::with_capacity(segment.bytes.len() - segment.dead);
                segment.in_force().for_each(|entry| bytes.extend_from_slice(&segment.bytes[entry.at..entry.next]));
                bytes.into()
            };
            give(Chunk { cut: name.to_owned(), records: segment.rows, bytes });
        }
    }

    /// Takes the rows of a chunk in, as `known` makes them of those that were saved: none if it does not know what they
    /// mean.
    pub(super) fn restore(
        &mut self,
        chunk: &Chunk,
        known: &mut impl for<'a> FnMut(Row<&'a str>) -> Option<Row<&'a str>>,
    ) -> Result<(), ChunkError> {
        let mut at = 0;
        for _ in 0..chunk.records {
            let entry = Packed::read(&chunk.bytes, at).filter(|entry| !entry.is_dead);
            let entry = entry.ok_or_else(|| ChunkError::new(chunk, "it is cut short"))?;
            let text = std::str::from_utf8(entry.transaction_id)
                .map_err(|error| ChunkError::new(chunk, &error.to_string()))?;
            let (row, rest) = postcard::take_from_bytes::<Row<&str>>(entry.row)
                .map_err(|error| ChunkError::new(chunk, &error.to_string()))?;
            if text.len() > ID_BYTES_MAX || row.user_id.len() > ID_BYTES_MAX {
                return Err(ChunkError::new(chunk, "an identifier is too long"));
            }
            if !rest.is_empty() {
                return Err(ChunkError::new(chunk, "a row has more than its fields"));
            }
            let row = known(row).ok_or_else(|| ChunkError::new(chunk, "a row names a text that is not there"))?;
            if self.insert(text, &row) != Inserted::New {
                return Err(ChunkError::new(chunk, "a transaction is there twice"));
            }
            at = entry.next;
        }
        if at == chunk.bytes.len() { Ok(()) } else { Err(ChunkError::new(chunk, "there is more than was counted")) }
    }

    /// Makes room for one more.
    fn grow(&mut self) {
        if self.index.len() == self.index.capacity() {
            self.index_again(self.len() + self.len() / 2 + 1);
        }
    }

    /// Makes the index anew, for so many rows. Segment by segment: the index itself would ask for one row here and the
    /// next one there.
    fn index_again(&mut self, rows: usize) {
        let PackedRows { index, hasher, segments, .. } = self;
        *index = HashTable::with_capacity(rows);
        for (number, segment) in segments.iter().enumerate() {
            for entry in segment.in_force() {
                let hash = hasher.hash_one(entry.transaction_id);
                let again = |place: &Place| hasher.hash_one(at(segments, *place).transaction_id);
                index.insert_unique(hash, Place::new(number, entry.at), again);
            }
        }
    }

    /// Lets a segment go of which the greater part is not in force any more; what is left moves.
    fn tidy(&mut self, number: usize) {
        let PackedRows { index, hasher, segments, free, open } = self;
        let segment = &mut segments[number];
        if number == *open && segment.rows == 0 {
            segment.bytes.to_mut().clear();
            segment.dead = 0;
            return;
        }
        if segment.dead <= segment.bytes.len() / 2 || number == *open && segment.has_room(SEGMENT / 2) {
            return;
        }
        if number == *open {
            *open = next_open(segments, free);
        }
        let segment = std::mem::take(&mut segments[number]);
        for entry in segment.in_force() {
            let (was, hash) = (Place::new(number, entry.at), hasher.hash_one(entry.transaction_id));
            let place = push(segments, free, open, (entry.transaction_id, entry.row), entry.row().timestamp);
            *index.find_mut(hash, |it| *it == was).expect("a row in force is in the index") = place;
        }
        free.push(number);
    }

    /// Bytes of memory, without the dictionary.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let index = self.index.capacity() / 7 * 8 * (size_of::<Place>() + 1);
        index + self.segments.iter().map(|segment| size_of::<Segment>() + segment.bytes.capacity()).sum::<usize>()
    }
}

/// The entry at a place.
fn at(segments: &[Segment], place: Place) -> Packed<'_> {
    segments[place.segment()].at(place.at())
}

/// Writes an entry behind the last one.
fn push(
    segments: &mut Vec<Segment>,
    free: &mut Vec<usize>,
    open: &mut usize,
    (transaction_id, row): (&[u8], &[u8]),
    timestamp: Millis,
) -> Place {
    let length = (HEADER + transaction_id.len() + row.len()).next_multiple_of(ALIGNMENT);
    if segments.get(*open).is_none_or(|segment| !segment.has_room(length)) {
        *open = next_open(segments, free);
    }
    Place::new(*open, segments[*open].push(transaction_id, row, timestamp))
}

/// A segment without entries.
fn next_open(segments: &mut Vec<Segment>, free: &mut Vec<usize>) -> usize {
    // One that is filled needs all of it; a partition's first may stay small.
    let bytes = if segments.is_empty() { Vec::new() } else { Vec::with_capacity(SEGMENT) };
    let segment = Segment { bytes: bytes.into(), ..Segment::default() };
    match free.pop() {
        Some(number) => {
            segments[number] = segment;
            number
        }
        None => {
            segments.push(segment);
            segments.len() - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Different numbers, always the same ones.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, sides: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }
    }

    impl Row {
        fn borrowed(&self) -> Row<&str> {
            let Row { timestamp, product_id, payment_method, store_id, category, .. } = *self;
            let Row { user_id, quantity, unit_price, total_amount, .. } = self;
            let (quantity, unit_price, total_amount) = (*quantity, *unit_price, *total_amount);
            Row {
                timestamp,
                user_id,
                product_id,
                payment_method,
                store_id,
                category,
                quantity,
                unit_price,
                total_amount,
            }
        }
    }

    /// The row that the transaction had, if it had one.
    fn insert(rows: &mut PackedRows, transaction_id: &str, row: &Row) -> Option<Row> {
        match rows.insert(transaction_id, &row.borrowed()) {
            Inserted::New => None,
            Inserted::Same => Some(row.clone()),
            Inserted::Replaced(old) => Some(old),
        }
    }

    fn row(dice: &mut Dice, timestamp: Millis) -> Row {
        let user_id = format!("user_{:06}", dice.below(50_000)).as_str().into();
        let mut symbol = |sides| Symbol::of(u32::try_from(dice.below(sides)).unwrap());
        let [product_id, payment_method] = [symbol(1_000), symbol(4)];
        let [store_id, category] = [symbol(20), symbol(5)];
        let (quantity, unit_price) = (1 + dice.below(3) as i32, Money(100 * (1 + dice.below(100_000) as i64)));
        let total_amount = Money(unit_price.0 * i64::from(quantity));
        Row { timestamp, user_id, product_id, payment_method, store_id, category, quantity, unit_price, total_amount }
    }

    fn content(rows: &PackedRows) -> BTreeMap<String, Row> {
        let entries = rows.segments.iter().flat_map(Segment::in_force);
        let text = |entry: &Packed<'_>| String::from_utf8(entry.transaction_id.to_vec()).unwrap();
        entries.map(|entry| (text(&entry), entry.owned_row())).collect()
    }

    #[test]
    fn what_is_known_is_what_a_map_would_know() {
        for seed in 0..8 {
            let mut dice = Dice(seed);
            let (mut rows, mut model) = (PackedRows::default(), BTreeMap::new());
            // Few transactions, or many; in the order of their times, or not.
            let (ids, disorder) = ([300, 40_000][seed as usize % 2], [1, 20_000][seed as usize / 2 % 2]);
            for step in 0..60_000 {
                let id = format!("transaction-{}", dice.below(ids));
                match dice.below(100) {
                    0..10 => assert_eq!(rows.remove(&id), model.remove(&id)),
                    10..20 => {
                        let same = model.get(&id).cloned();
                        assert_eq!(same.as_ref().and_then(|same| insert(&mut rows, &id, same)), same);
                    }
                    _ => {
                        let late = dice.below(disorder) as i64;
                        let new = row(&mut dice, step - late);
                        assert_eq!(insert(&mut rows, &id, &new), model.insert(id, new));
                    }
                }
                if step % 4_000 == 3_999 {
                    let (oldest, mut gone) = (step - 15_000, Vec::new());
                    rows.remove_before(oldest, &mut |row| gone.push(row.timestamp));
                    let was = model.len();
                    model.retain(|_, row| row.timestamp >= oldest);
                    assert_eq!((gone.len(), rows.len()), (was - model.len(), model.len()));
                    assert!(gone.iter().all(|timestamp| *timestamp < oldest));
                }
            }
            assert_eq!(content(&rows), model);
            // Nor does what is gone stay for long.
            let wasted = rows.segments.iter().map(|segment| segment.dead).sum::<usize>();
            let used = rows.segments.iter().map(|segment| segment.bytes.len()).sum::<usize>();
            assert!(wasted <= used / 2 + SEGMENT, "{wasted} of {used} bytes");

            let mut chunks = Vec::new();
            rows.save("some", &mut |chunk| chunks.push(chunk));
            let mut restored = PackedRows::default();
            restored.reserve(model.len());
            chunks.iter().for_each(|chunk| restored.restore(chunk, &mut |row| Some(row)).unwrap());
            assert_eq!(content(&restored), model);
        }
    }

    #[test]
    fn a_transaction_takes_at_most_64_bytes() {
        let mut dice = Dice(1);
        let mut rows = PackedRows::default();
        let mut most = 0;
        for n in 0..1_000_000 {
            insert(&mut rows, &format!("txn-{n:09}"), &row(&mut dice, 1_700_000_000_000 + n));
            if n > 100_000 && n % 10_000 == 0 {
                most = most.max(rows.bytes() / rows.len());
            }
        }
        assert!((40..=64).contains(&most), "{most} bytes");
        rows.remove_before(1_700_000_000_000 + 990_000, &mut |_| {});
        assert!(rows.bytes() < 10_000 * 128 + 2 * SEGMENT, "{} bytes", rows.bytes());
    }

    #[test]
    fn what_is_cut_short_or_too_long_or_twice_is_an_error() {
        let mut dice = Dice(1);
        let mut rows = PackedRows::default();
        for n in 0..3 {
            insert(&mut rows, &format!("t{n}"), &row(&mut dice, n));
        }
        let mut chunks = Vec::new();
        rows.save("some", &mut |chunk| chunks.push(chunk));
        let restore = |chunk: &Chunk| PackedRows::default().restore(chunk, &mut |row| Some(row));
        let chunk = chunks.remove(0);
        assert!(restore(&chunk).is_ok());
        let changed = |change: &dyn Fn(&mut Chunk)| {
            let mut changed = chunk.clone();
            change(&mut changed);
            changed
        };
        assert!(restore(&changed(&|it| it.records += 1)).is_err());
        assert!(restore(&changed(&|it| it.records -= 1)).is_err());
        for length in 0..chunk.bytes.len() - ALIGNMENT {
            assert!(restore(&changed(&|it| it.bytes.to_mut().truncate(length))).is_err());
        }
        assert!(restore(&changed(&|it| it.bytes.to_mut()[1] |= 128)).is_err(), "one that is not in force");
        let twice = |it: &mut Chunk| (it.bytes, it.records) = (it.bytes.repeat(2).into(), 2 * it.records);
        assert!(restore(&changed(&twice)).is_err());
        assert!(PackedRows::default().restore(&chunk, &mut |_| None).is_err());
        // Whatever the bytes are, it ends.
        for at in 0..chunk.bytes.len() {
            for flip in [1, 64, 255] {
                let _ = restore(&changed(&|it| it.bytes.to_mut()[at] ^= flip));
            }
        }
    }
}
