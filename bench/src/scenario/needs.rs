//! What a load finds on the server when it begins: accounts, and who is in their rosters.

/// Accounts with rosters, by number from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// How many accounts.
    pub accounts: usize,
    /// How many of them, from the first on, have a roster.
    pub rosters: usize,
    /// What is in those rosters.
    pub contacts: Contacts,
}

/// What is in a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// So many accounts of another domain, without a subscription.
    Strangers(usize),
    /// The other members of a group of this size, everyone subscribed to everyone.
    Friends(usize),
}

impl Needs {
    /// Accounts with empty rosters.
    #[must_use]
    pub fn accounts(accounts: usize) -> Self {
        Self { accounts, rosters: 0, contacts: Contacts::Strangers(0) }
    }

    /// The contacts of one account.
    #[must_use]
    pub fn roster(&self, user: usize, jid: impl Fn(usize) -> String) -> Vec<String> {
        if user >= self.rosters {
            return Vec::new();
        }
        match self.contacts {
            Contacts::Strangers(count) => (0..count).map(stranger).collect(),
            Contacts::Friends(size) => {
                group(user, size).filter(|other| *other != user).map(jid).collect()
            }
        }
    }
}

/// A contact of another domain, whose server never answers.
pub(super) fn stranger(number: usize) -> String {
    format!("contact{number}@friends.example")
}

/// The members of a group, by the number of one of them.
pub(super) fn group(user: usize, size: usize) -> std::ops::Range<usize> {
    let first = user / size * size;
    first..first + size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_apart() {
        assert_eq!(group(0, 21), 0..21);
        assert_eq!(group(20, 21), 0..21);
        assert_eq!(group(21, 21), 21..42);
    }

    #[test]
    fn rosters_are_of_strangers_or_of_the_own_group() {
        let jid = |user: usize| format!("u{user}@localhost");
        let friends = Needs { accounts: 7, rosters: 6, contacts: Contacts::Friends(3) };
        assert_eq!(friends.roster(4, jid), ["u3@localhost", "u5@localhost"]);
        assert!(friends.roster(6, jid).is_empty());
        let strangers = Needs { contacts: Contacts::Strangers(2), ..friends };
        assert_eq!(strangers.roster(0, jid).len(), 2);
        assert!(strangers.roster(0, jid)[1].ends_with("@friends.example"));
        assert!(Needs::accounts(3).roster(0, jid).is_empty());
    }
}
