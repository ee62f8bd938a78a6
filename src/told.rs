//! How trouble is told to an operator, and what an examination of one part comes to.
//!
//! Every message that an operator may read has one form: **`what (what the other side said); what to do`**. The log prints
//! it whole; `brama doctor` takes it apart again ([`Told::parse`]) to show the halves beside each other.

use std::fmt;

/// What an examination of one part came to: it is sound, perhaps with something to look at, or it is not.
pub type Examined = Result<Sound, Told>;

/// A part that works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sound {
    /// What was asked of it and what it is, for people: "PostgreSQL 17.2, accounts of schema 1".
    pub detail: String,
    /// What works now and should still be mended.
    pub warnings: Vec<Told>,
}

impl Sound {
    /// Without anything to mend.
    pub fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), warnings: Vec::new() }
    }
}

/// Trouble in two halves. Neither holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What is wrong, and what the other side said of it.
    pub what: String,
    /// What to do about it; empty when nothing is known that would help.
    pub remedy: String,
}

impl Told {
    /// From its halves.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    /// Takes a message of the one form apart: at the first semicolon that does not stand in brackets, for there the other
    /// side speaks.
    pub fn parse(text: impl fmt::Display) -> Self {
        let text = text.to_string();
        let (what, remedy) = halves(&text);
        Self::new(what, remedy)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// A message of the one form from `advice` (`what; what to do`) and what the other side said.
pub fn quoting(advice: &str, said: impl fmt::Display) -> String {
    let (what, remedy) = halves(advice);
    Told::new(format!("{what} ({said})"), remedy).to_string()
}

fn halves(text: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => {
                let (what, remedy) = text.split_at(at);
                return (what, remedy.trim_start_matches([';', ' ', '\n']));
            }
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_apart_where_the_remedy_begins() {
        for (text, what, remedy) in [
            ("it is down; start it", "it is down", "start it"),
            ("it is down (no; really); start it; or not", "it is down (no; really)", "start it; or not"),
            ("it is down", "it is down", ""),
            ("it is down :-) sad; start it", "it is down :-) sad", "start it"),
        ] {
            let told = Told::parse(text);
            assert_eq!((told.what.as_str(), told.remedy.as_str()), (what, remedy));
            assert_eq!(told.to_string(), text);
        }
    }

    #[test]
    fn what_was_said_stands_behind_what_it_was_said_of() {
        assert_eq!(quoting("it refuses us; log in", "NOAUTH"), "it refuses us (NOAUTH); log in");
        assert_eq!(quoting("it refuses us", "NOAUTH"), "it refuses us (NOAUTH)");
    }
}
