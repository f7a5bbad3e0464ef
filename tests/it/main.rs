//! Integration tests: one binary, one slow link. Files mirror `src/api`; `helpers` has servers, clients and builders.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "tests say loudly what they could not check")]

mod helpers;

mod architecture;
mod bad_input;
mod crash;
mod demo;
mod flow_collections;
mod flow_properties;
mod flows;
mod http;
mod media;
mod media_end_to_end;
mod objects;
mod paging;
mod races;
mod readme;
mod root;
mod segments_delete;
mod segments_get;
mod segments_post;
mod service;
mod sources;
mod storage;
mod storage_backends;
