//! Requests with no more in them than a test needs.

use serde_json::{Value, json};

/// A valid id that says its number: 00000000-0000-4000-8000-0000000000nn.
pub fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

pub fn video_flow(flow: u32, source: u32) -> Value {
    json!({
        "id": id(flow), "source_id": id(source), "format": "urn:x-nmos:format:video",
        "codec": "video/h264", "container": "video/mp2t",
        "essence_parameters": {"frame_width": 1280, "frame_height": 720, "frame_rate": {"numerator": 25}},
    })
}

pub fn audio_flow(flow: u32, source: u32) -> Value {
    json!({
        "id": id(flow), "source_id": id(source), "format": "urn:x-nmos:format:audio",
        "codec": "audio/aac", "container": "video/mp2t",
        "essence_parameters": {"sample_rate": 48000, "channels": 2},
    })
}

pub fn data_flow(flow: u32, source: u32) -> Value {
    json!({
        "id": id(flow), "source_id": id(source), "format": "urn:x-nmos:format:data",
        "codec": "application/json", "container": "application/json", "essence_parameters": {},
    })
}

pub fn multi_flow(flow: u32, source: u32) -> Value {
    json!({"id": id(flow), "source_id": id(source), "format": "urn:x-nmos:format:multi"})
}

/// A segment whose bytes live elsewhere, so that no storage is needed.
pub fn segment(object_id: &str, timerange: &str) -> Value {
    json!({
        "object_id": object_id, "timerange": timerange,
        "get_urls": [{"url": format!("https://media.example/{object_id}"), "label": "cdn"}],
    })
}

/// The same with these keys set.
pub fn with(mut value: Value, change: Value) -> Value {
    let (Value::Object(keys), Value::Object(change)) = (&mut value, change) else { panic!("two objects are needed") };
    keys.extend(change);
    value
}
