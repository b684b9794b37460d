//! The state of the control plane, and what each command does to it.
//!
//! Every replica applies the same commands in the same order and must come to the same state, so
//! nothing here looks at anything but the state and the command: no clock, no randomness, not even
//! what this program's own version is. A release that would apply a command otherwise does so only
//! behind a gate.

use std::collections::{BTreeMap, BTreeSet};

use super::Entry;
use super::command::{Applied, Attempt, Command, Join, Move, Reply, TokenHash};
use super::map::{Change, Delta, Hold, Map, Slot};
use super::member::{Member, Standing};
use super::plan::{self, Shares};
use super::refusal::{Bound, Refusal, TextOf};
use super::words;
use crate::codec::control::{decoded, encoded};
use crate::codec::{BadFrame, VERSION, VERSION_MIN};
use crate::limits::{
    CLOCK_OFF_MAX_US, DOMAINS_MAX, FIRST_EPOCH_MAX, MEMBERS_MAX, MOVING_MAX, SETTINGS_MAX,
    TOKEN_KEPT_US, TOKENS_KEPT_MAX, TOKENS_MAX,
};
use crate::node::{ClusterId, Features, Roles};
use crate::shard::{HashKey, siphash_1_3};
use crate::{Epoch, NodeId, ShardId};

/// What the members agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The last entry of the log that was applied.
    pub(crate) applied: u64,
    /// There is a cluster.
    pub(crate) initialised: bool,
    pub(crate) map: Map,
    /// The number of the next node that is new.
    pub(crate) next_number: u32,
    /// Routers whose lease is fresh.
    pub(crate) fresh: BTreeSet<NodeId>,
    pub(crate) tokens: BTreeMap<TokenHash, Token>,
    /// An operator wants shards as even as can be.
    pub(crate) rebalancing: bool,
    /// Shards were granted once. Before that they wait for [`Command::GrantFree`], so that the
    /// first router of a new cluster does not get them all.
    pub(crate) granted: bool,
}

/// A join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) roles: Roles,
    pub(crate) expires_us: u64,
    /// The number of the node that used it.
    pub(crate) used_by: Option<u32>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            applied: 0,
            initialised: false,
            map: Map::new(ClusterId(0), HashKey(0, 0)),
            next_number: 1,
            fresh: BTreeSet::new(),
            tokens: BTreeMap::new(),
            rebalancing: false,
            granted: false,
        }
    }
}

impl State {
    /// What every node may know.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The last entry of the log that was applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Whether a router's lease is fresh, as the leader last said.
    pub fn is_fresh(&self, node: NodeId) -> bool {
        self.fresh.contains(&node)
    }

    /// Routers whose lease is fresh, as the leader last said, in order.
    pub fn fresh(&self) -> impl Iterator<Item = NodeId> {
        self.fresh.iter().copied()
    }

    /// Whether this router may be given a shard now.
    pub(crate) fn may_take(&self, node: NodeId) -> bool {
        let up = self.map.up(node);
        up.is_some_and(|member| member.roles.has(Roles::ROUTER)) && self.is_fresh(node)
    }

    /// Whether any router may.
    pub(crate) fn somebody_may_take(&self) -> bool {
        self.fresh.iter().any(|node| self.may_take(*node))
    }

    /// The tokens whose time is not over, used or not; `now` is in microseconds since the Unix
    /// epoch.
    pub fn tokens(&self, now: u64) -> impl Iterator<Item = TokenHash> {
        let good = self.tokens.iter().filter(move |(_, token)| token.expires_us > now);
        good.map(|(hash, _)| *hash)
    }

    /// Hand-overs that may begin now: what the leader of the control plane proposes next.
    pub fn next_moves(&self) -> Vec<Move> {
        plan::moves(Shares::of(self), self.rebalancing)
    }

    /// A hash of everything, to compare replicas by.
    pub fn hash(&self) -> u64 {
        siphash_1_3(&HashKey(0, 0), &self.encode(VERSION_MIN))
    }

    /// The highest version of layouts that every member reads, up or down.
    pub fn version(&self) -> u8 {
        let members = self.map.members.values();
        members.map(|member| member.versions.max).min().unwrap_or(VERSION).min(VERSION)
    }

    /// The whole state, for a snapshot, in a version that every member reads.
    pub fn encode(&self, version: u8) -> Vec<u8> {
        encoded(self, version)
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// Why it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFrame> {
        decoded(bytes)
    }

    /// Applies the bytes of an entry, and answers in bytes. Those that are none change nothing.
    pub fn apply_bytes(&mut self, index: u64, entry: &[u8]) -> (Vec<u8>, Option<Delta>) {
        let applied = match Entry::decode(entry) {
            Ok(Entry { now, command }) => self.apply(index, command, now),
            Err(_) => {
                self.applied = index.max(self.applied);
                Applied { reply: Reply::Refused(Refusal::Unreadable), delta: None }
            }
        };
        (applied.reply.encode(self.version()), applied.delta)
    }

    /// Applies the entry of that index. `now` is the clock of the leader that proposed it, in
    /// microseconds since the Unix epoch, and a part of the entry.
    pub fn apply(&mut self, index: u64, command: Command, now: u64) -> Applied {
        if index <= self.applied {
            let reply = Reply::Refused(Refusal::AlreadyApplied(self.applied));
            return Applied { reply, delta: None };
        }
        self.applied = index;
        self.tokens.retain(|_, token| now < token.expires_us.saturating_add(TOKEN_KEPT_US));
        let mut turn = Turn { from: self.map.version, state: self, changes: Vec::new() };
        let reply = turn.carry_out(command, now).unwrap_or_else(Reply::Refused);
        let (from, changes) = (turn.from, turn.changes);
        let delta = (!changes.is_empty()).then(|| {
            self.map.version = from.saturating_add(1);
            Delta { lineage: self.map.lineage, from, version: self.map.version, changes }
        });
        Applied { reply, delta }
    }
}

/// One command being applied.
struct Turn<'a> {
    state: &'a mut State,
    from: u64,
    changes: Vec<Change>,
}

impl Turn<'_> {
    fn carry_out(&mut self, command: Command, now: u64) -> Result<Reply, Refusal> {
        if !self.state.initialised && !matches!(command, Command::Init { .. }) {
            return Err(Refusal::NotInitialised);
        }
        match command {
            Command::Init { cluster, key, epochs_above } => {
                self.init(cluster, key, epochs_above, now)?
            }
            Command::AddToken { token, roles, expires_us } => {
                self.add_token(token, Token { roles, expires_us, used_by: None }, now)?;
            }
            Command::DropToken { token } => {
                self.state.tokens.remove(&token).ok_or(Refusal::TokenUnknown)?;
            }
            Command::Join(join) => return self.join(*join, now).map(Reply::Joined),
            Command::Leave { node } => self.leave(node)?,
            Command::DeclareDead { node, by } => self.declare_dead(node, &by)?,
            Command::Drain { number } => self.drain(number)?,
            Command::Undrain { number } => self.stand(number, Standing::Active)?,
            Command::Remove { number } => self.remove(number)?,
            Command::LeaseSeen { fresh } => self.lease_seen(fresh),
            Command::GrantFree => self.grant_all()?,
            Command::Release { node } => self.release(node)?,
            Command::Regrant { shard, epoch, node } => self.regrant(shard, epoch, node)?,
            Command::Rebalance => self.state.rebalancing = true,
            Command::MoveBegin { moves } => return Ok(Reply::Moves(self.begin(&moves))),
            Command::MoveEnd { moves } => return Ok(Reply::Moves(self.end(&moves))),
            Command::MoveAbort { moves } => return Ok(Reply::Moves(self.abort(&moves))),
            Command::AddDomain { domain } => {
                words::domain(&domain)?;
                if self.state.map.domains.contains(&domain) {
                    return Err(Refusal::DomainServed);
                }
                self.bound(self.state.map.domains.len(), DOMAINS_MAX, Bound::Domains)?;
                self.change(Change::Domain(domain, true));
            }
            Command::RemoveDomain { domain } => {
                if !self.state.map.domains.contains(&domain) {
                    return Err(Refusal::DomainNotServed);
                }
                self.change(Change::Domain(domain, false));
            }
            Command::Set { name, value } => {
                words::setting(&name, value.as_deref())?;
                if value.is_some() && !self.state.map.settings.contains_key(&name) {
                    self.bound(self.state.map.settings.len(), SETTINGS_MAX, Bound::Settings)?;
                }
                if self.state.map.settings.get(&name) != value.as_ref() {
                    self.change(Change::Setting(name, value));
                }
            }
        }
        self.settled();
        Ok(Reply::Done)
    }

    fn bound(&self, have: usize, most: usize, bound: Bound) -> Result<(), Refusal> {
        if have < most { Ok(()) } else { Err(Refusal::TooMany(bound)) }
    }

    fn change(&mut self, change: Change) {
        self.state.map.carry_out(change.clone());
        self.changes.push(change);
    }

    fn init(
        &mut self,
        cluster: ClusterId,
        key: HashKey,
        above: Epoch,
        now: u64,
    ) -> Result<(), Refusal> {
        if self.state.initialised {
            return Err(Refusal::Initialised(self.state.map.cluster));
        }
        if above > Epoch(FIRST_EPOCH_MAX) {
            return Err(Refusal::EpochTooHigh);
        }
        self.state.initialised = true;
        self.state.map = Map { lineage: now, ..Map::new(cluster, key) };
        if above > Epoch(0) {
            let slot = Slot { hold: Hold::Free, epoch: above };
            let shards: Vec<ShardId> = self.state.map.slots().map(|(shard, _)| shard).collect();
            shards.into_iter().for_each(|shard| self.change(Change::Slot(shard, slot)));
        }
        Ok(())
    }

    fn add_token(&mut self, hash: TokenHash, token: Token, now: u64) -> Result<(), Refusal> {
        if token.roles.is_empty() {
            return Err(Refusal::NoRole);
        }
        if self.state.tokens.contains_key(&hash) {
            return Err(Refusal::TokenThere);
        }
        let is_good = |token: &&Token| token.used_by.is_none() && token.expires_us > now;
        let good = self.state.tokens.values().filter(is_good).count();
        self.bound(good, TOKENS_MAX, Bound::Tokens)?;
        if self.state.tokens.len() >= TOKENS_KEPT_MAX {
            // Known only so that who shows it is told why it is no good: the oldest goes.
            let others = self.state.tokens.iter().filter(|(_, token)| !is_good(token));
            let oldest = others.min_by_key(|(hash, token)| (token.expires_us, **hash));
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                self.state.tokens.remove(&oldest);
            }
        }
        self.state.tokens.insert(hash, token);
        Ok(())
    }

    fn join(&mut self, join: Join, now: u64) -> Result<NodeId, Refusal> {
        self.judge(&join, now)?;
        let known = self.state.map.named(&join.name).cloned();
        let id = match &known {
            Some(member) if member.fingerprint != join.fingerprint => {
                return Err(Refusal::NameTaken { by: member.id.number });
            }
            Some(Member { id, roles, .. }) => {
                match join.token {
                    None if roles.has(join.roles) => {}
                    None => return Err(Refusal::RolesNotAllowed(*roles)),
                    Some(token) => self.use_token(token, &join, id.number, now)?,
                }
                // Whatever that process still believes, it is this node no more.
                self.bury(*id);
                NodeId { number: id.number, incarnation: id.incarnation.saturating_add(1) }
            }
            None => {
                self.bound(self.state.map.members.len(), MEMBERS_MAX, Bound::Members)?;
                let number = self.state.next_number;
                let token = join.token.ok_or(Refusal::TokenMissing)?;
                self.use_token(token, &join, number, now)?;
                self.state.next_number = number.saturating_add(1);
                NodeId { number, incarnation: 1 }
            }
        };
        let Join { name, roles, address, zone, versions, features, program, fingerprint, .. } =
            join;
        let standing = Standing::Active;
        self.change(Change::Member(Box::new(Member {
            id,
            name,
            roles,
            address,
            zone,
            versions,
            features,
            program,
            fingerprint,
            standing,
        })));
        self.open_gates();
        self.grant_free();
        self.settled();
        Ok(id)
    }

    /// Whether such a node may be a member, whoever it is.
    fn judge(&self, join: &Join, now: u64) -> Result<(), Refusal> {
        let map = &self.state.map;
        if join.cluster != map.cluster {
            return Err(Refusal::WrongCluster(map.cluster));
        }
        let off = join.clock_us.abs_diff(now);
        if off > CLOCK_OFF_MAX_US {
            return Err(Refusal::ClockOff { off_ms: off / 1000, ahead: join.clock_us > now });
        }
        if join.roles.is_empty() {
            return Err(Refusal::NoRole);
        }
        words::name(&join.name, TextOf::Name)?;
        words::address(&join.address)?;
        if !join.zone.is_empty() {
            words::name(&join.zone, TextOf::Zone)?;
        }
        words::program(&join.program)?;
        let others = map.members.values().filter(|member| member.is_up());
        for member in others.filter(|member| member.name != join.name) {
            if member.versions.shared(join.versions).is_none() {
                let (with, versions) = (member.name.clone(), member.versions);
                return Err(Refusal::NoSharedVersion { with, versions });
            }
        }
        if !join.features.has(map.gates) {
            return Err(Refusal::ProgramTooOld(map.gates.without(join.features)));
        }
        Ok(())
    }

    fn use_token(
        &mut self,
        token: TokenHash,
        join: &Join,
        number: u32,
        now: u64,
    ) -> Result<(), Refusal> {
        let token = self.state.tokens.get_mut(&token).ok_or(Refusal::TokenUnknown)?;
        match token.used_by {
            Some(by) if by != number => return Err(Refusal::TokenUsed { by }),
            None if token.expires_us <= now => return Err(Refusal::TokenExpired),
            // The same node again: the answer to its first join was lost.
            Some(_) | None => {}
        }
        if !token.roles.has(join.roles) {
            return Err(Refusal::RolesNotAllowed(token.roles));
        }
        token.used_by = Some(number);
        Ok(())
    }

    fn member(&self, number: u32) -> Result<&Member, Refusal> {
        self.state.map.members.get(&number).ok_or(Refusal::UnknownNode(number))
    }

    fn leave(&mut self, node: NodeId) -> Result<(), Refusal> {
        self.member(node.number)?;
        self.state.map.up(node).ok_or(Refusal::NotUp(node))?;
        self.bury(node);
        self.grant_free();
        Ok(())
    }

    fn declare_dead(&mut self, node: NodeId, by: &[NodeId]) -> Result<(), Refusal> {
        self.member(node.number)?;
        let map = &self.state.map;
        map.up(node).ok_or(Refusal::NotUp(node))?;
        let by: BTreeSet<NodeId> = by.iter().copied().filter(|id| *id != node).collect();
        let observers: Vec<&Member> = by.iter().filter_map(|id| map.up(*id)).collect();
        if !enough(map, node, &observers) {
            return Err(Refusal::TooFewObservers);
        }
        self.bury(node);
        self.grant_free();
        Ok(())
    }

    /// Nothing of this incarnation counts any more.
    fn bury(&mut self, node: NodeId) {
        let Some(member) = self.state.map.up(node).cloned() else { return };
        self.change(Change::Member(Box::new(Member { standing: Standing::Down, ..member })));
        self.state.fresh.remove(&node);
        self.take_from(node);
    }

    /// Nothing is held by this node any more, nor on its way to it.
    fn take_from(&mut self, node: NodeId) {
        let slots: Vec<(ShardId, Slot)> = self.state.map.slots().collect();
        for (shard, slot) in slots {
            match slot.hold {
                Hold::Moving(owner, heir, _) if owner == node && self.state.may_take(heir) => {
                    self.grant(shard, heir);
                }
                Hold::Serving(owner) | Hold::Moving(owner, ..) if owner == node => {
                    self.change(Change::Slot(shard, Slot { hold: Hold::Free, ..slot }));
                }
                Hold::Moving(owner, heir, _) if heir == node => {
                    self.change(Change::Slot(shard, Slot { hold: Hold::Serving(owner), ..slot }));
                }
                _ => {}
            }
        }
    }

    /// A new owner, under an epoch that was never given.
    fn grant(&mut self, shard: ShardId, owner: NodeId) {
        let epoch = Epoch(self.state.map.slot(shard).epoch.0.saturating_add(1));
        self.change(Change::Slot(shard, Slot { hold: Hold::Serving(owner), epoch }));
    }

    /// Shards without an owner go to routers with fresh leases, to none more than its even share
    /// of all that are up: the others may be fresh in a moment. If there is none, none moves.
    fn grant_free(&mut self) {
        if self.state.granted {
            self.give(Shares::give_within_share);
        }
    }

    /// Shards without an owner go to whoever is fresh.
    fn grant_all(&mut self) -> Result<(), Refusal> {
        if !self.state.somebody_may_take() {
            return Err(Refusal::NobodyFresh);
        }
        self.state.granted = true;
        self.give(Shares::give);
        Ok(())
    }

    fn give(&mut self, next: impl Fn(&mut Shares) -> Option<NodeId>) {
        let slots = self.state.map.slots();
        let free: Vec<ShardId> =
            slots.filter(|(_, slot)| slot.hold == Hold::Free).map(|(shard, _)| shard).collect();
        if free.is_empty() {
            return;
        }
        let mut shares = Shares::of(self.state);
        for shard in free {
            match next(&mut shares) {
                Some(owner) => self.grant(shard, owner),
                None => return,
            }
        }
    }

    fn release(&mut self, node: NodeId) -> Result<(), Refusal> {
        self.member(node.number)?;
        self.state.map.up(node).ok_or(Refusal::NotUp(node))?;
        if self.state.is_fresh(node) {
            return Err(Refusal::StillFresh(node));
        }
        if !self.state.somebody_may_take() {
            return Err(Refusal::NobodyFresh);
        }
        self.take_from(node);
        self.grant_all()
    }

    /// Only the owner loses by it, so its lease need not be fresh. A hand-over of the shard is
    /// over: there is nothing left to hand over.
    fn regrant(&mut self, shard: ShardId, epoch: Epoch, node: NodeId) -> Result<(), Refusal> {
        let slot = self.state.map.slot(shard);
        if slot.owner() != Some(node) || slot.epoch != epoch {
            return Err(Refusal::NotOwner { shard, epoch });
        }
        self.grant(shard, node);
        Ok(())
    }

    fn drain(&mut self, number: u32) -> Result<(), Refusal> {
        let member = self.member(number)?;
        let others = self.state.map.members.values().filter(|other| other.id != member.id);
        if member.roles.has(Roles::ROUTER) && !others.into_iter().any(Member::takes_shards) {
            return Err(Refusal::LastRouter);
        }
        self.stand(number, Standing::Draining)
    }

    fn stand(&mut self, number: u32, standing: Standing) -> Result<(), Refusal> {
        let member = self.member(number)?.clone();
        if !member.is_up() {
            return Err(Refusal::NotUp(member.id));
        }
        if member.standing != standing {
            self.change(Change::Member(Box::new(Member { standing, ..member })));
            self.grant_free();
        }
        Ok(())
    }

    fn remove(&mut self, number: u32) -> Result<(), Refusal> {
        if self.member(number)?.is_up() {
            return Err(Refusal::StillUp(number));
        }
        self.change(Change::Removed(number));
        self.open_gates();
        Ok(())
    }

    fn lease_seen(&mut self, fresh: Vec<NodeId>) {
        let map = &self.state.map;
        let router = |node: &NodeId| map.up(*node).is_some_and(|it| it.roles.has(Roles::ROUTER));
        self.state.fresh = fresh.into_iter().filter(router).collect();
        self.grant_free();
    }

    /// A gate is open from the moment when every member, up or down, has what it stands for.
    fn open_gates(&mut self) {
        let map = &self.state.map;
        let all = map.members.values().map(|member| member.features).reduce(Features::and);
        let gates = map.gates.or(all.unwrap_or_default());
        if gates != map.gates {
            self.change(Change::Gates(gates));
        }
    }

    fn begin(&mut self, moves: &[Move]) -> u32 {
        let moving = |slot: &Slot| matches!(slot.hold, Hold::Moving(..));
        let mut under_way = self.state.map.slots().filter(|it| moving(&it.1)).count();
        let mut begun = 0;
        for Move { shard, to } in moves {
            let slot = self.state.map.slot(*shard);
            let takes = self.state.map.up(*to).is_some_and(Member::takes_shards);
            match slot.hold {
                Hold::Serving(owner)
                    if owner != *to
                        && takes
                        && self.state.is_fresh(*to)
                        && under_way < MOVING_MAX =>
                {
                    let hold = Hold::Moving(owner, *to, self.state.applied);
                    self.change(Change::Slot(*shard, Slot { hold, ..slot }));
                    under_way += 1;
                    begun += 1;
                }
                _ => {}
            }
        }
        begun
    }

    fn end(&mut self, moves: &[Attempt]) -> u32 {
        let mut ended = 0;
        for attempt in moves {
            let is_this = self.state.map.attempt(attempt.shard) == Some(*attempt);
            if is_this && self.state.may_take(attempt.to) {
                self.grant(attempt.shard, attempt.to);
                ended += 1;
            }
        }
        self.settled();
        ended
    }

    fn abort(&mut self, moves: &[Attempt]) -> u32 {
        let mut aborted = 0;
        for attempt in moves {
            let slot = self.state.map.slot(attempt.shard);
            if let Some(owner) = slot.owner()
                && self.state.map.attempt(attempt.shard) == Some(*attempt)
            {
                let hold = Hold::Serving(owner);
                self.change(Change::Slot(attempt.shard, Slot { hold, ..slot }));
                aborted += 1;
            }
        }
        aborted
    }

    /// An operator's wish for evenness is over when it is fulfilled.
    fn settled(&mut self) {
        let moving = |slot: Slot| matches!(slot.hold, Hold::Moving(..));
        if self.state.rebalancing
            && self.state.next_moves().is_empty()
            && !self.state.map.slots().any(|it| moving(it.1))
        {
            self.state.rebalancing = false;
        }
    }
}

/// Whether these may declare a node dead: two of them, one a control node; or all there are, if
/// that is fewer than two.
pub(crate) fn enough(map: &Map, node: NodeId, observers: &[&Member]) -> bool {
    let others = map.members.values().filter(|member| member.is_up() && member.id != node);
    let others: Vec<&Member> = others.collect();
    let is_control = |member: &&Member| member.roles.has(Roles::CONTROL);
    let wanted = others.len().clamp(1, 2);
    observers.len() >= wanted
        && (observers.iter().any(is_control) || !others.iter().any(is_control))
}
