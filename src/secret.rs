//! Secrets: values that must not be seen, keys that seal, and the randomness both come from.
//!
//! * [`Secret`] is text that never shows itself: redacted `Debug`, an accessor that is easy to search for, wiped on
//!   drop, compared in constant time.
//! * [`KeyRing`] seals bytes for one [`Purpose`] and context with AES-256-GCM-SIV (RFC 8452: a repeated nonce reveals
//!   only whether two plaintexts were equal). The first key writes, every key reads, so keys rotate without a gap.
//! * [`random`] is the operating system's randomness through aws-lc-rs.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hkdf, hmac, rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

/// Text that must not be seen.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Every call is a place where a secret can leak: keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time (the length is not hidden).
    pub fn matches(&self, other: &str) -> bool {
        constant_time_eq(self.0.as_bytes(), other.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

/// Compares bytes in constant time; different lengths are unequal at once.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The same for 256 bits, a word at a time: it is asked for every request.
pub fn are_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let words = a.as_chunks().0.iter().zip(b.as_chunks().0);
    words.fold(Choice::from(1), |same, (a, b)| same & u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b))).into()
}

/// `N` bytes of the operating system's randomness.
///
/// # Panics
/// When the operating system has no randomness to give: nothing safe can be done then.
#[expect(clippy::expect_used, reason = "without randomness no id, nonce or key can be made")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// 256 random bits as base64url text, 43 characters: states, nonces, verifiers, lease tokens.
pub fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// HMAC-SHA256 (RFC 2104) of `message` under `key`.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    out
}

/// What sealed bytes are for. A value sealed for one purpose never opens for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A pending login in its cookie.
    LoginAttempt,
    /// A session record in the store.
    SessionRecord,
    /// Provider tokens inside a session record.
    ProviderTokens,
    /// The remembered origin in its cookie.
    RememberedOrigin,
    /// A form's CSRF token.
    FormToken,
    /// A message carried over a redirect.
    Notice,
    /// Our own private keys in the store.
    SigningKey,
}

impl Purpose {
    /// Each at its own number.
    const ALL: [Self; 7] = [
        Self::LoginAttempt,
        Self::SessionRecord,
        Self::ProviderTokens,
        Self::RememberedOrigin,
        Self::FormToken,
        Self::Notice,
        Self::SigningKey,
    ];

    fn label(self) -> &'static [u8] {
        match self {
            Self::LoginAttempt => b"brama/1 login attempt",
            Self::SessionRecord => b"brama/1 session record",
            Self::ProviderTokens => b"brama/1 provider tokens",
            Self::RememberedOrigin => b"brama/1 remembered origin",
            Self::FormToken => b"brama/1 form token",
            Self::Notice => b"brama/1 notice",
            Self::SigningKey => b"brama/1 signing key",
        }
    }
}

/// Why sealed bytes could not be opened. One reason only, so that nothing can be learnt by trying (threats 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes do not open with any current key")]
pub struct Unopened;

/// One master key.
#[derive(Clone)]
struct MasterKey {
    id: [u8; KEY_ID_LEN],
    bytes: Zeroizing<[u8; 32]>,
    /// What it gives without a salt, by the number of the purpose. Derived once: a sign-in seals and opens eight times,
    /// and to derive a key costs more than to seal a cookie with it.
    unsalted: Arc<[LessSafeKey]>,
}

/// The sealing keys: the first writes, all of them read.
#[derive(Clone)]
pub struct KeyRing {
    first: MasterKey,
    older: Vec<MasterKey>,
}

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

impl KeyRing {
    /// A ring of `first` (writes and reads) and `older` keys (read only), 256 bits each.
    pub fn new(first: [u8; 32], older: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self { first: MasterKey::new(first), older: older.into_iter().map(MasterKey::new).collect() }
    }

    /// Seals `plaintext` so that it opens only for the same `purpose` and `context`.
    ///
    /// `salt` mixes a second secret into the key, such as a session id only the browser has; empty when there is none.
    ///
    /// # Panics
    /// Never for plaintexts below 2^36 bytes.
    #[expect(clippy::expect_used, reason = "fails only for plaintexts of 64 GiB")]
    pub fn seal(&self, purpose: Purpose, salt: &[u8], context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let nonce = random::<NONCE_LEN>();
        let mut out = Vec::with_capacity(HEADER_LEN + plaintext.len() + 16);
        out.push(VERSION);
        out.extend_from_slice(&self.first.id);
        out.extend_from_slice(&nonce);
        let mut sealed = plaintext.to_vec();
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(bound(purpose, context)));
        self.first
            .with(purpose, salt, |key| key.seal_in_place_append_tag(nonce, aad, &mut sealed))
            .expect("AES-256-GCM-SIV seals any plaintext below 64 GiB");
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what [`seal`](Self::seal) made with the same purpose, salt and context.
    ///
    /// # Errors
    /// [`Unopened`] for anything else, without saying why.
    pub fn open(
        &self,
        purpose: Purpose,
        salt: &[u8],
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let (header, body) = sealed.split_at_checked(HEADER_LEN).ok_or(Unopened)?;
        let (version, rest) = header.split_first().ok_or(Unopened)?;
        let (id, nonce) = rest.split_at_checked(KEY_ID_LEN).ok_or(Unopened)?;
        if *version != VERSION {
            return Err(Unopened);
        }
        let key = std::iter::once(&self.first).chain(&self.older).find(|key| key.id == id).ok_or(Unopened)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened)?;
        let mut bytes = Zeroizing::new(body.to_vec());
        let aad = Aad::from(bound(purpose, context));
        let plaintext_len = key
            .with(purpose, salt, |key| key.open_in_place(nonce, aad, &mut bytes).map(|plaintext| plaintext.len()))
            .map_err(|_| Unopened)?;
        bytes.truncate(plaintext_len);
        Ok(bytes)
    }

    /// Seals into base64url text, for cookies and forms.
    pub fn seal_text(&self, purpose: Purpose, context: &[u8], plaintext: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal(purpose, b"", context, plaintext))
    }

    /// Opens what [`seal_text`](Self::seal_text) made.
    ///
    /// # Errors
    /// [`Unopened`] for anything else.
    pub fn open_text(&self, purpose: Purpose, context: &[u8], sealed: &str) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Unopened)?;
        self.open(purpose, b"", context, &bytes)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", 1 + self.older.len())
    }
}

impl MasterKey {
    fn new(bytes: [u8; 32]) -> Self {
        let mut id = [0; KEY_ID_LEN];
        // The id is public; it is a hash so that it tells nothing of the key.
        id.copy_from_slice(
            sha256(&[b"brama/1 key id".as_slice(), &bytes].concat()).get(..KEY_ID_LEN).unwrap_or_default(),
        );
        let bytes = Zeroizing::new(bytes);
        let unsalted = Purpose::ALL.iter().map(|purpose| derive(&bytes, *purpose, b"")).collect();
        Self { id, bytes, unsalted }
    }

    /// Does something with the AEAD key of one purpose and salt.
    fn with<T>(&self, purpose: Purpose, salt: &[u8], work: impl FnOnce(&LessSafeKey) -> T) -> T {
        match self.unsalted.get(purpose as usize).filter(|_| salt.is_empty()) {
            Some(key) => work(key),
            None => work(&derive(&self.bytes, purpose, salt)),
        }
    }
}

/// The AEAD key that `master` gives for one purpose and salt (HKDF-SHA256, RFC 5869).
#[expect(clippy::expect_used, reason = "lengths are constants of the algorithm")]
fn derive(master: &[u8; 32], purpose: Purpose, salt: &[u8]) -> LessSafeKey {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(master.as_slice())
        .expand(&[purpose.label()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .expect("HKDF-SHA256 gives 32 bytes");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key.as_slice()).expect("AES-256 takes 32 bytes"))
}

/// Additional data that ties a ciphertext to its use; length-prefixed so that no two pairs read alike.
fn bound(purpose: Purpose, context: &[u8]) -> Vec<u8> {
    let label = purpose.label();
    let mut aad = Vec::with_capacity(16 + label.len() + context.len());
    aad.extend_from_slice(&(label.len() as u64).to_be_bytes());
    aad.extend_from_slice(label);
    aad.extend_from_slice(&(context.len() as u64).to_be_bytes());
    aad.extend_from_slice(context);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u8; 32] = [1; 32];
    const TWO: [u8; 32] = [2; 32];

    #[test]
    fn every_one_of_256_bits_makes_a_difference() {
        assert!(are_same(&ONE, &ONE));
        for bit in 0..256 {
            let mut other = ONE;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!are_same(&ONE, &other), "bit {bit}");
        }
    }

    #[test]
    fn what_is_sealed_opens_only_for_the_same_purpose_salt_and_context() {
        let ring = KeyRing::new(ONE, []);
        let sealed = ring.seal(Purpose::SessionRecord, b"salt", b"here", b"hello");
        assert_eq!(ring.open(Purpose::SessionRecord, b"salt", b"here", &sealed).unwrap().as_slice(), b"hello");
        assert!(ring.open(Purpose::LoginAttempt, b"salt", b"here", &sealed).is_err());
        assert!(ring.open(Purpose::SessionRecord, b"other", b"here", &sealed).is_err());
        assert!(ring.open(Purpose::SessionRecord, b"salt", b"there", &sealed).is_err());
    }

    #[test]
    fn a_key_that_is_kept_is_the_one_of_its_purpose() {
        let ring = KeyRing::new(ONE, []);
        for purpose in Purpose::ALL {
            let sealed = ring.seal(purpose, b"", b"here", b"hello");
            let (header, body) = sealed.split_at(HEADER_LEN);
            let nonce = Nonce::try_assume_unique_for_key(&header[1 + KEY_ID_LEN..]).unwrap();
            let mut body = body.to_vec();
            let key = derive(&ONE, purpose, b"");
            assert_eq!(key.open_in_place(nonce, Aad::from(bound(purpose, b"here")), &mut body).unwrap(), b"hello");
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let ring = KeyRing::new(ONE, []);
        let sealed = ring.seal(Purpose::Notice, b"", b"", b"hello");
        for index in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[index] ^= 1;
            assert!(ring.open(Purpose::Notice, b"", b"", &forged).is_err(), "byte {index}");
        }
        for length in 0..sealed.len() {
            assert!(ring.open(Purpose::Notice, b"", b"", &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_rotated_ring_reads_old_and_writes_new() {
        let old = KeyRing::new(ONE, []);
        let rotated = KeyRing::new(TWO, [ONE]);
        let sealed_before = old.seal(Purpose::Notice, b"", b"", b"before");
        assert_eq!(rotated.open(Purpose::Notice, b"", b"", &sealed_before).unwrap().as_slice(), b"before");
        let sealed_after = rotated.seal(Purpose::Notice, b"", b"", b"after");
        assert!(old.open(Purpose::Notice, b"", b"", &sealed_after).is_err());
    }

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert!(secret.matches("hunter2"));
        assert!(!secret.matches("hunter3"));
    }
}
