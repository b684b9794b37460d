//! One replica of the control plane, and the handle through which the node uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{
    ChangeMembershipError, ClientWriteError, Fatal, ForwardToLeader, InitializeError,
    LinearizableReadError, RaftError,
};
use openraft::{ChangeMembers, Config, Raft, ReadPolicy, ServerState, SnapshotPolicy};
use tokio::sync::watch;

use super::control::{Answer, ControlError, MemberChange, Request, Standing, Status};
use super::folder::{Folder, OpenError, Starts};
use super::machine::{Adapter, Shared, StateMachine};
use super::network::{Carrier, Network};
use super::store::Whose;
use super::types::{Command, Seat, Types};
use crate::ClusterId;
use crate::limits::{COMMAND_BYTES_MAX, CONTROL_WITHIN, LOG_KEPT, LOG_PER_SNAPSHOT};
use crate::link::{CallError, CallRefusal, Service};

/// The times of elections. The usual ones are for machines that are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader says that it leads.
    pub heartbeat: Duration,
    /// A follower that hears nothing asks for votes after a time between these two.
    pub election: (Duration, Duration),
    /// After so many entries the state is stored and older entries are dropped.
    pub log_per_snapshot: u64,
    /// Entries behind a snapshot that are kept for replicas that lag a little.
    pub log_kept: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            heartbeat: Duration::from_millis(250),
            election: (Duration::from_millis(750), Duration::from_millis(1500)),
            log_per_snapshot: LOG_PER_SNAPSHOT,
            log_kept: LOG_KEPT,
        }
    }
}

/// What a replica needs to start.
pub struct Opening<M> {
    /// Its number among the replicas. A number is never used for a second replica, not even
    /// after the first was removed.
    pub replica: u64,
    /// The cluster: a log of another one is refused.
    pub cluster: ClusterId,
    /// Where log, vote and snapshot are.
    pub folder: PathBuf,
    /// Whether an empty folder is right.
    pub starts: Starts,
    /// How it reaches the others.
    pub carrier: Arc<dyn Carrier>,
    /// What the log is applied to, empty.
    pub machine: M,
    /// Times.
    pub timing: Timing,
}

impl<M> fmt::Debug for Opening<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({} in {})", self.replica, self.folder.display())
    }
}

/// Why a replica has ended. Whichever it is, the process ends with it and starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The Raft task or the state machine panicked.
    Panicked,
    /// The disk failed.
    Disk,
    /// It was told to stop.
    Stopped,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Panicked => "the control plane's replica met a bug and has stopped",
            Failure::Disk => "the control plane's log cannot be written",
            Failure::Stopped => "the control plane's replica was told to stop",
        })
    }
}

/// A running replica. A clone is another handle.
pub struct Replica<M: StateMachine> {
    pub(super) inner: Arc<Running<M>>,
}

impl<M: StateMachine> Clone for Replica<M> {
    fn clone(&self) -> Self {
        Replica { inner: self.inner.clone() }
    }
}

impl<M: StateMachine> fmt::Debug for Replica<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replica({})", self.inner.number)
    }
}

pub(super) struct Running<M: StateMachine> {
    number: u64,
    pub(super) raft: Raft<Types, Adapter<M>>,
    pub(super) shared: Arc<Shared<M>>,
    carrier: Arc<dyn Carrier>,
    pub(super) rebuilding: AtomicBool,
    _lock: std::fs::File,
}

fn config(timing: &Timing) -> Config {
    let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: "carillon".to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election.0),
        election_timeout_max: millis(timing.election.1),
        install_snapshot_timeout: millis(super::network::SNAPSHOT_WITHIN),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timing.log_per_snapshot),
        max_in_snapshot_log_to_keep: timing.log_kept,
        // Each purge is a write to the log: not one for every entry.
        purge_batch_size: (timing.log_kept / 4).max(1),
        max_payload_entries: 64,
        enable_pre_vote: Some(true),
        // A leader that starts again asks for votes like anyone: it may have lost its log.
        enable_leader_restore: Some(false),
        // A replica whose log was damaged comes back with less than it had acknowledged. It gives
        // no vote until it has all again, so that the leader may start over with it.
        allow_log_reversion: Some(true),
        ..Config::default()
    }
}

impl<M: StateMachine> Replica<M> {
    /// Opens the folder and starts. The first replica of a new cluster is then told to
    /// [`Replica::initialize`]; others wait for a leader to find them.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn open(opening: Opening<M>) -> Result<Replica<M>, OpenError> {
        let whose = Whose { cluster: opening.cluster.0, replica: opening.replica };
        let (path, starts) = (opening.folder.clone(), opening.starts);
        let folder = tokio::task::spawn_blocking(move || Folder::open(&path, whose, starts))
            .await
            .map_err(|why| OpenError::Refused(why.to_string()))??;
        let config = config(&opening.timing)
            .validate()
            .map_err(|why| OpenError::Refused(why.to_string()))?;
        let shared = Shared::new(opening.machine);
        let adapter = Adapter { shared: shared.clone(), snapshots: folder.snapshots };
        let network = Network { carrier: opening.carrier.clone() };
        let raft =
            Raft::build(opening.replica, Arc::new(config), network, folder.log, adapter).await;
        let raft = raft.map_err(|why| OpenError::Refused(why.to_string()))?;
        let rebuilding = folder.rebuilding.exists();
        let running = Running {
            number: opening.replica,
            raft,
            shared,
            carrier: opening.carrier,
            rebuilding: AtomicBool::new(rebuilding),
            _lock: folder._lock,
        };
        let replica = Replica { inner: Arc::new(running) };
        if rebuilding {
            replica.inner.raft.runtime_config().elect(false);
            tokio::spawn(replica.clone().rebuild(folder.rebuilding));
        }
        replica.inner.raft.run();
        Ok(replica)
    }

    /// Makes this the first replica of a new cluster. A replica that has a log already says so by
    /// `false`, and nothing happens.
    ///
    /// # Errors
    /// The replica has stopped.
    pub async fn initialize(&self, seat: Seat) -> Result<bool, ControlError> {
        let members = BTreeMap::from([(self.inner.number, seat)]);
        match self.inner.raft.initialize(members).await {
            Ok(()) => Ok(true),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(false),
            Err(_) => Err(ControlError::Stopped),
        }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.inner.number
    }

    /// Looks at the state as far as this replica has applied it.
    pub fn with<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        self.inner.shared.with(look)
    }

    /// The index of the last entry that was applied; changes with each.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.shared.subscribe()
    }

    /// Has a command applied, by whoever leads, and gives the state machine's answer.
    ///
    /// # Errors
    /// Nobody leads, or the answer was lost.
    pub async fn propose(&self, command: Vec<u8>) -> Result<Vec<u8>, ControlError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ControlError::Refused);
        }
        self.at_leader(Request::ProposeHere(command)).await
    }

    /// Changes who holds replicas, one change at a time. Done when it is committed, and for a new
    /// replica when it has caught up.
    ///
    /// # Errors
    /// Nobody leads, the change makes no sense, or another one is under way.
    pub async fn change_members(&self, change: MemberChange) -> Result<(), ControlError> {
        self.at_leader(Request::Members(change)).await.map(|_| ())
    }

    /// Returns when this replica has applied all that was committed when it was asked: what
    /// [`Replica::with`] then shows is no older. A quorum was asked, no lease was trusted.
    ///
    /// # Errors
    /// Nobody leads, or no quorum answers.
    pub async fn read_linearizable(&self) -> Result<u64, ControlError> {
        let index = self.at_leader(Request::ReadIndex).await?;
        let index = index.try_into().map(u64::from_be_bytes).map_err(|_| ControlError::Unknown)?;
        self.applied(index).await?;
        Ok(index)
    }

    /// Waits until this replica has applied entries up to `index`.
    async fn applied(&self, index: u64) -> Result<(), ControlError> {
        let mut applied = self.subscribe();
        let waiting = applied.wait_for(|applied| *applied >= index);
        match tokio::time::timeout(CONTROL_WITHIN, waiting).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ControlError::Stopped),
            Err(_) => Err(ControlError::Unknown),
        }
    }

    /// Who leads, if this replica knows.
    pub fn leader(&self) -> Option<(u64, Seat)> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let seat = metrics.membership_config.get_node(&leader).cloned()?;
        Some((leader, seat))
    }

    /// How this replica stands.
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership();
        let (mut voters, mut learners) = (BTreeMap::new(), BTreeMap::new());
        let voting: BTreeSet<u64> = members.voter_ids().collect();
        for (number, seat) in members.nodes() {
            let side = if voting.contains(number) { &mut voters } else { &mut learners };
            side.insert(*number, seat.clone());
        }
        let matched = metrics.replication.iter().flatten();
        Status {
            replica: self.inner.number,
            standing: match metrics.state {
                ServerState::Learner => Standing::Learner,
                ServerState::Follower => Standing::Follower,
                ServerState::Candidate => Standing::Candidate,
                ServerState::Leader => Standing::Leader,
                ServerState::Shutdown => Standing::Stopped,
            },
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |it| it.index),
            snapshot: metrics.snapshot.map_or(0, |it| it.index),
            purged: metrics.purged.map_or(0, |it| it.index),
            rebuilding: self.inner.rebuilding.load(Ordering::Relaxed),
            voters,
            learners,
            matched: matched.map(|(id, at)| (*id, at.map_or(0, |it| it.index))).collect(),
        }
    }

    /// Resolves when the replica has ended, and says why. The process then ends too: what is on
    /// disk is sound, what is in memory may not be.
    pub async fn ended(&self) -> Failure {
        let mut metrics = self.inner.raft.metrics();
        let mut panicked = self.inner.shared.panicked();
        loop {
            // First: the library calls it a fault of the storage.
            if *panicked.borrow_and_update() {
                return Failure::Panicked;
            }
            match &metrics.borrow_watched().running_state {
                Ok(()) => {}
                Err(Fatal::Stopped) => return Failure::Stopped,
                Err(Fatal::StorageError(_)) => return Failure::Disk,
                Err(Fatal::Panicked) => return Failure::Panicked,
            }
            let changed = tokio::select! {
                changed = metrics.changed() => changed.is_ok(),
                changed = panicked.changed() => changed.is_ok(),
            };
            if !changed {
                return Failure::Panicked;
            }
        }
    }

    /// Stores the state now, instead of after the next so many entries.
    pub async fn store_snapshot(&self) {
        // It fails only when the replica has stopped, which `ended` tells.
        let _ = self.inner.raft.trigger().snapshot().await;
    }

    /// Stops the replica.
    pub async fn stop(&self) {
        let _ = self.inner.raft.shutdown().await;
    }

    /// Does something here if this replica leads, and otherwise asks who does, for as long as it
    /// may take to elect somebody.
    pub(super) async fn at_leader(&self, request: Request) -> Result<Vec<u8>, ControlError> {
        let until = tokio::time::Instant::now() + CONTROL_WITHIN;
        let mut hint = None;
        loop {
            let answer = match hint.take().or_else(|| self.leader().map(|it| it.1)) {
                Some(seat) if !self.is_mine(&seat) => {
                    let rest = until.saturating_duration_since(tokio::time::Instant::now());
                    self.ask(&seat, &request, rest).await
                }
                _ => self.lead(request.clone()).await,
            };
            match answer {
                Answer::Done(body) => return Ok(body),
                Answer::Failed(ControlError::NoLeader) => {}
                Answer::Failed(why) => return Err(why),
                Answer::NotLeader(seat) => hint = seat,
            }
            if tokio::time::Instant::now() >= until {
                return Err(ControlError::NoLeader);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn is_mine(&self, seat: &Seat) -> bool {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.get_node(&self.inner.number).is_some_and(|mine| mine == seat)
    }

    async fn ask(&self, seat: &Seat, request: &Request, within: Duration) -> Answer {
        let body = Bytes::from(request.encode());
        let call = self.inner.carrier.call(&seat.node, Service::Control, body, within);
        match call.await {
            Ok(answer) => Answer::decode(&answer).unwrap_or(Answer::Failed(ControlError::Unknown)),
            Err(CallError::NoLink | CallError::Refused(CallRefusal::Busy)) => {
                Answer::Failed(ControlError::NoLeader)
            }
            Err(CallError::Refused(_) | CallError::TooLong) => {
                Answer::Failed(ControlError::Refused)
            }
            // A read may be asked for again; what changes something may have been done.
            Err(_) if *request == Request::ReadIndex => Answer::Failed(ControlError::NoLeader),
            Err(_) => Answer::Failed(ControlError::Unknown),
        }
    }

    /// Does what only a leader can do, if this replica leads.
    pub(super) async fn lead(&self, request: Request) -> Answer {
        let raft = &self.inner.raft;
        match request {
            Request::ProposeHere(asked) => {
                let stamped = self.with(|machine| machine.stamp(asked, now_us()));
                let Some(command) = stamped else {
                    return Answer::Failed(ControlError::Refused);
                };
                match raft.client_write(Command(command)).await {
                    Ok(done) => Answer::Done(done.data.0),
                    Err(why) => written(why),
                }
            }
            Request::ReadIndex => match raft.get_read_log_id(ReadPolicy::ReadIndex).await {
                Ok((read, _)) => Answer::Done(read.index().to_be_bytes().to_vec()),
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                    not_leader(to)
                }
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                    Answer::Failed(ControlError::NoLeader)
                }
                Err(RaftError::Fatal(_)) => Answer::Failed(ControlError::Stopped),
            },
            Request::Members(change) => {
                let done = match change {
                    MemberChange::AddLearner(number, seat) => {
                        raft.add_learner(number, seat, true).await
                    }
                    MemberChange::Promote(number) => {
                        let voters = ChangeMembers::AddVoterIds(BTreeSet::from([number]));
                        raft.change_membership(voters, true).await
                    }
                    MemberChange::Demote(number) => {
                        let leave = ChangeMembers::RemoveVoters(BTreeSet::from([number]));
                        raft.change_membership(leave, true).await
                    }
                    MemberChange::Remove(number) => {
                        if self.status().voters.contains_key(&number) {
                            let leave = ChangeMembers::RemoveVoters(BTreeSet::from([number]));
                            if let Err(why) = raft.change_membership(leave, true).await {
                                return written(why);
                            }
                        }
                        let gone = ChangeMembers::RemoveNodes(BTreeSet::from([number]));
                        raft.change_membership(gone, false).await
                    }
                };
                match done {
                    Ok(_) => Answer::Done(Vec::new()),
                    Err(why) => written(why),
                }
            }
            _ => Answer::Failed(ControlError::Refused),
        }
    }

    /// Waits until this replica has all that was committed, and lets it vote again.
    async fn rebuild(self, mark: super::file::Sealed) {
        loop {
            // The leader's answer names an index that a quorum confirmed after this replica had
            // lost its log: whatever it had acknowledged and was committed is at or below it.
            if let Some((leader, _)) = self.leader()
                && leader != self.inner.number
                && self.read_linearizable().await.is_ok()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let removed = tokio::task::spawn_blocking(move || mark.remove()).await;
        if !matches!(removed, Ok(Ok(()))) {
            return tracing::error!("the replica stays without a vote: its mark cannot be removed");
        }
        self.inner.rebuilding.store(false, Ordering::Release);
        self.inner.raft.runtime_config().elect(true);
        tracing::info!("the control plane's replica has its log again and votes");
    }
}

/// The leader's clock goes into the log with a command, so that all replicas apply the same.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn not_leader(to: ForwardToLeader<Types>) -> Answer {
    Answer::NotLeader(to.leader_node)
}

/// Why a write was not done.
fn written(why: RaftError<Types, ClientWriteError<Types>>) -> Answer {
    match why {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => not_leader(to),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_),
        )) => Answer::Failed(ControlError::NoLeader),
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            Answer::Failed(ControlError::Unknown)
        }
        RaftError::APIError(_) => Answer::Failed(ControlError::Refused),
        RaftError::Fatal(_) => Answer::Failed(ControlError::Stopped),
    }
}
