//! Values that are one of a few words.

/// A value that is one of a few words, declared with their spelling.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident { $( $(#[doc = $variant_doc:literal])* $variant:ident = $word:literal ),* $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[doc = $variant_doc])* $variant, )* }

        impl $name {
            /// The word that stands for it in the file.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::config::value::Value for $name {
            fn read(at: &$crate::config::value::At<'_>, problems: &mut $crate::config::problem::Problems) -> Option<Self> {
                const SAYS: &str = $crate::config::value::choice!(@says $($word),*);
                let text = at.text(problems, SAYS)?;
                match text.as_str() {
                    $( $word => Some(Self::$variant), )*
                    _ => {
                        let written = at.value().as_str().unwrap_or_default();
                        at.problem(problems, format!("\"{}\" is not known here", written.escape_debug()), format!("write {SAYS}"));
                        None
                    }
                }
            }
            fn shape() -> $crate::config::value::Shape {
                $crate::config::value::Shape::Leaf {
                    says: $crate::config::value::choice!(@says $($word),*),
                    schema: serde_json::json!({"type": "string", "enum": [$($word),*]}),
                }
            }
            fn show(&self) -> Option<String> {
                Some(format!("\"{}\"", self.word()))
            }
        }
    };
    (@says $first:literal $(, $word:literal)*) => { concat!("one of \"", $first, "\"" $(, ", \"", $word, "\"")*) };
}
pub(crate) use choice;
