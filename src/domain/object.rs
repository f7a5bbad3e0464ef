//! Objects: the immutable bytes that segments refer to, and the places (instances) where they can be had.

use sha2::{Digest, Sha256};

use super::{FlowId, MimeType, ObjectId, ObjectPlace, StorageId, TimeRange, UtcTime, hex};

/// An Object. Media objects carry essence; init objects what a decoder needs before it. The roles never swap.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaObject {
    pub id: ObjectId,
    /// `None` until the first segment (or, for an init object, the first media object) refers to it.
    pub kind: Option<ObjectKind>,
    /// The Flow it was allocated for, or, for bytes that live elsewhere, the Flow that brought it.
    pub first_flow: FlowId,
    /// Of media objects, on the Object's own timeline; fixed when it is registered.
    pub timerange: Option<TimeRange>,
    pub key_frame_count: Option<i64>,
    pub init_object: Option<ObjectId>,
    /// Present for bytes that this server keeps.
    pub allocation: Option<Allocation>,
    pub instances: Vec<Instance>,
    /// Instances that this server kept and that were deleted: nobody is shown them any more, and their bytes go.
    pub condemned_instances: Vec<CondemnedInstance>,
    /// Storage that nobody registered in time: it cannot be registered any more, and its bytes go.
    pub condemned: bool,
    pub created: UtcTime,
    /// Of the bytes that this server keeps, once it is registered and they are there; not negative. No part of TAMS.
    pub size_bytes: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Media,
    Init,
}

/// Storage handed out for an Object before anything refers to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    pub content_type: MimeType,
    /// Unless it is registered by then, the Object is collected.
    pub expires: UtcTime,
}

/// One place where the Object's bytes are.
#[derive(Debug, Clone, PartialEq)]
pub enum Instance {
    /// Kept by this server, on a storage backend, under a key that this server made.
    Controlled { storage_id: StorageId, key: String },
    /// Kept by somebody else; the URL is passed on as it was given. Without a label no filter of labels lets it through:
    /// clients of TAMS 7.0 need not give one.
    Uncontrolled { url: String, label: Option<String> },
}

/// Bytes on a storage backend that are about to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondemnedInstance {
    pub storage_id: StorageId,
    pub key: String,
}

impl MediaObject {
    /// The key of bytes that this server keeps for an Object: the same for nobody else, and for no other Object that has
    /// this id at another time. 32 lowercase hexadecimal digits.
    pub fn own_key(id: &ObjectId, created: UtcTime) -> String {
        let hash =
            Sha256::new().chain_update(created.timestamp_micros().to_be_bytes()).chain_update(id.as_str()).finalize();
        hex(hash.get(..16).unwrap_or_default())
    }

    /// Where it was first; init objects are all at one place.
    pub fn place(&self) -> ObjectPlace {
        match self.timerange {
            Some(range) => ObjectPlace { flow_id: self.first_flow, start: range.start_key() },
            None => ObjectPlace::OF_INIT_OBJECTS,
        }
    }

    /// Whether a segment or a media object has ever referred to it.
    pub fn is_registered(&self) -> bool {
        self.kind.is_some()
    }

    /// Keys of all bytes that this server may still have of it, whether or not anybody is shown them.
    pub fn kept_keys(&self) -> impl Iterator<Item = &str> {
        let condemned = self.condemned_instances.iter().map(|instance| instance.key.as_str());
        self.controlled().map(|(_, key)| key).chain(condemned)
    }

    /// Keys of the bytes that this server keeps for it, with their backend.
    pub fn controlled(&self) -> impl Iterator<Item = (StorageId, &str)> {
        self.instances.iter().filter_map(|instance| match instance {
            Instance::Controlled { storage_id, key } => Some((*storage_id, key.as_str())),
            Instance::Uncontrolled { .. } => None,
        })
    }
}
