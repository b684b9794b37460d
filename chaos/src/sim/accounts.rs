//! The accounts of a run: some in one shard, some in others, in both places.

use std::sync::OnceLock;

use kv::{Batch, MemTable};
use peer::shard_of;
use session::keys::{self, Entity, tag};
use session::rows::AccountRow;
use xmpp::jid::Jid;

use super::KEY;
use crate::ledger::Account;

/// Their domain.
pub const DOMAIN: &str = "chaos.example";

/// The session generation of all accounts.
pub const GENERATION: u64 = 3;

/// Six accounts: two in one shard of each place, and one more alone in another of each.
pub fn all() -> Vec<Account> {
    static ALL: OnceLock<Vec<Account>> = OnceLock::new();
    ALL.get_or_init(find).clone()
}

fn find() -> Vec<Account> {
    let mut all: Vec<Account> = Vec::new();
    for place in 0..2 {
        let of_place: Vec<Account> =
            (0..2000).filter_map(named).filter(|a| a.shard.0 % 2 == place).collect();
        let pair = of_place.iter().enumerate().find_map(|(at, one)| {
            let other = of_place[at + 1..].iter().find(|other| other.shard == one.shard)?;
            Some([one.clone(), other.clone()])
        });
        all.extend(pair.into_iter().flatten());
        let taken = all.last().map(|last| last.shard);
        all.extend(of_place.into_iter().find(|one| Some(one.shard) != taken));
    }
    all
}

fn named(number: u32) -> Option<Account> {
    let jid = Jid::parse(&format!("a{number}@{DOMAIN}")).ok()?;
    let (entity, shard) = (Entity::of(&KEY, &jid), shard_of(&KEY, &jid));
    Some(Account { jid, entity, shard })
}

/// A store with these accounts.
pub fn table(accounts: &[Account], now: u64) -> MemTable {
    let mut table = MemTable::new();
    let mut batch = Batch::new(1);
    for account in accounts {
        let row = AccountRow {
            jid: account.jid.clone(),
            disabled: false,
            deleted: false,
            generation: GENERATION,
            created_us: now,
        };
        batch.set(account.entity.key(tag::ACCOUNT, &[]), row.encode());
        batch.set(keys::directory(&account.jid), row.encode());
    }
    // An empty table takes it.
    let _ = table.commit_now(&batch);
    table
}
