//! Python and Node with the clients' libraries, made once under `target/clients`.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::scenario::Program;

/// slixmpp 1.17 needs it.
const PYTHON_MIN: (u32, u32) = (3, 11);
/// @xmpp/client 0.14 needs it.
const NODE_MIN: (u32, u32) = (20, 0);

/// Where the scripts are.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Why scenarios of this program cannot run on this machine, if they cannot.
pub(crate) fn missing(program: Program) -> Option<String> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    static NODE: OnceLock<Option<String>> = OnceLock::new();
    match program {
        Program::Python => PYTHON.get_or_init(|| {
            let found = too_old("python3", &["--version"], PYTHON_MIN);
            found.or_else(|| {
                match run(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
                    Ok(_) => None,
                    Err(_) => Some("python3 venv is missing".into()),
                }
            })
        }),
        Program::Node => NODE.get_or_init(|| {
            let found = too_old("node", &["--version"], NODE_MIN);
            found.or_else(|| match run(Command::new("npm").arg("--version")) {
                Ok(_) => None,
                Err(_) => Some("npm is missing".into()),
            })
        }),
    }
    .clone()
}

/// Reads a version such as `Python 3.11.7` or `v20.20.2`.
fn too_old(program: &str, arguments: &[&str], min: (u32, u32)) -> Option<String> {
    let Ok(text) = run(Command::new(program).args(arguments)) else {
        return Some(format!("{program} is missing"));
    };
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (major, minor) = min;
    (found < min).then(|| format!("{program} is older than {major}.{minor}"))
}

/// The command that runs a script, once its libraries are there.
pub(crate) fn command(program: Program, script: &str) -> Result<Command, String> {
    if let Some(reason) = missing(program) {
        return Err(reason);
    }
    match program {
        Program::Python => {
            static READY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
            let python =
                READY.get_or_init(|| installed("venv", "requirements.txt", venv)).clone()?;
            let mut command = Command::new(python.join("bin/python"));
            command.arg("-B").arg(scripts().join(script));
            Ok(command)
        }
        Program::Node => {
            static READY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
            let home = READY.get_or_init(|| installed("node", "package-lock.json", npm)).clone()?;
            // Modules are looked up from the script's folder, and for a script in an argument from
            // the working folder: so its libraries need not lie beside the source.
            let text = fs::read_to_string(scripts().join(script)).map_err(|e| e.to_string())?;
            let mut command = Command::new("node");
            command.current_dir(home).args(["--input-type=module", "--eval", &text, "--"]);
            Ok(command)
        }
    }
}

/// A folder with what `list` names, made by `make` unless it stands already. A lock keeps several
/// test runs from making it at once; what is half made is made again.
fn installed(
    name: &str,
    list: &str,
    make: fn(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    // …/target/debug/carillon → …/target
    let target = Path::new(env!("CARGO_BIN_EXE_carillon")).ancestors().nth(2).unwrap();
    let base = target.join("clients");
    let fail = |e: std::io::Error| format!("{}: {e}", base.display());
    fs::create_dir_all(&base).map_err(fail)?;
    let lock = File::create(base.join(format!("{name}.lock"))).map_err(fail)?;
    lock.lock().map_err(fail)?;
    let home = base.join(name);
    let wanted = fs::read_to_string(scripts().join(list)).map_err(fail)?;
    let stamp = home.join("complete");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(home);
    }
    let _ = fs::remove_dir_all(&home);
    make(&home)?;
    fs::write(stamp, wanted).map_err(fail)?;
    Ok(home)
}

fn venv(home: &Path) -> Result<(), String> {
    run(Command::new("python3").args(["-m", "venv"]).arg(home))?;
    let list = scripts().join("requirements.txt");
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
    run(pip.arg(list)).map(drop)
}

fn npm(home: &Path) -> Result<(), String> {
    fs::create_dir_all(home).map_err(|e| e.to_string())?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(scripts().join(file), home.join(file)).map_err(|e| e.to_string())?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
    run(npm.current_dir(home)).map(drop)
}

/// What a program prints, or why it failed.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|e| format!("{shown}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{shown}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
}
