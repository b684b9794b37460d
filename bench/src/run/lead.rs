//! The leader's end: starts workers, waits for all of them at the end of each phase, looks at the
//! server there, and lets them go on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::work::{Port, work};
use super::{Job, Said, Seen};
use crate::limits::{SILENCE_MAX, WORKERS_MAX};
use crate::measure::{Cpu, Sample, proc};
use crate::progress::Bar;
use crate::{Failure, stop};

/// Where workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each is a process: this program, started again.
    Processes,
    /// Each is a thread of this process, for tests.
    Threads,
}

enum Hand {
    Process(Child, ChildStdin),
    Thread(mpsc::Sender<()>),
}

impl Hand {
    fn go_on(&mut self) -> Result<(), Failure> {
        match self {
            Self::Process(_, input) => input.write_all(b"\n").and_then(|()| input.flush())?,
            Self::Thread(go) => go.blocking_send(()).map_err(|_| "a worker is gone")?,
        }
        Ok(())
    }
}

/// What the leader hears: which worker, and what; nothing when the worker is gone.
type Heard = (usize, Option<Said>);

/// What else is done at the end of a phase.
type Watch = Box<dyn FnMut(&str) -> Result<(), Failure>>;

/// Leads the workers of one run.
pub struct Leader {
    hands: Vec<Hand>,
    heard: Receiver<Heard>,
    server: Vec<u32>,
    watch: Watch,
    begun: Instant,
}

impl Leader {
    /// Starts `workers` workers on a job.
    ///
    /// # Errors
    /// If a process cannot be started.
    pub fn start(job: &Job, workers: usize, way: Way) -> Result<Self, Failure> {
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(format!("between 1 and {WORKERS_MAX} workers, not {workers}").into());
        }
        let (say, heard) = sync_channel(1024);
        let mut leader = Self {
            hands: Vec::new(),
            heard,
            server: job.target.pids.clone(),
            watch: Box::new(|_| Ok(())),
            begun: Instant::now(),
        };
        for worker in 0..workers {
            let job = Job { worker, workers, ..job.clone() };
            let say = say.clone();
            leader.hands.push(match way {
                Way::Processes => process(&job, say)?,
                Way::Threads => thread(job, say),
            });
        }
        Ok(leader)
    }

    /// Has something done at the end of each phase, before the workers go on.
    #[must_use]
    pub fn watched(mut self, watch: impl FnMut(&str) -> Result<(), Failure> + 'static) -> Self {
        self.watch = Box::new(watch);
        self
    }

    /// Leads them to the end.
    ///
    /// # Errors
    /// If a worker fails, or all are silent for too long.
    pub fn lead(mut self) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        let mut bar = Bar::new();
        let mut far = vec![(0, 0); self.hands.len()];
        let (mut waiting, mut done) = (0, 0);
        while done < self.hands.len() {
            let (worker, said) = self.hear()?;
            match said {
                Some(Said::Progress(what, part, total)) => {
                    far[worker] = (part, total);
                    let sum = far.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
                    bar.show(&what, sum.0, sum.1);
                }
                Some(Said::Waits(phase)) => {
                    waiting += 1;
                    if waiting == self.hands.len() {
                        bar.clear();
                        waiting = 0;
                        let sample = self.sample(&phase)?;
                        (self.watch)(&phase)?;
                        seen.samples.push((phase, sample));
                        self.hands.iter_mut().try_for_each(Hand::go_on)?;
                    }
                }
                Some(Said::Done(outcome)) => {
                    done += 1;
                    seen.outcome.add(&outcome);
                }
                Some(Said::Failed(why)) => {
                    bar.clear();
                    return Err(format!("worker {worker}: {why}").into());
                }
                None => return Err(format!("worker {worker} ended without a result").into()),
            }
        }
        bar.clear();
        Ok(seen)
    }

    /// What a worker says next. Gives up when this program is to end.
    fn hear(&self) -> Result<Heard, Failure> {
        let begun = Instant::now();
        loop {
            stop::check()?;
            match self.heard.recv_timeout(Duration::from_millis(100)) {
                Ok(heard) => return Ok(heard),
                Err(_) if begun.elapsed() < SILENCE_MAX => {}
                Err(_) => {
                    let seconds = SILENCE_MAX.as_secs();
                    return Err(format!("no worker said anything for {seconds} s").into());
                }
            }
        }
    }

    /// What the server has used. Memory takes long to read: outside of what is measured.
    fn sample(&self, phase: &str) -> Result<Sample, Failure> {
        if self.server.is_empty() {
            return Ok(Sample { at_us: self.now_us(), ..Sample::default() });
        }
        let before = if phase == "begin" { self.pss()? } else { 0 };
        let sample =
            Sample { at_us: self.now_us(), cpu: self.cpu()?, pss: before, load: self.load_cpu() };
        let pss = if phase == "begin" { before } else { self.pss()? };
        Ok(Sample { pss, ..sample })
    }

    /// CPU of all the server's processes. Of a cluster, some may have been ended on purpose.
    fn cpu(&self) -> Result<Cpu, Failure> {
        match self.server.as_slice() {
            [only] => proc::cpu(*only),
            many => Ok(many.iter().filter_map(|pid| proc::cpu(*pid).ok()).sum()),
        }
    }

    /// Memory of all the server's processes.
    fn pss(&self) -> Result<u64, Failure> {
        match self.server.as_slice() {
            [only] => proc::pss(*only),
            many => Ok(many.iter().filter_map(|pid| proc::pss(*pid).ok()).sum()),
        }
    }

    fn load_cpu(&self) -> Cpu {
        let of_hand = |hand: &Hand| match hand {
            Hand::Process(child, _) => proc::cpu(child.id()).ok(),
            Hand::Thread(_) => None,
        };
        self.hands.iter().filter_map(of_hand).sum()
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// No load outlives its leader.
impl Drop for Leader {
    fn drop(&mut self) {
        for hand in &mut self.hands {
            if let Hand::Process(child, _) = hand {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn process(job: &Job, say: SyncSender<Heard>) -> Result<Hand, Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("no pipe to the worker")?;
    let output = child.stdout.take().ok_or("no pipe from the worker")?;
    let mut line = serde_json::to_vec(job)?;
    line.push(b'\n');
    input.write_all(&line)?;
    let worker = job.worker;
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let said = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            let last = !matches!(said, Some(Said::Progress(..) | Said::Waits(_)));
            if say.send((worker, said)).is_err() || last {
                return;
            }
        }
        let _ = say.send((worker, None));
    });
    Ok(Hand::Process(child, input))
}

fn thread(job: Job, say: SyncSender<Heard>) -> Hand {
    let (go, gone_on) = mpsc::channel(1);
    std::thread::spawn(move || {
        let worker = job.worker;
        let end = say.clone();
        let port = Port::new(
            move |said| {
                let _ = say.send((worker, Some(said)));
            },
            gone_on,
        );
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&job, port)));
        if caught.is_err() {
            let _ = end.send((worker, Some(Said::Failed("a worker panicked".into()))));
        }
    });
    Hand::Thread(go)
}

/// Does a job with some workers, start to end.
///
/// # Errors
/// See [`Leader::start`] and [`Leader::lead`].
pub fn run(job: &Job, workers: usize, way: Way) -> Result<Seen, Failure> {
    Leader::start(job, workers, way)?.lead()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::target::tests::target;

    #[test]
    fn too_many_workers_are_refused() {
        let job = Job {
            target: target("127.0.0.1:1"),
            scenario: Scenario::default(),
            worker: 0,
            workers: 1,
        };
        assert!(Leader::start(&job, WORKERS_MAX + 1, Way::Threads).is_err());
        assert!(Leader::start(&job, 0, Way::Threads).is_err());
    }

    #[test]
    fn a_server_that_is_not_there_is_said_to_be_so() {
        let job = Job {
            target: target("127.0.0.1:1"),
            scenario: Scenario::default(),
            worker: 0,
            workers: 1,
        };
        let why = run(&job, 1, Way::Threads).unwrap_err().to_string();
        assert!(why.contains("127.0.0.1:1"), "{why}");
    }
}
