//! Signed URLs of this server: whoever holds one may read or write the bytes of one object until it expires.
//!
//! Uses HMAC-SHA-256 with one secret key. Does not know whether the object exists.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::MediaError;
use super::disk::sync_folder;
use crate::domain::hex;

/// All but the unreserved characters of RFC 3986: what remains can stand in a path segment or a query value.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// First bytes of every signed message. A new form of the message gets a new number, and old URLs stop to work.
const VERSION: &[u8] = b"tamslake media url 1";

/// What a URL allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read: serves GET and HEAD.
    Get,
    /// Upload.
    Put,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature is ours, but its time is over.
    #[error("the URL expired at {at}")]
    Expired { at: DateTime<Utc> },
    /// The URL was changed, was signed with another key, or was never signed.
    #[error("the signature does not fit the URL")]
    Wrong,
}

/// Signs URLs and recognises its own signatures.
#[derive(Clone)]
pub struct UrlSigner {
    /// HMAC that has the key and [`VERSION`] behind it: cloned for each URL, which saves half of the hashing.
    state: Hmac<Sha256>,
}

impl UrlSigner {
    pub fn new(key: [u8; 32]) -> UrlSigner {
        // HMAC fills a short key up to a block with zeros: done here, so that no length is left that can be wrong.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&key);
        let mut state = Hmac::<Sha256>::new(&block.into());
        state.update(VERSION);
        UrlSigner { state }
    }

    /// The signature: base64url without padding, 43 characters. Only whole seconds of `expires` count.
    pub fn sign(&self, access: Access, object_id: &str, key: &str, expires: DateTime<Utc>) -> String {
        let mac = self.message(access, object_id, key, expires).finalize();
        URL_SAFE_NO_PAD.encode(mac.into_bytes())
    }

    /// Checks what a request brought. The signature comes first: only who holds a real URL learns that it expired.
    pub fn verify(
        &self,
        access: Access,
        object_id: &str,
        key: &str,
        expires: DateTime<Utc>,
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<(), SignatureError> {
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| SignatureError::Wrong)?;
        // Compares in constant time.
        self.message(access, object_id, key, expires).verify_slice(&signature).map_err(|_| SignatureError::Wrong)?;
        if now.timestamp() >= expires.timestamp() {
            return Err(SignatureError::Expired { at: expires });
        }
        Ok(())
    }

    /// `{base}/media/{object id}?key=..&expires=<seconds since 1970>&signature=..`
    ///
    /// The object id is one path segment. Trap: an empty id, `.` and `..` cannot stand in a path (clients remove them,
    /// however they are encoded), so no object may be allocated under these names.
    pub fn media_url(&self, base: &str, access: Access, object_id: &str, key: &str, expires: DateTime<Utc>) -> String {
        let base = base.trim_end_matches('/');
        let mut url = String::with_capacity(base.len() + object_id.len() + key.len() + 96);
        url.push_str(base);
        url.push_str("/media/");
        url.extend(utf8_percent_encode(object_id, RESERVED));
        url.push_str("?key=");
        url.extend(utf8_percent_encode(key, RESERVED));
        // Writing to a String cannot fail.
        let _ = write!(url, "&expires={}&signature=", expires.timestamp());
        let mac = self.message(access, object_id, key, expires).finalize();
        URL_SAFE_NO_PAD.encode_string(mac.into_bytes(), &mut url);
        url
    }

    /// Each text has its length in front, so that no two requests give the same message.
    fn message(&self, access: Access, object_id: &str, key: &str, expires: DateTime<Utc>) -> Hmac<Sha256> {
        let mut mac = self.state.clone();
        mac.update(match access {
            Access::Get => b"G",
            Access::Put => b"P",
        });
        mac.update(&expires.timestamp().to_be_bytes());
        for text in [object_id, key] {
            mac.update(&(text.len() as u64).to_be_bytes());
            mac.update(text.as_bytes());
        }
        mac
    }
}

impl fmt::Debug for UrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlSigner").finish_non_exhaustive()
    }
}

/// When a URL made now shall expire: after `ttl`, rounded up to a full minute. Listings of the same minute thus give the
/// same URL, which caches need.
pub fn expiry(now: DateTime<Utc>, ttl: Duration) -> DateTime<Utc> {
    let end = now.timestamp_micros().saturating_add_unsigned(u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX));
    let minutes = end.div_euclid(60_000_000) + i64::from(end.rem_euclid(60_000_000) > 0);
    DateTime::from_timestamp(minutes * 60, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A key for another purpose, from which nothing of `key` follows.
pub fn derived_key(key: [u8; 32], purpose: &[u8]) -> [u8; 32] {
    let mut message = Sha256::new();
    message.update(key);
    message.update(purpose);
    message.finalize().into()
}

/// Reads the secret key from its file, or makes the file (mode 0600) from `fresh` bytes if it is not there.
///
/// Two servers that start at once on the same file end with the same key. Blocks: call it while starting.
pub fn load_or_create_key(path: &Path, fresh: impl FnOnce() -> [u8; 32]) -> Result<[u8; 32], MediaError> {
    if let Some(key) = load_key(path)? {
        return Ok(key);
    }
    create_key(path, fresh())?;
    // Read back: another server may have been first.
    load_key(path)?.ok_or_else(|| MediaError::io(path, ErrorKind::NotFound.into()))
}

fn load_key(path: &Path) -> Result<Option<[u8; 32]>, MediaError> {
    let io = |source| MediaError::io(path, source);
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io)?,
    };
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(MediaError::KeyFileNotPrivate { path, mode });
    }
    let mut text = Vec::new();
    file.take(256).read_to_end(&mut text).map_err(io)?;
    match parse_key(text.trim_ascii_end()) {
        Some(key) => Ok(Some(key)),
        None => Err(MediaError::KeyFileMalformed { path: path.to_owned() }),
    }
}

fn parse_key(text: &[u8]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 2 * key.len() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (byte, [high, low]) in key.iter_mut().zip(text.as_chunks().0) {
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(key)
}

/// Writes the key beside its place and links it there, which fails if a file is there already: never half a key, never
/// another one.
fn create_key(path: &Path, key: [u8; 32]) -> Result<(), MediaError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Process ids repeat (every container has 1), a hash of the fresh key does not; it does not tell the key either.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", hex(&Sha256::digest(key))));
    let draft = folder.join(name);

    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(format!("{}\n", hex(&key)).as_bytes())?;
            file.sync_all()
        })
        .map_err(|source| MediaError::io(&draft, source));
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|source| MediaError::io(path, source)),
    });
    let removed = std::fs::remove_file(&draft).map_err(|source| MediaError::io(&draft, source));
    linked.and(removed)?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "00112233445566778899aabbccddeeff";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn signer() -> UrlSigner {
        UrlSigner::new([7; 32])
    }

    #[test]
    fn a_signature_is_the_hmac_of_the_documented_message() {
        // Python: hmac.new(bytes([7])*32, b"tamslake media url 1" + b"P" + struct.pack(">q", 1000)
        //   + struct.pack(">Q", 2) + b"o1" + struct.pack(">Q", 32) + KEY, "sha256")
        let signature = signer().sign(Access::Put, "o1", KEY, at(1000));
        assert_eq!(signature, "YTrC6eWVpoGmdA66WuZDbDwrjvKruiIlAB26gAmyIPI");
    }

    #[test]
    fn an_untouched_url_is_accepted_until_it_expires() {
        let signature = signer().sign(Access::Get, "o1", KEY, at(1000));
        let verify = |now| signer().verify(Access::Get, "o1", KEY, at(1000), &signature, now);
        assert_eq!(verify(at(999)), Ok(()));
        assert_eq!(verify(at(1000)), Err(SignatureError::Expired { at: at(1000) }));
    }

    #[test]
    fn every_part_of_a_url_is_signed() {
        let signature = signer().sign(Access::Get, "o1", KEY, at(1000));
        let other_key = KEY.replace('0', "1");
        let attacks = [
            (Access::Put, "o1", KEY, 1000),
            (Access::Get, "o2", KEY, 1000),
            (Access::Get, "", KEY, 1000),
            (Access::Get, "o1", other_key.as_str(), 1000),
            (Access::Get, "o1", "../../etc/passwd", 1000),
            (Access::Get, "o1", KEY, 1001),
            (Access::Get, "o1", KEY, i64::from(u32::MAX)),
        ];
        for (access, object_id, key, expires) in attacks {
            let verdict = signer().verify(access, object_id, key, at(expires), &signature, at(0));
            assert_eq!(verdict, Err(SignatureError::Wrong), "{access:?} {object_id} {key} {expires}");
        }
        let foreign = UrlSigner::new([8; 32]);
        let verdict = foreign.verify(Access::Get, "o1", KEY, at(1000), &signature, at(0));
        assert_eq!(verdict, Err(SignatureError::Wrong));
    }

    #[test]
    fn characters_moved_between_object_id_and_key_spoil_the_signature() {
        let signature = signer().sign(Access::Get, "ab", "cd", at(1000));
        for (object_id, key) in [("abc", "d"), ("a", "bcd"), ("abcd", ""), ("", "abcd"), ("cd", "ab")] {
            let verdict = signer().verify(Access::Get, object_id, key, at(1000), &signature, at(0));
            assert_eq!(verdict, Err(SignatureError::Wrong), "{object_id} {key}");
        }
    }

    #[test]
    fn damaged_signatures_are_wrong_even_when_the_url_has_expired() {
        let signature = signer().sign(Access::Get, "o1", KEY, at(1000));
        let longer = format!("{signature}AAAA");
        let padded = format!("{signature}=");
        let prefix = signature.get(..40).unwrap();
        for damaged in ["", "A", "not base64!", prefix, &longer, &padded, "\0", "ÄÖ"] {
            let verdict = signer().verify(Access::Get, "o1", KEY, at(1000), damaged, at(2000));
            assert_eq!(verdict, Err(SignatureError::Wrong), "{damaged:?}");
        }
        // The last of 43 characters carries four bits: its spare bits must not give a second valid spelling.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let spellings = alphabet.chars().filter(|last| {
            let spelling = format!("{}{last}", signature.get(..42).unwrap());
            signer().verify(Access::Get, "o1", KEY, at(1000), &spelling, at(0)).is_ok()
        });
        assert_eq!(spellings.count(), 1);
    }

    #[test]
    fn a_url_carries_any_object_id_as_one_path_segment() {
        let url = signer().media_url("https://t.example/", Access::Put, "a/b ?#%2F&ü~", KEY, at(1000));
        let signature = signer().sign(Access::Put, "a/b ?#%2F&ü~", KEY, at(1000));
        assert_eq!(
            url,
            format!(
                "https://t.example/media/a%2Fb%20%3F%23%252F%26%C3%BC~?key={KEY}&expires=1000&signature={signature}"
            )
        );
    }

    #[test]
    fn urls_of_the_same_minute_are_equal_and_live_at_least_as_long_as_asked() {
        let ttl = Duration::from_secs(3600);
        assert_eq!(expiry(at(6000), ttl), at(9600));
        assert_eq!(expiry(at(6001), ttl), at(9660));
        assert_eq!(expiry(at(6060), ttl), at(9660));
        let a_bit_later = at(6000) + Duration::from_millis(1);
        assert_eq!(expiry(a_bit_later, ttl), at(9660));
        assert_eq!(expiry(at(-61), Duration::ZERO), at(-60));
        assert!(expiry(at(6000), Duration::MAX) > at(6000));
    }

    #[test]
    fn a_key_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url.key");
        assert_eq!(load_or_create_key(&path, || [0xab; 32]).unwrap(), [0xab; 32]);
        assert_eq!(load_or_create_key(&path, || panic!("made a second key")).unwrap(), [0xab; 32]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", "ab".repeat(32)));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_server_that_starts_at_the_same_time_gets_the_first_ones_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url.key");
        let key = load_or_create_key(&path, || {
            load_or_create_key(&path, || [1; 32]).unwrap();
            [2; 32]
        });
        assert_eq!(key.unwrap(), [1; 32]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url.key");
        load_or_create_key(&path, || [1; 32]).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = load_or_create_key(&path, || [2; 32]).unwrap_err();
            assert!(matches!(error, MediaError::KeyFileNotPrivate { mode: found, .. } if found == mode));
            assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
    }

    #[test]
    fn a_malformed_key_file_is_named_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url.key");
        load_or_create_key(&path, || [1; 32]).unwrap();
        for text in ["", "\n", "abcd\n", &"g".repeat(64), &"a".repeat(66), &"+a".repeat(32), &"ä".repeat(32)] {
            std::fs::write(&path, text).unwrap();
            let error = load_or_create_key(&path, || [2; 32]).unwrap_err();
            assert!(matches!(error, MediaError::KeyFileMalformed { .. }), "{text:?}");
            assert!(error.to_string().contains("url.key"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
