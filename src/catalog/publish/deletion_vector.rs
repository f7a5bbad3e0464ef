//! Deletion vectors of the Delta protocol: which rows of a file are not part of the table.

use bytes::Bytes;
use deltalake::kernel::{DeletionVectorDescriptor, StorageType};
use roaring::RoaringBitmap;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// "RoaringBitmapArray", portable: little-endian, before the bitmaps.
const MAGIC: u32 = 1_681_511_377;

/// Larger vectors get a file of their own: what is in the log is copied into every checkpoint.
const INLINE_BYTES: usize = 1_024;

#[cfg(test)]
thread_local! {
    /// Whether this thread gives every vector a file of its own.
    pub static NONE_INLINE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn inline_bytes() -> usize {
    #[cfg(test)]
    if NONE_INLINE.get() {
        return 0;
    }
    INLINE_BYTES
}

/// Folder of those files.
const PREFIX: &str = "dv";

/// A deletion vector of its own file.
#[derive(Debug)]
pub struct VectorFile {
    pub path: String,
    pub bytes: Bytes,
    /// The table does not refer to it yet.
    pub new: bool,
}

/// How the dead rows of a file are told; `None` when there are none.
///
/// Equal rows of a file make an equal vector, so that descriptors can be compared, and a file can be put again.
pub fn encode(
    path: &str,
    dead: &RoaringBitmap,
) -> Result<Option<(DeletionVectorDescriptor, Option<VectorFile>)>, String> {
    if dead.is_empty() {
        return Ok(None);
    }
    let array = bitmap_array(dead).map_err(|error| error.to_string())?;
    let size_in_bytes = i32::try_from(array.len()).map_err(|_| "too many dead rows".to_owned())?;
    let cardinality = i64::try_from(dead.len()).map_err(|_| "too many dead rows".to_owned())?;
    if array.len() <= inline_bytes() {
        let mut padded = array;
        padded.resize(padded.len().next_multiple_of(4), 0);
        let descriptor = DeletionVectorDescriptor {
            storage_type: StorageType::Inline,
            path_or_inline_dv: z85::encode(padded),
            offset: None,
            size_in_bytes,
            cardinality,
        };
        return Ok(Some((descriptor, None)));
    }
    let id = name(path, &array);
    let mut bytes = Vec::with_capacity(array.len() + 9);
    bytes.push(1);
    bytes.extend(size_in_bytes.to_be_bytes());
    bytes.extend(&array);
    bytes.extend(crc32fast::hash(&array).to_be_bytes());
    let descriptor = DeletionVectorDescriptor {
        storage_type: StorageType::UuidRelativePath,
        path_or_inline_dv: format!("{PREFIX}{}", z85::encode(id.as_bytes())),
        offset: Some(1),
        size_in_bytes,
        cardinality,
    };
    let file = VectorFile { path: file_name(PREFIX, id), bytes: bytes.into(), new: true };
    Ok(Some((descriptor, Some(file))))
}

/// From the table's folder on; `None` for an inline vector.
pub fn file_of(descriptor: &DeletionVectorDescriptor) -> Option<String> {
    if descriptor.storage_type != StorageType::UuidRelativePath {
        return None;
    }
    let (prefix, id) =
        descriptor.path_or_inline_dv.split_at_checked(descriptor.path_or_inline_dv.len().checked_sub(20)?)?;
    Some(file_name(prefix, Uuid::from_slice(&z85::decode(id).ok()?).ok()?))
}

/// Whether a path is that of a deletion vector.
pub fn is_one(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}

fn file_name(prefix: &str, id: Uuid) -> String {
    let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    format!("{folder}deletion_vector_{id}.bin")
}

/// The data file is part of it, so that a name is never needed again once its vector was replaced: rows only die.
fn name(path: &str, array: &[u8]) -> Uuid {
    let digest = Sha256::new().chain_update(path).chain_update([0]).chain_update(array).finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid()
}

fn bitmap_array(dead: &RoaringBitmap) -> std::io::Result<Vec<u8>> {
    let mut runs = dead.clone();
    runs.optimize();
    let mut array = Vec::with_capacity(16 + runs.serialized_size());
    array.extend(MAGIC.to_le_bytes());
    array.extend(1_u64.to_le_bytes());
    array.extend(0_u32.to_le_bytes());
    runs.serialize_into(&mut array)?;
    Ok(array)
}

#[cfg(test)]
pub fn decode(descriptor: &DeletionVectorDescriptor, file: Option<&[u8]>) -> RoaringBitmap {
    let size = usize::try_from(descriptor.size_in_bytes).unwrap();
    let array = match file {
        None => z85::decode(&descriptor.path_or_inline_dv).unwrap()[..size].to_vec(),
        Some(bytes) => {
            assert_eq!(bytes[..5], [&[1][..], &descriptor.size_in_bytes.to_be_bytes()].concat());
            assert_eq!(bytes[5 + size..], crc32fast::hash(&bytes[5..5 + size]).to_be_bytes());
            bytes[5..5 + size].to_vec()
        }
    };
    assert_eq!(array[..4], MAGIC.to_le_bytes());
    assert_eq!(array[4..16], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    RoaringBitmap::deserialize_from(&array[16..]).unwrap()
}
