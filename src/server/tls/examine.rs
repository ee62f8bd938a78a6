//! Looking at certificates on the disk for `brama doctor`: whether they can be read, and for how long they are valid.

use std::{fs, path::Path, time::Duration};

use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};

use super::certificate::{CertificateError, Pems};
use crate::{
    clock::Timestamp,
    config::listen::Certificate,
    told::{Examined, Sound, Told},
};

/// A certificate that ends sooner is warned of: time enough to find out why nobody renewed it.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Examines a listener's certificate with its key.
///
/// # Errors
/// Why it cannot be used, and what to do.
pub fn examine_pair(files: &Certificate, now: Timestamp) -> Examined {
    let read = || Pems::read(files)?.parse(files, &super::provider());
    let certified = read().map_err(|error| told(&error))?;
    judge_chain(&certified.cert, now)
}

/// Examines our own certificate for calls, with its chain. Whoever uses it looks at its key.
///
/// # Errors
/// Why it cannot be used, and what to do.
pub fn examine_chain(path: &Path, now: Timestamp) -> Examined {
    judge_chain(&certificates(path)?, now)
}

/// Examines a file of authorities. Those that have ended are of no matter while one has not.
///
/// # Errors
/// Why none can be used, and what to do.
pub fn examine_authorities(path: &Path, now: Timestamp) -> Examined {
    let all = certificates(path)?;
    let valid = all.iter().filter_map(Validity::of).filter(|validity| validity.holds(now)).count();
    if valid == 0 {
        return Err(Told::new("no authority in it is valid any more", "get the new certificate of the authority"));
    }
    Ok(Sound::new(format!("authorities in it: {}, valid now: {valid}", all.len())))
}

fn told(error: &CertificateError) -> Told {
    let text = error.to_string();
    let (what, remedy) = text.split_once("\n    ").unwrap_or((&text, ""));
    Told::new(what, remedy)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Told> {
    let unusable = |why: String| {
        Told::new(
            format!("no certificate can be read ({why})"),
            "give a PEM file that the user who runs brama can read",
        )
    };
    let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable("there is none in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// The first to end of a chain ends all of it.
fn judge_chain(chain: &[CertificateDer<'_>], now: Timestamp) -> Examined {
    let all: Option<Vec<Validity>> = chain.iter().map(Validity::of).collect();
    let unreadable = || Told::new("it is no certificate that can be read", "give the file that was issued");
    let all = all.ok_or_else(unreadable)?;
    let end = all.iter().map(|validity| validity.end).min().ok_or_else(unreadable)?;
    let begin = all.iter().map(|validity| validity.begin).max().ok_or_else(unreadable)?;
    if end < now {
        return Err(Told::new(format!("it ended on {end}"), "renew it"));
    }
    if now < begin {
        return Err(Told::new(format!("it begins on {begin} only"), "see whether the clock of this host is right"));
    }
    let mut sound = Sound::new(format!("valid until {end}"));
    if end.since(now) < SOON {
        let days = end.since(now).as_secs() / (24 * 3600);
        sound.detail.clear();
        sound.warnings.push(Told::new(
            format!("it ends on {end}, in {days} days"),
            "renew it; where something renews it by itself, see why it has not",
        ));
    }
    Ok(sound)
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy)]
struct Validity {
    begin: Timestamp,
    end: Timestamp,
}

impl Validity {
    /// Told by the library that checks certificates, which tells of these times only when it refuses them: so it is asked
    /// for the beginning and the end of time, and looks at the times before anything else.
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let refusal = |at: Duration| {
            let time = UnixTime::since_unix_epoch(at);
            let usage = webpki::KeyUsage::server_auth();
            certificate.verify_for_usage(&[], &[], &[], time, usage, None, None).err()
        };
        let stamp = |time: UnixTime| i64::try_from(time.as_secs()).ok().map(Timestamp::from_secs);
        let begin = match refusal(Duration::ZERO)? {
            webpki::Error::CertNotValidYet { not_before, .. } => stamp(not_before)?,
            // Valid since before time began.
            _ => Timestamp::from_secs(0),
        };
        match refusal(Duration::from_secs(u64::MAX))? {
            webpki::Error::CertExpired { not_after, .. } => Some(Self { begin, end: stamp(not_after)? }),
            _ => None,
        }
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.begin <= now && now <= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    /// A certificate and its key, valid in the year 2030.
    fn issued(folder: &Path) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let files = Certificate { cert_file: folder.join("a.crt"), key_file: folder.join("a.key") };
        fs::write(&files.cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key_file, key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn the_end_of_a_certificate_is_warned_of_and_then_fails() {
        let folder = tempfile::tempdir().unwrap();
        let files = issued(folder.path());
        let end = 1_924_992_000; // 2031-01-01T00:00:00Z
        let at = |seconds: i64| examine_pair(&files, Timestamp::from_secs(seconds));
        assert_eq!(at(end - 15 * DAY).unwrap(), Sound::new("valid until 2031-01-01T00:00:00Z"));
        let soon = at(end - 13 * DAY).unwrap();
        assert_eq!((soon.detail.as_str(), soon.warnings.len()), ("", 1));
        assert!(soon.warnings[0].what.ends_with("in 13 days"), "{soon:?}");
        assert_eq!(at(end + 1).unwrap_err().what, "it ended on 2031-01-01T00:00:00Z");
        assert_eq!(at(end - 400 * DAY).unwrap_err().what, "it begins on 2030-01-01T00:00:00Z only");
        assert!(examine_authorities(&files.cert_file, Timestamp::from_secs(end)).is_ok());
        assert!(examine_authorities(&files.cert_file, Timestamp::from_secs(end + 1)).is_err());
        assert!(examine_chain(&files.cert_file, Timestamp::from_secs(end - 30 * DAY)).is_ok());
    }

    #[test]
    fn what_is_no_certificate_is_told_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let files = issued(folder.path());
        let now = Timestamp::from_secs(1_900_000_000);
        let swapped = Certificate { cert_file: files.key_file.clone(), key_file: files.cert_file.clone() };
        assert!(examine_pair(&swapped, now).unwrap_err().remedy.contains("change places"));
        assert!(examine_chain(&files.key_file, now).unwrap_err().what.contains("there is none in it"));
        let absent = Certificate { cert_file: "/nonexistent".into(), ..files };
        assert!(examine_pair(&absent, now).unwrap_err().remedy.contains("check the path"));
    }
}
