//! Pieces of saved state: records of one kind, one after another, as bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many bytes make a chunk full.
const FULL: usize = 256 << 10;

/// Some of the contents of a cut, or of what admission remembers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Whose.
    pub cut: String,
    /// How many records.
    pub records: u32,
    /// The records: in postcard's format, unless whose they are has one of its own.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records of {:?} in {} bytes", self.records, self.cut, self.bytes.len())
    }
}

/// Why a chunk cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkError(String);

impl ChunkError {
    pub(crate) fn new(chunk: &Chunk, what: &str) -> ChunkError {
        ChunkError(format!("{chunk:?}: {what}"))
    }

    pub(crate) fn unknown(chunk: &Chunk) -> ChunkError {
        ChunkError::new(chunk, "these views have no such state")
    }
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ChunkError {}

/// Makes chunks out of records.
pub struct ChunkWriter<'a> {
    chunk: Chunk,
    give: &'a mut dyn FnMut(Chunk),
}

impl<'a> ChunkWriter<'a> {
    /// For records of `cut`; chunks go to `give`.
    pub fn new(cut: &str, give: &'a mut dyn FnMut(Chunk)) -> ChunkWriter<'a> {
        ChunkWriter { chunk: Chunk { cut: cut.to_owned(), records: 0, bytes: Vec::new() }, give }
    }

    /// Adds a record.
    pub fn write(&mut self, record: &impl Serialize) {
        let bytes = std::mem::take(&mut self.chunk.bytes);
        self.chunk.bytes = postcard::to_extend(record, bytes).expect("numbers, texts and lists can be encoded");
        self.chunk.records += 1;
        if self.chunk.bytes.len() >= FULL {
            self.hand_over(Vec::with_capacity(FULL + (FULL >> 4)));
        }
    }

    fn hand_over(&mut self, next: Vec<u8>) {
        let bytes = std::mem::replace(&mut self.chunk.bytes, next);
        let records = std::mem::take(&mut self.chunk.records);
        (self.give)(Chunk { cut: self.chunk.cut.clone(), records, bytes });
    }

    /// Gives what is left.
    pub fn finish(mut self) {
        if self.chunk.records > 0 {
            self.hand_over(Vec::new());
        }
    }
}

/// Gives the records of a chunk.
pub fn read_chunk<T: for<'a> Deserialize<'a>>(chunk: &Chunk, give: &mut dyn FnMut(T)) -> Result<(), ChunkError> {
    let mut bytes = chunk.bytes.as_slice();
    for _ in 0..chunk.records {
        let (record, rest) =
            postcard::take_from_bytes(bytes).map_err(|error| ChunkError::new(chunk, &error.to_string()))?;
        bytes = rest;
        give(record);
    }
    if bytes.is_empty() { Ok(()) } else { Err(ChunkError::new(chunk, "there is more than was counted")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_however_many_chunks_they_fill() {
        let records: Vec<(String, i128, Option<i64>)> =
            (0..20_000).map(|n| (format!("record {n}"), i128::from(n) << 80, (n % 3 == 0).then_some(-n))).collect();
        let mut chunks = Vec::new();
        let mut give = |chunk| chunks.push(chunk);
        let mut writer = ChunkWriter::new("some", &mut give);
        records.iter().for_each(|record| writer.write(record));
        writer.finish();
        assert!(chunks.len() > 1);
        let mut read: Vec<(String, i128, Option<i64>)> = Vec::new();
        for chunk in &chunks {
            read_chunk(chunk, &mut |record| read.push(record)).unwrap();
        }
        assert_eq!(read, records);
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_an_error() {
        let mut chunks = Vec::new();
        let mut give = |chunk| chunks.push(chunk);
        let mut writer = ChunkWriter::new("some", &mut give);
        writer.write(&(7u64, String::from("seven")));
        writer.finish();
        let read = |chunk: &Chunk| read_chunk::<(u64, String)>(chunk, &mut |_| {});
        assert!(read(&chunks[0]).is_ok());
        let mut short = chunks[0].clone();
        short.bytes.pop();
        assert!(read(&short).is_err());
        let mut long = chunks[0].clone();
        long.bytes.push(0);
        assert!(read(&long).is_err());
    }
}
