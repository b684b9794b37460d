//! A worker's end: it says how far it is, and waits where all wait.

use std::io::{BufRead, Write};

use tokio::sync::mpsc;

use super::{Job, Outcome, Said};
use crate::Failure;

/// A worker's link to its leader.
pub struct Port {
    say: Box<dyn Fn(Said) + Send>,
    go: mpsc::Receiver<()>,
}

impl Port {
    /// A link from its two ends.
    pub fn new(say: impl Fn(Said) + Send + 'static, go: mpsc::Receiver<()>) -> Self {
        Self { say: Box::new(say), go }
    }

    /// Says how far a phase is.
    pub fn progress(&self, what: &str, done: usize, total: usize) {
        (self.say)(Said::Progress(what.to_owned(), done as u64, total as u64));
    }

    /// Waits until all workers have come to the end of this phase, and the leader has looked at
    /// the server.
    ///
    /// # Errors
    /// If the leader is gone.
    pub async fn wait(&mut self, phase: &str) -> Result<(), Failure> {
        (self.say)(Said::Waits(phase.to_owned()));
        self.go.recv().await.ok_or_else(|| "the leading process is gone".into())
    }

    pub(super) fn end(&self, result: Result<Outcome, Failure>) {
        (self.say)(match result {
            Ok(outcome) => Said::Done(Box::new(outcome)),
            Err(why) => Said::Failed(why.to_string()),
        });
    }
}

/// Does a job on this thread.
pub(super) fn work(job: &Job, mut port: Port) {
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, job.scenario.load(job, &mut port))
        });
    port.end(result);
}

/// The life of a worker process: one job from standard input, then a line for each time to go on;
/// everything said goes to standard output.
///
/// # Errors
/// If there is no job.
pub fn serve() -> Result<(), Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line)?;
    let (forward, go) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() || forward.blocking_send(()).is_err() {
                return;
            }
        }
        // Nobody leads any more, and load that nobody leads must end.
        std::process::exit(1);
    });
    let say = |said: Said| {
        let mut line = serde_json::to_vec(&said).unwrap_or_default();
        line.push(b'\n');
        let mut output = std::io::stdout().lock();
        if output.write_all(&line).and_then(|()| output.flush()).is_err() {
            std::process::exit(1);
        }
    };
    work(&job, Port::new(say, go));
    Ok(())
}
