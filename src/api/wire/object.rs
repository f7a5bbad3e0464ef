//! Objects and the URLs at which their bytes can be had.

use serde::Serialize;

use crate::domain::{FlowId, ObjectId, StorageId, Tags, TimeRange};

shape! {
    /// A URL at which the object's bytes can be had. All URLs of an object give the same bytes.
    #[derive(Serialize)]
    struct GetUrl<'a> as "GetUrl" {
        required {
            url as "url": String,
        }
        optional {
            /// Whether the URL carries its own permission, and for how long it does.
            presigned as "presigned": bool,
            /// Name of the place, to choose by.
            label as "label": &'a str,
            /// Whether this server keeps the bytes there.
            controlled as "controlled": bool,
            storage_id as "storage_id": StorageId,
            store_type as "store_type": &'a str,
            provider as "provider": &'a str,
            store_product as "store_product": &'a str,
            /// Tags of the storage backend.
            tags as "tags": &'a Tags,
        }
    }
}

shape! {
    /// What a decoder needs before the media object.
    #[derive(Serialize)]
    struct InitObject<'a> as "InitObject" {
        required {
            id as "id": &'a ObjectId,
        }
        optional {
            get_urls as "get_urls": Vec<GetUrl<'a>>,
        }
    }
}

shape! {
    /// An object: immutable bytes that segments, or other objects, refer to.
    #[derive(Serialize)]
    struct ObjectShape<'a> as "Object" {
        required {
            id as "id": &'a ObjectId,
            /// Flows whose segments use it, a page of them.
            referenced_by_flows as "referenced_by_flows": &'a [FlowId],
        }
        optional {
            /// The Flow that registered it.
            first_referenced_by_flow as "first_referenced_by_flow": FlowId,
            /// On the object's own timeline; init objects have none.
            timerange as "timerange": TimeRange,
            key_frame_count as "key_frame_count": i64,
            init_object as "init_object": InitObject<'a>,
            get_urls as "get_urls": Vec<GetUrl<'a>>,
        }
    }
}
