//! What examinations of all kinds of provider have in common: reaching endpoints, comparing clocks.

use std::time::Duration;

use futures_util::future::try_join_all;
use http::{HeaderMap, header};
use url::Url;

use super::{ProviderError, outgoing::Outgoing};
use crate::{clock::Timestamp, told::Told};

/// Clocks further apart than this are warned of: tokens are checked with a minute of leeway.
const APART: Duration = Duration::from_secs(30);

/// Connects to each host of `urls` once, all at the same time; says which.
pub(super) async fn reach(outgoing: &Outgoing, mut urls: Vec<&Url>) -> Result<String, ProviderError> {
    let mut hosts: Vec<String> = Vec::new();
    urls.retain(|url| {
        let host = url.origin().ascii_serialization();
        let new = !hosts.contains(&host);
        if new {
            hosts.push(host);
        }
        new
    });
    try_join_all(urls.into_iter().map(|url| outgoing.reach(url))).await?;
    Ok(format!("{} can be reached", hosts.join(", ")))
}

/// A warning when the clock of whom `headers` came from is far from ours: tokens would be taken for old, or for not yet
/// valid. An answer out of a cache says how old it is (RFC 9111, 5.1).
pub(super) fn clock_warning(headers: &HeaderMap, now: Timestamp) -> Option<Told> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let age = text(header::AGE).and_then(|age| age.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    let theirs = Timestamp::from_http_date(text(header::DATE)?)?.plus(age);
    // One of the two is zero.
    let (behind, ahead) = (theirs.since(now), now.since(theirs));
    let (apart, how) = if behind > ahead { (behind, "behind") } else { (ahead, "ahead of") };
    (apart > APART).then(|| {
        Told::new(
            format!("the clock of this host is {} s {how} the provider's", apart.as_secs()),
            "set it right (chronyd, systemd-timesyncd): tokens are refused by their times",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_far_apart_are_warned_of() {
        let at = |date: &'static str, age: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::DATE, date.parse().unwrap());
            if let Some(age) = age {
                headers.insert(header::AGE, age.parse().unwrap());
            }
            clock_warning(&headers, Timestamp::from_secs(784_111_777)).map(|told| told.what)
        };
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT", None), None);
        assert_eq!(at("Sun, 06 Nov 1994 08:49:07 GMT", None), None);
        assert!(at("Sun, 06 Nov 1994 08:49:06 GMT", None).unwrap().contains("31 s ahead of"));
        assert!(at("Sun, 06 Nov 1994 08:50:37 GMT", None).unwrap().contains("60 s behind"));
        assert_eq!(at("Sun, 06 Nov 1994 07:49:37 GMT", Some("3600")), None, "it comes out of a cache");
        assert_eq!(at("yesterday", None), None);
    }
}
