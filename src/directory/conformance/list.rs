//! Lists and their pages.

use std::{collections::BTreeSet, sync::Arc};

use super::{DAY, NOW, Replicas, key, person, settled, vouched};
use crate::{
    directory::{Account, Cursor, Directory, Search},
    identity::{AccountId, Origin, Profile, VerifiedIdentity},
};

/// Every account of a list in the order it comes, each page read back from text as the command line does. `handles` take
/// turns.
async fn all(handles: &[&Arc<dyn Directory>], which: &Search, limit: u16) -> Vec<Account> {
    let mut found = Vec::new();
    let mut after: Option<Cursor> = None;
    for handle in handles.iter().cycle() {
        let page = handle.list(which, after.as_ref(), limit).await.unwrap();
        assert!(page.accounts.len() <= usize::from(limit));
        assert!(!page.accounts.is_empty() || page.next.is_none(), "a page without accounts is the last");
        found.extend(page.accounts);
        match page.next {
            None => break,
            Some(next) => after = Some(Cursor::parse(&next.to_string()).expect("its own text is read back")),
        }
    }
    found
}

fn ids(accounts: &[Account]) -> Vec<AccountId> {
    accounts.iter().map(|account| account.id).collect()
}

pub(super) async fn every_account_is_listed_once(Replicas { one, other, open: _kept }: Replicas) {
    let mut made = BTreeSet::new();
    for number in 0..20 {
        made.insert(settled(&one, &person(number)).await.id);
    }
    let some = settled(&one, &person(3)).await.id;
    one.link(&some, &person(100), NOW).await.unwrap();
    for limit in [1, 3, 5, 20, 500] {
        let listed = all(&[&one, &other], &Search::Everyone, limit).await;
        assert_eq!(listed.len(), 20, "limit {limit}");
        assert_eq!(ids(&listed).into_iter().collect::<BTreeSet<_>>(), made, "limit {limit}");
        for account in listed {
            assert_eq!(other.find(&account.id).await.unwrap(), Some(account), "limit {limit}");
        }
    }
}

pub(super) async fn a_search_finds_the_address_whatever_its_letter_case(
    Replicas { one, other, open: _kept }: Replicas,
) {
    let account = settled(&one, &vouched(key("https://a.test", "1"), "Ann.Lee@Example.TEST")).await;
    settled(&one, &vouched(key("https://a.test", "2"), "ann.lee@example.test.invalid")).await;
    settled(&one, &vouched(key("https://a.test", "3"), "%@example.test")).await;
    let origin = Origin { key: key("https://a.test", "4"), ..vouched(key("i", "s"), "a@b").origin().clone() };
    settled(&one, &VerifiedIdentity::vouched(origin, Profile::default()).unwrap()).await;
    let search = |email: &str| Search::Email(email.to_owned());
    for email in ["ann.lee@example.test", "Ann.Lee@Example.TEST", "ANN.LEE@EXAMPLE.TEST"] {
        assert_eq!(ids(&all(&[&other], &search(email), 10).await), [account.id], "{email}");
    }
    for nothing in ["", "nobody@example.test", "ann.lee@example.tes", "ann%"] {
        assert_eq!(all(&[&other], &search(nothing), 10).await, [], "{nothing}");
    }
    let moved = vouched(key("https://a.test", "1"), "new@example.test");
    one.sign_in(&moved, NOW.plus(DAY)).await.unwrap();
    assert_eq!(all(&[&other], &search("ann.lee@example.test"), 10).await, [], "the address of before");
    assert_eq!(ids(&all(&[&other], &search("new@example.test"), 10).await), [account.id]);
}

pub(super) async fn a_search_has_pages_too(Replicas { one, other, open: _kept }: Replicas) {
    let mut made = BTreeSet::new();
    for number in 0..5 {
        let same = vouched(key("https://a.test", &number.to_string()), "same@example.test");
        made.insert(settled(&one, &same).await.id);
        settled(&one, &person(number)).await;
    }
    for limit in [1, 2, 5, 6] {
        let found = all(&[&one, &other], &Search::Email("same@example.test".into()), limit).await;
        assert_eq!(found.len(), 5, "limit {limit}");
        assert_eq!(ids(&found).into_iter().collect::<BTreeSet<_>>(), made, "limit {limit}");
    }
}
