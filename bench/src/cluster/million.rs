//! As many sessions as this machine holds: as many edges as descriptors demand, memory of each
//! role, and a router that is killed when all are there.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::kernel::{self, Kernel};
use super::nodes::{Nodes, Role, Shape, is_settled};
use super::temporary;
use crate::Failure;
use crate::limits::{DESCRIPTORS_KEPT, LOSS_TIME_MAX};
use crate::report::Row;
use crate::run::{Job, Leader, Way};
use crate::scenario::{Many, Scenario};
use crate::target::Transport;

/// Descriptors that an edge needs for itself; it keeps so many free too.
const EDGE_KEEPS: usize = 600;

/// Very many sessions.
#[derive(Clone, Debug, clap::Args)]
pub struct Million {
    /// The load
    #[command(flatten)]
    many: Many,
    /// Processes that own accounts; each is a control node too
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    routers: u64,
    /// Processes that hold clients, and as many that make them; as few as descriptors allow, if it
    /// is not said
    #[arg(long)]
    edges: Option<u64>,
    /// How streams begin
    #[arg(long, value_enum, default_value = "plain")]
    transport: Transport,
    /// Raise what the kernel allows while this runs, where it is too little: whole machine
    #[arg(long)]
    kernel: bool,
    /// Kill no router
    #[arg(long)]
    no_kill: bool,
    /// Append the run to this file, as one line of JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where servers keep their data while they run
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What was seen at the end of a phase.
struct Look {
    phase: String,
    pss: [u64; 3],
    /// What the machine had left, in bytes.
    left: u64,
}

/// What the leader sees, besides what the load sees.
#[derive(Default)]
struct Seen {
    looks: Vec<Look>,
    killed: Option<Killed>,
}

struct Killed {
    name: String,
    /// Shards that it had.
    shards: usize,
    /// Until the others owned all of them.
    owned: Option<Duration>,
}

/// Runs it and prints what was seen.
///
/// # Errors
/// If the sessions do not fit, a process does not start, or the load fails.
pub fn million(million: &Million) -> Result<(), Failure> {
    let sessions = million.many.sessions;
    let room = usize::try_from(kernel::descriptors()).unwrap_or(usize::MAX);
    let edges = match million.edges {
        Some(edges) => edges,
        None => u64::try_from(sessions.div_ceil(room.saturating_sub(EDGE_KEEPS).max(1)))?,
    };
    let kept = usize::try_from(DESCRIPTORS_KEPT)?;
    let workers = sessions.div_ceil(room.saturating_sub(kept).max(1)).max(usize::try_from(edges)?);
    let workers = workers.min(sessions / million.many.active.max(1)).max(1);
    let scenario = Scenario::Many(million.many.clone());
    scenario.check(workers)?;
    let kernel = Kernel::prepare(sessions, million.kernel);
    println!("{}", kernel.said());
    let base = temporary(million.folder.as_deref())?;
    let shape = Shape::new(million.routers, edges);
    let nodes = Rc::new(RefCell::new(Nodes::start(shape, base.path())?));
    let target = nodes.borrow().target(million.transport, "many");
    let job = Job { target, scenario, worker: 0, workers };
    let seen = Rc::new(RefCell::new(Seen::default()));
    let leader = Leader::start(&job, workers, Way::Processes)?;
    let watch = (nodes.clone(), seen.clone(), !million.no_kill);
    let outcome = leader
        .watched(move |phase| {
            let (nodes, seen, kills) = &watch;
            look(&mut nodes.borrow_mut(), &mut seen.borrow_mut(), phase, *kills)
        })
        .lead();
    for (text, count) in nodes.borrow().warnings().into_iter().take(12) {
        println!("  said {count} times: {text}");
    }
    println!("{}", tell(&seen.borrow(), sessions, edges, workers));
    let row = Row { server: "cluster".to_owned(), ..Row::of_run(&job, workers, outcome?) };
    print!("{}", row.table());
    if let Some(path) = &million.json {
        row.append(path)?;
    }
    Ok(())
}

fn look(nodes: &mut Nodes, seen: &mut Seen, phase: &str, kills: bool) -> Result<(), Failure> {
    let pss = Role::ALL.map(|role| nodes.pss(role));
    seen.looks.push(Look { phase: phase.to_owned(), pss, left: kernel::left() });
    if phase == "loss" && kills {
        seen.killed = Some(kill(nodes)?);
    }
    Ok(())
}

fn kill(nodes: &mut Nodes) -> Result<Killed, Failure> {
    let before = nodes.status()?;
    let begun = Instant::now();
    let name = nodes.kill_router()?;
    let had = before.members.iter().find(|it| it.name == name);
    let shards = had.map_or(0, |it| it.shards);
    let mut owned = None;
    while owned.is_none() && begun.elapsed() < LOSS_TIME_MAX {
        crate::stop::sleep(Duration::from_millis(50))?;
        let Ok(view) = nodes.status() else { continue };
        let still = view.members.iter().find(|it| it.name == name).map_or(0, |it| it.shards);
        if still == 0 && is_settled(&view) {
            owned = Some(begun.elapsed());
        }
    }
    Ok(Killed { name, shards, owned })
}

fn tell(seen: &Seen, sessions: usize, edges: u64, workers: usize) -> String {
    let mut text = format!("{sessions} sessions, {edges} edges, {workers} load processes\n");
    let mib = |bytes: u64| bytes >> 20;
    for Look { phase, pss: [routers, store, edges], left } in &seen.looks {
        let [routers, store, edges, left] = [*routers, *store, *edges, *left].map(mib);
        let _ = writeln!(
            text,
            "  {phase:6}  routers {routers} MiB, store {store} MiB, edges {edges} MiB; the machine \
             has {left} MiB left"
        );
    }
    let at = |phase: &str| seen.looks.iter().find(|look| look.phase == phase);
    if let (Some(empty), Some(rest)) = (at("empty"), at("rest")) {
        let each = |bytes: u64| bytes as f64 / 1024.0 / sessions.max(1) as f64;
        for (at, role) in Role::ALL.into_iter().enumerate() {
            let grown = rest.pss[at].saturating_sub(empty.pss[at]);
            let _ = writeln!(text, "  {:6}  {:.2} KiB/session", role.name(), each(grown));
        }
        let all = each(empty.left.saturating_sub(rest.left));
        let _ = writeln!(text, "  all in all, both ends and the kernel: {all:.2} KiB/session");
    }
    if let Some(Killed { name, shards, owned }) = &seen.killed {
        let owned = match owned {
            Some(time) => format!("others owned them after {:.2} s", time.as_secs_f64()),
            None => format!("not all had owners after {} s", LOSS_TIME_MAX.as_secs()),
        };
        let _ = writeln!(text, "  {name} was killed with {shards} shards: {owned}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_by_role() {
        let look = |phase: &str, pss, left| Look { phase: phase.to_owned(), pss, left };
        let looks = vec![
            look("empty", [1 << 20, 0, 1 << 20], 10 << 20),
            look("rest", [3 << 20, 0, 5 << 20], 2 << 20),
        ];
        let killed = Some(Killed {
            name: "router3".to_owned(),
            shards: 1365,
            owned: Some(Duration::from_millis(2500)),
        });
        let text = tell(&Seen { looks, killed }, 1024, 2, 1);
        assert!(text.contains("router  2.00 KiB/session"), "{text}");
        assert!(text.contains("edge    4.00 KiB/session"), "{text}");
        assert!(text.contains("kernel: 8.00 KiB/session"), "{text}");
        assert!(text.contains("router3 was killed with 1365 shards"), "{text}");
        assert!(text.contains("after 2.50 s"), "{text}");
    }
}
