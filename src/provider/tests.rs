//! What all kinds share in tests: a configuration, a small server that answers by table, and opening.
use super::*;
use crate::config::{problem::Problems, provider::Provider as Config, value::{At, Value as _}};

/// A configuration of `kind` with nothing but what it needs.
pub(super) fn config(kind: Kind, issuer: &str) -> Config {
    let text = format!("kind = \"{}\"\nclient_id = \"client\"\nclient_secret = \"a-secret-of-good-length-0123456789\"\nissuer = \"{issuer}\"\nauthorize_url = \"https://op.test/a\"\ntoken_url = \"https://op.test/t\"\nuserinfo_url = \"https://op.test/u\"\n", kind.word());
    let value = toml::de::DeTable::parse(&text).unwrap();
    todo!("{:?}", value.span())
}
