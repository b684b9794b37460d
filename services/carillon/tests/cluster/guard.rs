//! Nothing outlives the tests: a shell that waits for this process to end, however it does, ends
//! the nodes that are still there and removes their folders.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::LazyLock;

use parking_lot::Mutex;

/// It reads what begins and what ends; at the end of its input nobody is left who would.
const WATCH: &str = r#"
all=" "; folders=""
while read -r what which; do
  case $what in
    begun) all="$all$which " ;;
    ended) rest=" "; for p in $all; do [ "$p" = "$which" ] || rest="$rest$p "; done; all=$rest ;;
    folder) folders="$folders $which" ;;
  esac
done
for p in $all; do kill -9 "$p" 2>/dev/null; done
for f in $folders; do rm -rf "$f"; done
"#;

static GUARD: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    let mut shell = Command::new("sh");
    // In a group of its own: what interrupts the tests does not interrupt it.
    shell.args(["-c", WATCH]).process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Mutex::new(shell.spawn().unwrap().stdin.take().unwrap())
});

fn tell(what: &str, which: &str) {
    let mut guard = GUARD.lock();
    writeln!(guard, "{what} {which}").and_then(|()| guard.flush()).unwrap();
}

/// A process was begun.
pub(crate) fn begun(process: u32) {
    tell("begun", &process.to_string());
}

/// It was waited for.
pub(crate) fn ended(process: u32) {
    tell("ended", &process.to_string());
}

/// A folder that is to be removed.
pub(crate) fn folder(path: &str) {
    tell("folder", path);
}
