//! The processes of a demonstration: started, started again when they end, stopped in order.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use mesh::Role;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::folder::{Folder, Node};
use crate::commands::say;
use crate::exit::Failure;
use crate::limits::{DEMO_LOOK, DEMO_RESTART, DEMO_STEADY, DEMO_STOP};

/// All processes. Whoever drops it ends those that still run.
pub(super) struct Crew<'a> {
    folder: &'a Folder,
    binary: PathBuf,
    posts: RefCell<Vec<Post<'a>>>,
}

/// A node and its process.
struct Post<'a> {
    node: &'a Node,
    /// With what it joins the cluster, if it is of none yet.
    join: Option<String>,
    state: State,
    /// How often in a row it ended soon.
    failures: u32,
}

enum State {
    /// Nobody has started it yet, or it was stopped.
    Rests,
    Runs(Child, Instant),
    /// It has ended, and is started again at that time.
    Waits(Instant),
}

impl Post<'_> {
    fn process(&self) -> Option<u32> {
        match &self.state {
            State::Runs(child, _) => Some(child.id()),
            State::Rests | State::Waits(_) => None,
        }
    }

    /// Whether its process is gone, or there was none.
    fn is_gone(&mut self) -> bool {
        match &mut self.state {
            State::Runs(child, _) => matches!(child.try_wait(), Ok(Some(_))),
            State::Rests | State::Waits(_) => true,
        }
    }

    /// Whether it has ended as it should, or was killed before.
    fn has_succeeded(&mut self) -> bool {
        match &mut self.state {
            State::Runs(child, _) => matches!(child.try_wait(), Ok(Some(it)) if it.success()),
            State::Rests | State::Waits(_) => true,
        }
    }
}

impl<'a> Crew<'a> {
    /// Nobody runs yet.
    ///
    /// # Errors
    /// A sentence: this program does not know where it is.
    pub(super) fn new(folder: &'a Folder) -> Result<Self, Failure> {
        let binary = std::env::current_exe()
            .map_err(|why| Failure::new(format!("this program cannot find itself: {why}")))?;
        let rests = |node| Post { node, join: None, state: State::Rests, failures: 0 };
        let posts = RefCell::new(folder.nodes().iter().map(rests).collect());
        Ok(Self { folder, binary, posts })
    }

    /// Starts a node, with the token by which it joins if it is of no cluster yet.
    ///
    /// # Errors
    /// A sentence: the program cannot be started.
    pub(super) fn start(&self, name: &str, join: Option<String>) -> Result<(), Failure> {
        let mut posts = self.posts.borrow_mut();
        let Some(post) = posts.iter_mut().find(|it| it.node.name == name) else { return Ok(()) };
        post.join = join;
        let child = self.spawn(post.node, post.join.as_deref());
        let child = child.map_err(|why| Failure::new(format!("{name} cannot start: {why}")))?;
        post.state = State::Runs(child, Instant::now());
        Ok(())
    }

    /// The process of a node, if it runs.
    pub(super) fn process(&self, node: &Node) -> Option<u32> {
        self.posts.borrow().iter().find(|it| it.node == node)?.process()
    }

    /// Starts again what ends, for ever.
    pub(super) async fn watch(&self) {
        loop {
            sleep(DEMO_LOOK).await;
            let now = Instant::now();
            for post in self.posts.borrow_mut().iter_mut() {
                self.look_after(post, now);
            }
        }
    }

    fn look_after(&self, post: &mut Post<'_>, now: Instant) {
        let name = &post.node.name;
        match &mut post.state {
            State::Runs(child, since) => {
                let Ok(Some(status)) = child.try_wait() else { return };
                let is_soon = now - *since < DEMO_STEADY;
                post.failures = if is_soon { post.failures + 1 } else { 0 };
                let wait = DEMO_RESTART * post.failures.clamp(1, 6);
                let log = self.folder.log(post.node);
                say(&format!(
                    "{name} has ended ({status}) and starts again in {} s; its log: {}\n",
                    wait.as_secs(),
                    log.display()
                ));
                post.state = State::Waits(now + wait);
            }
            State::Waits(until) if *until <= now => {
                match self.spawn(post.node, post.join.as_deref()) {
                    Ok(child) => {
                        say(&format!("{name} was started again: process {}\n", child.id()));
                        post.state = State::Runs(child, now);
                    }
                    Err(why) => {
                        say(&format!("{name} cannot start: {why}\n"));
                        post.state = State::Waits(now + DEMO_RESTART);
                    }
                }
            }
            State::Waits(_) | State::Rests => {}
        }
    }

    fn spawn(&self, node: &Node, join: Option<&str>) -> io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.folder.log(node))?;
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.folder.config(node));
        // Nothing is ever written to its input, which ends with this process.
        command.args(["serve", "--stop-at-eof"]);
        if let Some(token) = join {
            command.args(["--join", token]);
        }
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C at the terminal is for this process alone, which stops the others in order.
        command.process_group(0);
        command.spawn()
    }

    /// Stops all in order: edges let their clients go, routers store their sessions, then the store
    /// ends. `false`: some had to be killed.
    pub(super) async fn stop(&self) -> bool {
        let mut all = true;
        for role in [Role::Edge, Role::Router, Role::Store] {
            all &= self.stop_those(role).await;
        }
        all
    }

    async fn stop_those(&self, role: Role) -> bool {
        for post in self.posts.borrow_mut().iter_mut().filter(|it| it.node.has(role)) {
            match &post.state {
                State::Runs(child, _) => {
                    // It may have ended just now.
                    let _ = kill_process(Pid::from_child(child), Signal::TERM);
                }
                State::Rests | State::Waits(_) => post.state = State::Rests,
            }
        }
        let end = Instant::now() + DEMO_STOP;
        while !self.are_gone(role) && Instant::now() < end {
            sleep(DEMO_LOOK).await;
        }
        let mut in_order = true;
        for post in self.posts.borrow_mut().iter_mut().filter(|it| it.node.has(role)) {
            let (name, log) = (&post.node.name, self.folder.log(post.node));
            if !post.is_gone() {
                say(&format!("{name} did not stop in time and is killed\n"));
                post.kill();
                in_order = false;
            } else if !post.has_succeeded() {
                say(&format!("{name} did not stop in order; its log: {}\n", log.display()));
                in_order = false;
            }
        }
        in_order
    }

    fn are_gone(&self, role: Role) -> bool {
        self.posts.borrow_mut().iter_mut().filter(|it| it.node.has(role)).all(Post::is_gone)
    }

    /// Ends all at once.
    pub(super) fn kill(&self) {
        self.posts.borrow_mut().iter_mut().for_each(Post::kill);
    }
}

impl Post<'_> {
    fn kill(&mut self) {
        if let State::Runs(child, _) = &mut self.state {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.state = State::Rests;
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}
