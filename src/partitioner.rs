//! Which partition a key belongs to, as Kafka's own clients decide it.

/// The 32-bit murmur2 hash of `data`, with the seed and the signedness of Kafka's Java client.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Java's length is an `int`; a key is never near 2^31 bytes, and the cast wraps as Java's would.
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash as i32
}

/// The partition of `key` among `partitions`, as Kafka's default partitioner for keyed records picks it.
/// With no partitions at all the answer is 0.
pub fn murmur2_partition(key: &[u8], partitions: i32) -> i32 {
    // Java's `toPositive` clears the sign bit; it is not the absolute value.
    (murmur2(key) & i32::MAX) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_tests() {
        let known: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key), hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_bit_only() {
        // -973932308 & 0x7fffffff = 1173551340.
        assert_eq!(murmur2_partition(b"21", 3), 1_173_551_340 % 3);
        assert_eq!(murmur2_partition(b"21", 1_000), 340);
        assert_eq!(murmur2_partition(b"abc", 1_000), 107);
    }

    #[test]
    fn every_partition_is_in_range() {
        for number in 0..10_000 {
            let key = format!("user_{number:05}");
            for partitions in [1, 3, 7] {
                assert!((0..partitions).contains(&murmur2_partition(key.as_bytes(), partitions)));
            }
        }
        assert_eq!(murmur2_partition(b"21", 0), 0);
    }
}
