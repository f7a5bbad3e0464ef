//! Which rows of a file of Objects have a given id: a sorted list of hashes beside the rows, of which a look-up reads one
//! block. Rows are in the order of their places, so that nothing else would tell.
//!
//! An entry is 8 bytes, big-endian: 40 bits of the id's hash, 24 bits of row number. A block is 512 entries.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;

use crate::catalog::change::hash_of;

pub const ID_BLOCKS: &str = "tamslake.id_blocks";

const ENTRY: usize = 8;
const BLOCK: usize = 512 * ENTRY;
const ROW_BITS: u32 = 24;
/// First hash and checksum of a block.
const BLOCK_HEAD: usize = 5 + 4;

/// The part of a hash that an entry has.
fn short(hash: i64) -> u64 {
    u64::from_be_bytes(hash.to_be_bytes()) >> ROW_BITS
}

#[derive(Debug, Default)]
pub struct Ids(Vec<u64>);

pub struct EncodedIds {
    pub bytes: Vec<u8>,
    /// What the footer says of the blocks.
    pub blocks: String,
}

impl Ids {
    /// False for a row beyond what an entry can say.
    pub fn push(&mut self, id: &str, row: u64) -> bool {
        self.0.push(short(hash_of(id)) << ROW_BITS | row);
        row < 1 << ROW_BITS
    }

    pub fn encode(mut self) -> EncodedIds {
        self.0.sort_unstable();
        let bytes: Vec<u8> = self.0.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        let mut blocks = Vec::new();
        for block in bytes.chunks(BLOCK) {
            blocks.extend(block.iter().take(5));
            blocks.extend(crc32fast::hash(block).to_be_bytes());
        }
        EncodedIds { bytes, blocks: STANDARD_NO_PAD.encode(blocks) }
    }
}

/// What stays in memory of a file's list.
#[derive(Debug, Default)]
pub struct IdBlocks {
    start: u64,
    bytes: u64,
    firsts: Vec<u64>,
    crcs: Vec<u32>,
}

impl IdBlocks {
    /// Of `rows` rows, listed before `end` in the file.
    pub fn decode(text: &str, rows: u64, end: u64) -> Option<Self> {
        let heads = STANDARD_NO_PAD.decode(text).ok()?;
        let (heads, rest) = heads.as_chunks::<BLOCK_HEAD>();
        let bytes = rows.checked_mul(ENTRY as u64)?;
        if !rest.is_empty() || heads.len() as u64 != bytes.div_ceil(BLOCK as u64) {
            return None;
        }
        let [firsts, crcs] = [true, false].map(|first| {
            let number = move |[a, b, c, d, e, w, x, y, z]: &[u8; BLOCK_HEAD]| match first {
                true => u64::from_be_bytes([0, 0, 0, *a, *b, *c, *d, *e]),
                false => u64::from(u32::from_be_bytes([*w, *x, *y, *z])),
            };
            heads.iter().map(number).collect::<Vec<u64>>()
        });
        let crcs = crcs.into_iter().filter_map(|crc| u32::try_from(crc).ok()).collect();
        Some(Self { start: end.checked_sub(bytes)?, bytes, firsts, crcs })
    }

    /// Blocks that may have the hash.
    pub fn with(&self, hash: i64) -> Range<u32> {
        let hash = short(hash);
        let count = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let from = self.firsts.partition_point(|first| *first < hash).saturating_sub(1);
        count(from)..count(self.firsts.partition_point(|first| *first <= hash))
    }

    pub fn len(&self) -> u32 {
        u32::try_from(self.firsts.len()).unwrap_or(u32::MAX)
    }

    /// Where in the file a block is.
    pub fn range(&self, block: u32) -> Range<u64> {
        let start = u64::from(block) * BLOCK as u64;
        self.start + start..self.start + (start + BLOCK as u64).min(self.bytes)
    }

    pub fn is_whole(&self, block: u32, bytes: &Bytes) -> bool {
        self.crcs.get(block as usize).is_some_and(|crc| crc32fast::hash(bytes) == *crc)
    }

    pub fn memory_size(&self) -> usize {
        self.firsts.capacity() * 8 + self.crcs.capacity() * 4
    }
}

/// Hash (what an entry has of it) and row of all entries, sorted.
pub fn entries(list: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    let (entries, _) = list.as_chunks::<ENTRY>();
    entries
        .iter()
        .map(|entry| u64::from_be_bytes(*entry))
        .map(|entry| (entry >> ROW_BITS, entry & ((1 << ROW_BITS) - 1)))
}

/// The rows that a block has under the hash.
pub fn rows_with(block: &[u8], hash: i64) -> impl Iterator<Item = u64> {
    let hash = short(hash);
    let (entries, _) = block.as_chunks::<ENTRY>();
    let entries = entries.iter().map(|entry| u64::from_be_bytes(*entry));
    entries.filter(move |entry| entry >> ROW_BITS == hash).map(|entry| entry & ((1 << ROW_BITS) - 1))
}
