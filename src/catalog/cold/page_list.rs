//! What tamslake adds to a file's footer: the first key of each page, and a checksum of each page's bytes, which the
//! Parquet writer leaves out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

pub const PAGE_KEYS: &str = "tamslake.page_keys";
pub const PAGE_CRCS: &str = "tamslake.page_crcs";

/// Keys in order, each after the other in one buffer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Keys {
    /// False where the keys of a file have grown beyond 4 GB.
    pub fn push(&mut self, key: &[u8]) -> bool {
        self.bytes.extend_from_slice(key);
        let end = u32::try_from(self.bytes.len());
        self.ends.extend(end);
        end.is_ok()
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Empty beyond the last.
    pub fn get(&self, at: usize) -> &[u8] {
        let end = |at: usize| self.ends.get(at).map_or(self.bytes.len(), |end| *end as usize);
        let start = at.checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(at)).unwrap_or_default()
    }

    /// How many keys come before the first that is not `before`; keys must be in that order.
    pub fn partition_point(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.get(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }

    pub fn memory_size(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    /// Each key as: length of what it shares with the one before, length of the rest, the rest.
    pub fn encode(&self) -> String {
        let mut out = Vec::new();
        for at in 0..self.len() {
            let key = self.get(at);
            let before = if at == 0 { &[][..] } else { self.get(at - 1) };
            let shared = key.iter().zip(before).take_while(|(a, b)| a == b).count();
            let rest = key.get(shared..).unwrap_or_default();
            put_length(&mut out, shared);
            put_length(&mut out, rest.len());
            out.extend_from_slice(rest);
        }
        STANDARD_NO_PAD.encode(out)
    }

    pub fn decode(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let mut left = bytes.as_slice();
        let (mut keys, mut key) = (Self::default(), Vec::new());
        while !left.is_empty() {
            let shared = take_length(&mut left)?;
            let (rest, after) = take_length(&mut left).and_then(|length| left.split_at_checked(length))?;
            if shared > key.len() {
                return None;
            }
            key.truncate(shared);
            key.extend_from_slice(rest);
            if !keys.push(&key) {
                return None;
            }
            left = after;
        }
        keys.bytes.shrink_to_fit();
        keys.ends.shrink_to_fit();
        Some(keys)
    }
}

pub fn encode_crcs(crcs: &[u32]) -> String {
    STANDARD_NO_PAD.encode(crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect::<Vec<u8>>())
}

pub fn decode_crcs(text: &str) -> Option<Vec<u32>> {
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
}

/// Seven bits a byte, lowest first; the high bit says that more come.
fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.extend(u8::try_from(length & 0x7f).map(|low| low | 0x80));
        length >>= 7;
    }
    out.extend(u8::try_from(length));
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}
