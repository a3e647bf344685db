//! Where a key belongs, the same in every process and every version: what is stored depends on it.

/// Which of `buckets` a key belongs to: FNV-1a over its bytes, and the finaliser of MurmurHash3, as FNV alone spreads short
/// similar keys badly.
pub(crate) fn bucket_of(key: &str, buckets: u32) -> u32 {
    let fnv = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let hash = hash ^ (hash >> 33);
    u32::try_from(hash % u64::from(buckets.max(1))).unwrap_or(0)
}
