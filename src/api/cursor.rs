//! Places in lists as bytes, for page tokens.

use std::fmt::Display;
use std::str::FromStr;

use super::error::ApiError;
use crate::domain::{FlowId, UtcTime};
use crate::operations::{Cursor, SortKey};

pub trait PageCursor: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Of segments: a start key.
impl PageCursor for i128 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(i128::from_be_bytes)
    }
}

/// Of Flows that refer to an object.
impl PageCursor for FlowId {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}

/// Length of an id's text.
const ID_BYTES: usize = 36;
/// Labels can be longer than any header; of a longer one than this the token keeps only whose it is.
const MAX_TEXT_BYTES: usize = 512;
const TIME: u8 = b't';
const NO_TEXT: u8 = b'n';
const TEXT: u8 = b'x';
const LONG_TEXT: u8 = b'l';

/// Place in a list of Flows, Sources or storage backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListPlace<I> {
    At(Cursor<I>),
    /// After the item with this id, whose label is too long for a token.
    AfterLabelOf(I),
}

impl<I> From<Cursor<I>> for ListPlace<I> {
    fn from(cursor: Cursor<I>) -> Self {
        match &cursor.key {
            SortKey::Text(Some(text)) if text.len() > MAX_TEXT_BYTES => Self::AfterLabelOf(cursor.id),
            _ => Self::At(cursor),
        }
    }
}

impl<I: Copy> ListPlace<I> {
    /// `label_of` finds the label of an item; there is none when the item has gone, and then no way on.
    pub fn resolve(self, label_of: impl FnOnce(I) -> Option<String>) -> Result<Cursor<I>, ApiError> {
        match self {
            Self::At(cursor) => Ok(cursor),
            Self::AfterLabelOf(id) => match label_of(id) {
                Some(label) => Ok(Cursor { key: SortKey::Text(Some(label)), id }),
                None => Err(ApiError::bad_request(
                    "page_token",
                    "the item at which the page before ended is gone: start again",
                )),
            },
        }
    }
}

impl<I: Display + FromStr> PageCursor for ListPlace<I> {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::AfterLabelOf(id) => [id.to_string().as_bytes(), &[LONG_TEXT]].concat(),
            Self::At(Cursor { key, id }) => {
                let mut bytes = id.to_string().into_bytes();
                match key {
                    SortKey::Time(at) => {
                        bytes.push(TIME);
                        bytes.extend(at.timestamp_micros().to_be_bytes());
                    }
                    SortKey::Text(None) => bytes.push(NO_TEXT),
                    SortKey::Text(Some(text)) => {
                        bytes.push(TEXT);
                        bytes.extend(text.bytes());
                    }
                }
                bytes
            }
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, key) = bytes.split_at_checked(ID_BYTES)?;
        let id = std::str::from_utf8(id).ok()?.parse().ok()?;
        let key = match key.split_first()? {
            (&TIME, micros) => {
                SortKey::Time(UtcTime::from_timestamp_micros(i64::from_be_bytes(micros.try_into().ok()?))?)
            }
            (&NO_TEXT, []) => SortKey::Text(None),
            (&TEXT, text) => SortKey::Text(Some(std::str::from_utf8(text).ok()?.to_owned())),
            (&LONG_TEXT, []) => return Some(Self::AfterLabelOf(id)),
            _ => return None,
        };
        Some(Self::At(Cursor { key, id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_from_their_bytes() {
        let id: FlowId = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11".parse().unwrap();
        for key in [
            SortKey::Time(UtcTime::from_timestamp_micros(-1_234_567).unwrap()),
            SortKey::Text(None),
            SortKey::Text(Some(String::new())),
            SortKey::Text(Some("ü".into())),
        ] {
            let place = ListPlace::from(Cursor { key, id });
            assert!(matches!(place, ListPlace::At(_)));
            assert_eq!(ListPlace::from_bytes(&place.to_bytes()), Some(place));
        }
        assert_eq!(FlowId::from_bytes(&id.to_bytes()), Some(id));
        assert_eq!(i128::from_bytes(&i128::MIN.to_bytes()), Some(i128::MIN));
        assert_eq!(ListPlace::<FlowId>::from_bytes(b"short"), None);
    }

    #[test]
    fn a_long_label_is_looked_up_instead_of_carried() {
        let id: FlowId = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11".parse().unwrap();
        let label = "x".repeat(100_000);
        let cursor = Cursor { key: SortKey::Text(Some(label.clone())), id };
        let place = ListPlace::from(cursor.clone());
        assert!(place.to_bytes().len() < 50);
        let place = ListPlace::<FlowId>::from_bytes(&place.to_bytes()).unwrap();
        assert_eq!(place.clone().resolve(|_| Some(label)).unwrap(), cursor);
        assert!(place.resolve(|_| None).is_err());
    }
}
