//! Integration tests: one binary, one slow link. Files mirror `src/api`; `helpers` has servers, clients and builders.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "tests say loudly what they could not check")]

mod helpers;

mod architecture;
mod backup;
mod bad_input;
mod conformance_core;
mod conformance_instances;
mod conformance_lists;
mod conformance_profiles;
mod conformance_webhooks;
mod contract;
mod crash;
mod delete_requests;
mod demo;
mod events;
mod exports;
mod flow_collections;
mod flow_properties;
mod flows;
mod flush;
mod fsck;
mod hostile_sql;
mod http;
mod instances;
mod media;
mod media_end_to_end;
mod media_formats;
mod objects;
mod paging;
mod profiles;
mod races;
mod readme;
mod root;
mod segments_delete;
mod segments_get;
mod segments_post;
mod service;
mod sources;
mod sql;
mod storage;
mod storage_backends;
mod synth;
mod v7;
mod v7_webhooks;
mod versions;
mod webhooks;
