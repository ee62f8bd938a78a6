//! Which events a sink gets, by their types.

use super::catalogue::CATALOGUE;

/// A list of types and beginnings of types (`io.brama.session.*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types(Vec<String>);

impl Types {
    /// Reads patterns: a full type, or a beginning followed by `*`. The error is the one that fits no event there is.
    pub(super) fn parse(patterns: &[String]) -> Result<Self, String> {
        let types = Self(patterns.to_vec());
        match types.0.iter().find(|pattern| !CATALOGUE.iter().any(|entry| fits(pattern, entry.kind))) {
            Some(stranger) => Err(stranger.clone()),
            None => Ok(types),
        }
    }

    /// True when events of this type are wanted.
    pub fn want(&self, kind: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, kind))
    }
}

fn fits(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => kind.starts_with(beginning),
        None => kind == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_wants_all_below_it_and_a_stranger_is_named() {
        let types = Types::parse(&["io.brama.session.*".into(), "io.brama.account.created".into()]).unwrap();
        for (kind, wanted) in [
            ("io.brama.session.begun", true),
            ("io.brama.account.created", true),
            ("io.brama.account.deleted", false),
            ("io.brama.login.refused", false),
        ] {
            assert_eq!(types.want(kind), wanted, "{kind}");
        }
        assert!(Types::parse(&["*".into()]).unwrap().want("io.brama.login.refused"));
        assert_eq!(Types::parse(&["*".into(), "io.brama.sesion.*".into()]), Err("io.brama.sesion.*".into()));
    }
}
