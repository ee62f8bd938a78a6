//! The made-up people who can sign in.

/// A made-up person. All providers know the same people, each under its own identifier of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Short name, used to choose the person: `alice`.
    pub id: &'static str,
    /// Given name.
    pub given_name: &'static str,
    /// Family name.
    pub family_name: &'static str,
    /// User name where a provider has such a thing.
    pub username: &'static str,
    /// E-mail address, if there is one.
    pub email: Option<&'static str>,
    /// Whether the provider has checked the address.
    pub email_verified: bool,
    /// Google Workspace domain; `None` for a consumer account.
    pub hosted_domain: Option<&'static str>,
    /// Groups, for the providers that tell them.
    pub groups: &'static [&'static str],
    /// BCP 47 language.
    pub locale: &'static str,
    /// What is special about this person, told on the sign-in page.
    pub remark: &'static str,
    number: u64,
}

/// Everyone.
#[derive(Debug, Clone, Copy)]
pub struct People;

impl People {
    /// All of them, in the order of the sign-in page.
    pub fn all() -> &'static [Person] {
        PEOPLE
    }

    /// The one with this short name.
    pub fn find(id: &str) -> Option<&'static Person> {
        PEOPLE.iter().find(|person| person.id == id)
    }

    /// The one a login hint means: a short name, a user name, an address or a subject.
    pub(super) fn hinted(hint: &str, subject: impl Fn(&Person) -> String) -> Option<&'static Person> {
        PEOPLE.iter().find(|person| {
            hint == person.id
                || hint == person.username
                || person.email.is_some_and(|email| email.eq_ignore_ascii_case(hint))
                || hint == subject(person)
        })
    }
}

const PEOPLE: &[Person] = &[
    Person {
        id: "alice",
        given_name: "Alice",
        family_name: "Archer",
        username: "alice",
        email: Some("alice@example.com"),
        email_verified: true,
        hosted_domain: Some("example.com"),
        groups: &["admins", "staff"],
        locale: "en",
        remark: "works at example.com, in the groups admins and staff",
        number: 1,
    },
    Person {
        id: "olena",
        given_name: "Олена",
        family_name: "Шевченко",
        username: "olena_sh",
        email: Some("olena@example.net"),
        email_verified: true,
        hosted_domain: None,
        groups: &["staff"],
        locale: "uk",
        remark: "a name beyond ASCII, a consumer account, in the group staff",
        number: 2,
    },
    Person {
        id: "boris",
        given_name: "Boris",
        family_name: "Brook",
        username: "boris",
        email: None,
        email_verified: false,
        hosted_domain: None,
        groups: &[],
        locale: "en-GB",
        remark: "signed up by phone: no e-mail address, no groups",
        number: 3,
    },
    Person {
        id: "carol",
        given_name: "Carol",
        family_name: "O'Neill",
        username: "carol.oneill",
        email: Some("carol@example.org"),
        email_verified: false,
        hosted_domain: None,
        groups: &["guests"],
        locale: "en",
        remark: "an address nobody has verified, in the group guests",
        number: 4,
    },
];

impl Person {
    /// Full name.
    pub fn name(&self) -> String {
        format!("{} {}", self.given_name, self.family_name)
    }

    /// A decimal identifier with `prefix` before it, longer than a JavaScript number can hold.
    pub(super) fn digits(&self, prefix: &str) -> String {
        format!("{prefix}{:04}", 1000 + self.number * 37)
    }

    /// A small integer identifier.
    pub(super) fn integer(&self) -> u64 {
        583_000 + self.number * 231
    }

    /// A UUID, the same at every start, different for every `realm` digit.
    pub(super) fn uuid(&self, realm: u8) -> String {
        format!("{:08x}-5b1c-4{realm:03x}-9e2d-{:012x}", 0x7c3a_0000 + self.number, 0x51_0000 + self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_differ_where_gateways_stumble() {
        let all = People::all();
        assert!(all.iter().any(|person| person.email.is_none()));
        assert!(all.iter().any(|person| person.email.is_some() && !person.email_verified));
        assert!(all.iter().any(|person| !person.name().is_ascii()));
        assert!(all.iter().any(|person| person.groups.len() > 1));
        let mut ids: Vec<_> = all.iter().map(|person| person.uuid(1)).collect();
        ids.dedup();
        assert_eq!(ids.len(), all.len());
        assert!(uuid::Uuid::try_parse(&all[0].uuid(12)).is_ok());
    }

    #[test]
    fn hints_find_their_person() {
        let subject = |person: &Person| person.digits("77");
        assert_eq!(People::hinted("OLENA@example.net", subject).unwrap().id, "olena");
        assert_eq!(People::hinted(&PEOPLE[2].digits("77"), subject).unwrap().id, "boris");
        assert_eq!(People::hinted("nobody", subject), None);
    }
}
