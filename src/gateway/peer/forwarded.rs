//! The field `Forwarded` (RFC 7239). Pure: text in, elements out.

use std::net::IpAddr;

use http::{HeaderMap, header::FORWARDED};

use super::{Scheme, address};
use crate::http1;

/// An element: what one proxy tells of who came to it.
#[derive(Clone, Default)]
pub(super) struct Hop {
    pub(super) address: Option<IpAddr>,
    pub(super) scheme: Option<Scheme>,
    pub(super) host: Option<String>,
}

/// The elements of all its lines, in order. When the list as a whole breaks the grammar, a client broke it, and what the
/// nearest proxy added at the end is still its own.
pub(super) fn hops(headers: &HeaderMap) -> Vec<Hop> {
    let lines: Vec<_> =
        headers.get_all(FORWARDED).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let whole = lines.join(",");
    hops_of(&whole).or_else(|| hops_of(whole.rsplit(',').next()?)).unwrap_or_default()
}

/// Reads the elements of `Forwarded`; nothing when the grammar is broken anywhere.
fn hops_of(line: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut hop = Hop::default();
    let mut seen: Vec<String> = Vec::new();
    let mut rest = line;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let (value, after) = pair_value(after)?;
        // A parameter must not occur twice in an element (RFC 7239, 4).
        if !is_token(&name) || seen.contains(&name) {
            return None;
        }
        match name.as_str() {
            "for" => hop.address = address(&value),
            "proto" => hop.scheme = Scheme::parse(&value),
            "host" => hop.host = Some(value),
            _ => {}
        }
        seen.push(name);
        let after = after.trim_start();
        match (after.strip_prefix(';'), after.strip_prefix(',')) {
            (Some(next), _) => rest = next,
            (None, Some(next)) => {
                hops.push(std::mem::take(&mut hop));
                seen.clear();
                rest = next;
            }
            (None, None) => {
                hops.push(hop);
                return after.is_empty().then_some(hops);
            }
        }
    }
}

/// A token or a quoted string, and what follows.
fn pair_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        // Colons and brackets need quotes by the grammar; several proxies leave them out, and nothing is lost by reading them.
        let fine = !value.is_empty() && value.bytes().all(|byte| http1::is_token(byte) || b":[]".contains(&byte));
        return fine.then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((value, quoted.get(index + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(http1::is_token)
}
