//! Unix sockets whose path may be longer than the system allows.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::limits::SOCKET_PATH_MAX;

/// Listens at `path`, for the owner only, in place of a socket that an earlier server left.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let listener = shortened(path, |short| UnixListener::bind(short))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to the socket at `path`.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    // A connection to a Unix socket is made or refused at once.
    let std = shortened(path, |short| std::os::unix::net::UnixStream::connect(short))?;
    std.set_nonblocking(true)?;
    UnixStream::from_std(std)
}

/// Names the socket through an open descriptor of its folder where its own path does not fit into a
/// socket address.
fn shortened<T>(path: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= SOCKET_PATH_MAX {
        return with(path);
    }
    let folder = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let mut short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    short.push(path.file_name().unwrap_or_default());
    with(&short)
}
