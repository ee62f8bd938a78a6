//! Who vouched, held once for all sessions that came by them: a provider's name and issuer are the same few texts in a
//! million sessions, and so is the beginning of their pictures' addresses.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::identity::{Issuer, Origin, ProviderName};

/// A configured provider and the issuer it answered as.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Voucher {
    pub(super) provider: ProviderName,
    pub(super) issuer: Issuer,
    /// Up to the last slash of the first address that was seen.
    pictures: OnceLock<Box<str>>,
}

/// An address of a picture that begins longer than this is nobody's who has many.
const LONGEST_BEGINNING: usize = 128;

/// Those of the sessions in the cache.
#[derive(Debug, Default)]
pub(super) struct Vouchers(Mutex<Vec<Arc<Voucher>>>);

/// Providers are few, but one of many tenants has an issuer for each. Those that find no room are held by each session
/// for itself: that costs memory alone.
const ROOM: usize = 64;

impl Vouchers {
    /// The voucher of `origin`.
    pub(super) fn of(&self, origin: &Origin) -> Arc<Voucher> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.iter().find(|known| known.vouches_for(origin)) {
            return Arc::clone(known);
        }
        if known.len() >= ROOM {
            known.retain(|voucher| Arc::strong_count(voucher) > 1);
        }
        let new = Arc::new(Voucher {
            provider: origin.provider.clone(),
            issuer: origin.key.issuer.clone(),
            pictures: OnceLock::new(),
        });
        if known.len() < ROOM {
            known.push(Arc::clone(&new));
        }
        new
    }
}

impl Voucher {
    /// What all addresses of pictures begin with from which something was [stripped](Self::strip_from).
    pub(super) fn pictures_begin(&self) -> &str {
        self.pictures.get().map_or("", |beginning| beginning)
    }

    /// The address of a picture without its beginning, if it begins as others do.
    pub(super) fn strip_from<'a>(&self, picture: &'a str) -> Option<&'a str> {
        picture.strip_prefix(&**self.pictures.get_or_init(|| beginning(picture).into()))
    }

    fn vouches_for(&self, origin: &Origin) -> bool {
        self.provider == origin.provider && self.issuer == origin.key.issuer
    }
}

fn beginning(picture: &str) -> &str {
    let beginning = picture.rsplit_once('/').and_then(|(before, _)| picture.get(..=before.len()));
    beginning.filter(|beginning| beginning.len() <= LONGEST_BEGINNING).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        identity::{IdentityKey, Subject},
    };

    fn origin(issuer: &str) -> Origin {
        Origin {
            provider: ProviderName::new("staff"),
            key: IdentityKey { issuer: Issuer::new(issuer), subject: Subject::new("42") },
            at: Timestamp::from_secs(1),
            acr: None,
            amr: vec![],
            connection: None,
            sid: None,
        }
    }

    #[test]
    fn sessions_of_one_issuer_share_their_voucher() {
        let vouchers = Vouchers::default();
        let (one, two) = (vouchers.of(&origin("https://a.test")), vouchers.of(&origin("https://a.test")));
        assert!(Arc::ptr_eq(&one, &two));
        assert_ne!(vouchers.of(&origin("https://b.test")), one);
    }

    #[test]
    fn any_number_of_issuers_take_bounded_room_and_those_without_sessions_make_room() {
        let vouchers = Vouchers::default();
        let held: Vec<_> = (0..2 * ROOM).map(|number| vouchers.of(&origin(&number.to_string()))).collect();
        assert_eq!(vouchers.0.lock().unwrap().len(), ROOM);
        assert_eq!(held[ROOM].issuer, Issuer::new(ROOM.to_string()));
        drop(held);
        let (one, two) = (vouchers.of(&origin("late")), vouchers.of(&origin("late")));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(vouchers.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn pictures_share_the_beginning_of_the_first() {
        let voucher = Vouchers::default().of(&origin("https://a.test"));
        assert_eq!(voucher.strip_from("https://img.test/a/1?s=96"), Some("1?s=96"));
        assert_eq!(voucher.pictures_begin(), "https://img.test/a/");
        assert_eq!(voucher.strip_from("https://img.test/a/"), Some(""));
        assert_eq!(voucher.strip_from("https://other.test/1"), None);
        assert_eq!(beginning("none"), "");
        assert_eq!(beginning("/"), "/");
        assert_eq!(beginning(&format!("https://{}/1", "x".repeat(LONGEST_BEGINNING))), "");
    }
}
