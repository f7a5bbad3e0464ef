//! Secrets of webhooks as they are kept: sealed with AES-256-GCM under a key that follows from `signing.key`, so that the
//! log, a checkpoint or a copy of either tells nobody what they are. Whoever has the whole data folder has the key too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::clock::Clock;
use crate::domain::Secret;

/// First byte of what is sealed. A new form gets a new number.
const VERSION: u8 = 1;

pub struct Vault {
    key: LessSafeKey,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the secret of the webhook cannot be read: signing.key is not the one it was kept with; PUT api_key_value again"
)]
pub struct Sealed;

impl Vault {
    /// `None` cannot happen: the key has the length that the cipher wants.
    pub fn new(key: [u8; 32], clock: Clock) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &key).ok()?;
        Some(Self { key: LessSafeKey::new(key), clock })
    }

    /// `None` for a text of more gigabytes than the cipher takes.
    pub fn seal(&self, text: &str) -> Option<Secret> {
        // Random, 96 bits: with a few thousand secrets in a lifetime none comes twice.
        let nonce: [u8; NONCE_LEN] = self.clock.random_bytes();
        let mut bytes = text.as_bytes().to_vec();
        let nonce_of_cipher = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce_of_cipher, Aad::empty(), &mut bytes).ok()?;
        let sealed = [&[VERSION], nonce.as_slice(), &bytes].concat();
        Some(Secret::new(STANDARD.encode(sealed)))
    }

    pub fn open(&self, secret: &Secret) -> Result<Secret, Sealed> {
        let sealed = STANDARD.decode(secret.reveal()).map_err(|_| Sealed)?;
        let (nonce, text) = match sealed.split_first() {
            Some((&VERSION, rest)) => rest.split_first_chunk::<NONCE_LEN>().ok_or(Sealed)?,
            _ => return Err(Sealed),
        };
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.key.open_in_place(nonce, Aad::empty(), &mut text).map_err(|_| Sealed)?;
        String::from_utf8(text.to_vec()).map(Secret::new).map_err(|_| Sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UtcTime;

    fn vault(key: u8) -> Vault {
        Vault::new([key; 32], Clock::manual(UtcTime::UNIX_EPOCH, 1)).unwrap()
    }

    #[test]
    fn a_secret_comes_back_under_its_key_only_and_shows_nothing() {
        let one = vault(1);
        let sealed = one.seal("s3cret").unwrap();
        assert!(!sealed.reveal().contains("s3cret"));
        assert_ne!(sealed, one.seal("s3cret").unwrap(), "twice the same is not to be seen");
        assert_eq!(one.open(&sealed).unwrap().reveal(), "s3cret");
        assert!(vault(2).open(&sealed).is_err());
        for damaged in ["", "AQ==", "s3cret"] {
            assert!(one.open(&Secret::new(damaged.into())).is_err());
        }
    }
}
