//! The sign-in page: by which provider?

use serde::Serialize;

use crate::provider::{Health, Provider};

/// The chooser: one button for each provider, the remembered one first.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SignIn {
    /// Where the person will be after signing in; `None` when it is not worth telling (the account page, say).
    pub destination: Option<Destination>,
    /// The provider of last time, when it is ready.
    pub remembered: Option<Choice>,
    /// As whom they came last time: an address or a name.
    pub remembered_as: Option<String>,
    /// Every other provider, in the operator's order.
    pub choices: Vec<Choice>,
    /// True when they were signed in until now and the session has ended.
    pub session_ended: bool,
    /// True when somebody who is signed in adds a way to sign in.
    pub linking: bool,
}

/// Where the person will be after signing in, told so that they can see whom they sign in to.
#[derive(Debug, Clone, Serialize)]
pub struct Destination {
    /// The host, with its port when it is not the usual one.
    pub host: String,
    /// The path, without the query: that may hold what others should not read over a shoulder.
    pub path: String,
}

/// One provider to choose.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// The name the operator gave it; picks an icon of the operator's own when there is one.
    pub name: String,
    /// Its kind; picks its icon.
    pub kind: String,
    /// What people call it.
    pub label: String,
    /// Where its login begins. A link, not a form: browsers apply `form-action` to the redirect that follows.
    pub start_url: String,
    /// False when a login there cannot begin at the moment: it is then shown, but cannot be chosen.
    pub ready: bool,
}

impl Choice {
    /// The choice of `provider`, whose login begins at `start_url`.
    pub fn of(provider: &dyn Provider, start_url: String) -> Self {
        Self {
            name: provider.name().as_str().to_owned(),
            kind: provider.kind().to_owned(),
            label: provider.label().to_owned(),
            start_url,
            ready: provider.health() == Health::Ready,
        }
    }
}

impl SignIn {
    /// A chooser of `choices`; the one named `remembered` comes first, unless it is not ready.
    pub fn new(mut choices: Vec<Choice>, remembered: Option<&str>) -> Self {
        let position = choices.iter().position(|choice| choice.ready && Some(choice.name.as_str()) == remembered);
        let remembered = position.map(|index| choices.remove(index));
        Self { remembered, choices, ..Self::default() }
    }
}

impl Destination {
    /// The destination a return-to address leads to.
    pub fn of(url: &url::Url) -> Option<Self> {
        let host = url.host_str()?;
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Some(Self { host, path: url.path().to_owned() })
    }
}

#[cfg(test)]
impl SignIn {
    pub(crate) fn samples() -> Vec<super::Sample<Self>> {
        use super::sample::{HOSTILE, LONG};
        let choice = |name: &str, kind: &str, label: &str| Choice {
            name: name.into(),
            kind: kind.into(),
            label: label.into(),
            start_url: format!("/oauth2/start?provider={name}&rd=%2Freports%3Fyear%3D2026"),
            ready: true,
        };
        let four = || {
            vec![
                choice("google", "google", "Google"),
                choice("facebook", "facebook", "Facebook"),
                choice("x", "x", "X"),
                choice("cognito", "cognito", "Acme staff"),
            ]
        };
        let unready = |mut choices: Vec<Choice>, index: usize| {
            choices[index].ready = false;
            choices
        };
        let reports = || Some(Destination { host: "app.example.com".into(), path: "/reports/2026".into() });
        let twelve = (0..12)
            .map(|index| {
                let kinds = ["google", "facebook", "x", "cognito", "github", "oidc", "oauth2"];
                let labels = ["Google", "Facebook", "X", "Cognito", "GitHub", "University of Kharkiv", "Legacy"];
                choice(&format!("p{index}"), kinds[index % 7], labels[index % 7])
            })
            .collect();
        vec![
            ("first_time", Self { destination: reports(), ..Self::new(four(), None) }),
            (
                "remembered",
                Self {
                    destination: reports(),
                    remembered_as: Some("olena.shevchenko@example.com".into()),
                    ..Self::new(four(), Some("google"))
                },
            ),
            (
                "session_ended",
                Self { destination: reports(), session_ended: true, ..Self::new(four(), Some("cognito")) },
            ),
            ("one_unready", Self::new(unready(four(), 1), Some("facebook"))),
            (
                "one_provider",
                Self { destination: reports(), ..Self::new(vec![choice("google", "google", "Google")], None) },
            ),
            ("twelve_providers", Self { destination: reports(), ..Self::new(twelve, None) }),
            ("no_provider", Self::default()),
            ("linking", Self { linking: true, ..Self::new(four(), None) }),
            (
                "extremes",
                Self {
                    destination: Some(Destination {
                        host: "a-very-long-name-of-a-department.of-a-still-longer-organisation.example.com:8443".into(),
                        path: format!("/{}", "deep/".repeat(40)),
                    }),
                    remembered_as: Some(LONG.into()),
                    ..Self::new(vec![choice("a", "oidc", LONG), choice("b", "nothing-known", HOSTILE)], Some("a"))
                },
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_provider_comes_first_only_when_it_is_ready() {
        let choices = |ready| {
            vec![Choice { name: "a".into(), kind: "oidc".into(), label: "A".into(), start_url: "/".into(), ready }]
        };
        assert!(SignIn::new(choices(true), Some("a")).remembered.is_some());
        assert!(SignIn::new(choices(true), Some("b")).remembered.is_none());
        let unready = SignIn::new(choices(false), Some("a"));
        assert!(unready.remembered.is_none());
        assert_eq!(unready.choices.len(), 1);
    }

    #[test]
    fn a_destination_never_shows_the_query() {
        let url = url::Url::parse("https://app.example.com:8443/a/b?token=1#x").unwrap();
        let destination = Destination::of(&url).unwrap();
        assert_eq!((destination.host.as_str(), destination.path.as_str()), ("app.example.com:8443", "/a/b"));
    }
}
