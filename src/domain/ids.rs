//! Ids. Sources, Flows and storage backends have UUIDs in the one form that TAMS allows (lower case, version 1 to 5);
//! an Object's id is whatever text its maker chose.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UUID of version 1 to 5 in lower case, like 2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11")]
pub struct InvalidUuid(String);

/// Reads the only spelling that `uuid.json` allows.
///
/// `Uuid` itself reads upper case, braces and URNs too; those are refused, so that one id has one text.
fn parse_uuid(text: &str) -> Result<Uuid, InvalidUuid> {
    let refuse = || InvalidUuid(text.chars().take(64).collect());
    let bytes = text.as_bytes();
    let shape_holds = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => matches!(byte, b'1'..=b'5'),
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    if !shape_holds {
        return Err(refuse());
    }
    Uuid::try_parse(text).map_err(|_| refuse())
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The smallest and the largest value in sort order; neither is an id that a client can send.
            pub const MIN: Self = Self(Uuid::nil());
            pub const MAX: Self = Self(Uuid::max());

            /// A random (version 4) id from 16 random bytes.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            pub fn from_exact_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// They sort as the id and its text do.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = InvalidUuid;
            fn from_str(text: &str) -> Result<Self, InvalidUuid> {
                parse_uuid(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id! {
    /// Id of a Source: the same content, however it is encoded.
    SourceId
}
uuid_id! {
    /// Id of a Flow: one encoding of a Source, with its own timeline.
    FlowId
}
uuid_id! {
    /// Id of a Profile.
    ProfileId
}
uuid_id! {
    /// Id of a Webhook.
    WebhookId
}
uuid_id! {
    /// Id of a Flow Delete Request.
    DeleteRequestId
}
uuid_id! {
    /// Id of a storage backend, where media bytes live.
    StorageId
}

/// Id of a media or init Object: 1 to 1,024 bytes of text without control characters.
///
/// Cheap to clone; sorts by code point. It never becomes part of a path on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObjectId {
    #[error("an object id cannot be empty")]
    Empty,
    #[error("an object id has at most {} bytes, this one has {bytes}", ObjectId::MAX_BYTES)]
    TooLong { bytes: usize },
    #[error("an object id cannot be {0:?}: no URL can carry it")]
    DotSegment(String),
    #[error("an object id cannot hold control characters (found U+{:04X})", *.0 as u32)]
    ControlCharacter(char),
}

impl ObjectId {
    pub const MAX_BYTES: usize = 1024;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Sorts before every id that a client can send; not itself one.
    pub fn before_all() -> Self {
        Self("".into())
    }
}

impl FromStr for ObjectId {
    type Err = InvalidObjectId;
    fn from_str(text: &str) -> Result<Self, InvalidObjectId> {
        if text.is_empty() {
            return Err(InvalidObjectId::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidObjectId::TooLong { bytes: text.len() });
        }
        // Clients resolve these two away, even percent-encoded, so such an Object could never be reached.
        if matches!(text, "." | "..") {
            return Err(InvalidObjectId::DotSegment(text.to_owned()));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(control) => Err(InvalidObjectId::ControlCharacter(control)),
            None => Ok(Self(text.into())),
        }
    }
}

impl Borrow<str> for ObjectId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lower_case_spelling_of_versions_1_to_5_is_an_id() {
        let good = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11";
        assert_eq!(good.parse::<FlowId>().unwrap().to_string(), good);
        for bad in [
            "",
            "../..",
            "2F8C1C1E-7D6B-4A39-9D0E-0D5A3F0F6B11",
            "2f8c1c1e7d6b4a399d0e0d5a3f0f6b11",
            "{2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11}",
            "2f8c1c1e-7d6b-7a39-9d0e-0d5a3f0f6b11",
            "2f8c1c1e-7d6b-4a39-cd0e-0d5a3f0f6b11",
            "00000000-0000-0000-0000-000000000000",
            "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b1\0",
        ] {
            assert!(bad.parse::<FlowId>().is_err(), "{bad:?}");
        }
        assert!(FlowId::from_random([7; 16]).to_string().parse::<FlowId>().is_ok());
    }

    #[test]
    fn an_object_id_is_any_text_but_empty_long_or_with_control_characters() {
        for good in ["a", "tams/2026/a b?.ts", "../../etc/passwd", "日本"] {
            assert_eq!(good.parse::<ObjectId>().unwrap().as_str(), good);
        }
        assert_eq!("".parse::<ObjectId>(), Err(InvalidObjectId::Empty));
        assert_eq!("..".parse::<ObjectId>(), Err(InvalidObjectId::DotSegment("..".into())));
        assert_eq!("a\0b".parse::<ObjectId>(), Err(InvalidObjectId::ControlCharacter('\0')));
        assert_eq!("x".repeat(1025).parse::<ObjectId>(), Err(InvalidObjectId::TooLong { bytes: 1025 }));
    }
}
