//! Pieces of saved state: records of one kind, one after another, as bytes.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    pub bytes: SharedBytes,
}

/// Bytes that several may hold: who changes them while another one does gets a copy. So what is saved can be written while
/// the state goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedBytes(Arc<Vec<u8>>);

impl SharedBytes {
    /// The bytes, of nobody else.
    pub fn to_mut(&mut self) -> &mut Vec<u8> {
        if Arc::get_mut(&mut self.0).is_none() {
            // With the same room: a copy that had none would grow beyond it.
            let mut copy = Vec::with_capacity(self.0.capacity());
            copy.extend_from_slice(&self.0);
            self.0 = Arc::new(copy);
        }
        Arc::make_mut(&mut self.0)
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> SharedBytes {
        SharedBytes(Arc::new(bytes))
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedBytes, D::Error> {
        serde_bytes::ByteBuf::deserialize(deserializer).map(|bytes| bytes.into_vec().into())
    }
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
    cut: String,
    records: u32,
    bytes: Vec<u8>,
    give: &'a mut dyn FnMut(Chunk),
}

impl<'a> ChunkWriter<'a> {
    /// For records of `cut`; chunks go to `give`.
    pub fn new(cut: &str, give: &'a mut dyn FnMut(Chunk)) -> ChunkWriter<'a> {
        ChunkWriter { cut: cut.to_owned(), records: 0, bytes: Vec::new(), give }
    }

    /// Adds a record.
    pub fn write(&mut self, record: &impl Serialize) {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(record, bytes).expect("numbers, texts and lists can be encoded");
        self.records += 1;
        if self.bytes.len() >= FULL {
            self.hand_over(Vec::with_capacity(FULL + (FULL >> 4)));
        }
    }

    fn hand_over(&mut self, next: Vec<u8>) {
        let bytes = std::mem::replace(&mut self.bytes, next).into();
        let records = std::mem::take(&mut self.records);
        (self.give)(Chunk { cut: self.cut.clone(), records, bytes });
    }

    /// Gives what is left.
    pub fn finish(mut self) {
        if self.records > 0 {
            self.hand_over(Vec::new());
        }
    }
}

/// Gives the records of a chunk.
pub fn read_chunk<T: for<'a> Deserialize<'a>>(chunk: &Chunk, give: &mut dyn FnMut(T)) -> Result<(), ChunkError> {
    let mut bytes = &*chunk.bytes;
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
    fn a_copy_of_shared_bytes_has_the_same_room() {
        let mut bytes = SharedBytes::from(Vec::with_capacity(100));
        bytes.to_mut().extend([1, 2, 3]);
        let shared = bytes.clone();
        bytes.to_mut().push(4);
        assert_eq!((&*shared, &*bytes), (&[1, 2, 3][..], &[1, 2, 3, 4][..]));
        assert!(bytes.capacity() >= 100, "{}", bytes.capacity());
    }

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
        short.bytes.to_mut().pop();
        assert!(read(&short).is_err());
        let mut long = chunks[0].clone();
        long.bytes.to_mut().push(0);
        assert!(read(&long).is_err());
    }
}
