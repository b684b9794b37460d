//! The data folder: what is in it, who may read it, and that it is ours.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Name of the file of secrets, the first that is written.
const SECRETS: &str = "secrets";
const STORE: &str = "store";

/// The data folder of a node.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Opens the folder, making it if it is absent, with access for its owner only.
    ///
    /// # Errors A sentence: it cannot be made, or holds something that is not a node's data. A
    /// folder that has files but no secrets is refused: new secrets would place every account
    /// elsewhere.
    pub fn open(root: &Path) -> Result<Self, String> {
        let shown = root.display();
        let made = !root.exists();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|why| format!("the data folder {shown} cannot be made: {why}"))?;
        let root = root
            .canonicalize()
            .map_err(|why| format!("the data folder {shown} cannot be used: {why}"))?;
        let home = Self { root };
        if made {
            return Ok(home);
        }
        let empty = || home.is_empty().map_err(|why| format!("{shown} cannot be read: {why}"));
        if !Self::exists(&home.root) && !empty()? {
            return Err(format!(
                "{shown} has files in it and is not the data folder of a Carillon: name an empty \
                 folder, or one that is not there yet"
            ));
        }
        Ok(home)
    }

    /// Whether `root` is a data folder that has been used.
    #[must_use]
    pub fn exists(root: &Path) -> bool {
        root.join(SECRETS).exists() || root.join(STORE).exists()
    }

    fn is_empty(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.root)? {
            // What a crash left of the first write does not count.
            if entry?.file_name() != temporary(SECRETS).as_str() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether others than the owner may look into it: worth a warning, because an operator may
    /// want it so.
    #[must_use]
    pub fn is_open_to_others(&self) -> bool {
        fs::metadata(&self.root).is_ok_and(|it| it.permissions().mode() & 0o077 != 0)
    }

    /// The folder itself, as an absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of secrets.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.root.join(SECRETS)
    }

    /// The folder of the embedded store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join(STORE)
    }

    /// The folder of generated certificates.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// Counts a start of the node and gives its number: what a node calls its connections by is
    /// never used twice.
    ///
    /// # Errors
    /// A sentence: the count cannot be read or kept.
    pub fn count_start(&self) -> Result<u32, String> {
        let path = self.root.join("starts");
        let shown = path.display();
        let before = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|why| format!("{shown} is damaged: {why}"))?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => 0_u32,
            Err(why) => return Err(format!("{shown} cannot be read: {why}")),
        };
        let number = before.checked_add(1).ok_or_else(|| format!("{shown} is at its end"))?;
        write_private(&path, format!("{number}\n").as_bytes())
            .map_err(|why| format!("{shown} cannot be written: {why}"))?;
        Ok(number)
    }

    /// The admin socket of a data folder, which need not exist.
    #[must_use]
    pub fn socket(root: &Path) -> PathBuf {
        root.join("admin.sock")
    }
}

/// Writes a file that only its owner may read, so that it is there whole or not at all, crash or
/// not: written beside, synced, renamed, folder synced.
///
/// # Errors
/// Those of the file system.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = folder.join(temporary(&name));
    match fs::remove_file(&beside) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

fn temporary(name: &str) -> String {
    format!(".{name}.new")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_folder_is_private() {
        let around = tempfile::tempdir().unwrap();
        let home = Home::open(&around.path().join("a/b")).unwrap();
        assert_eq!(mode(home.root()), 0o700);
        assert!(!home.is_open_to_others());
        assert!(!Home::exists(home.root()));
        write_private(&home.secrets(), b"x").unwrap();
        assert_eq!(mode(&home.secrets()), 0o600);
        assert!(Home::exists(home.root()));
        Home::open(home.root()).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_ours_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Home::open(folder.path()).unwrap();
        fs::write(folder.path().join(temporary(SECRETS)), "half").unwrap();
        Home::open(folder.path()).unwrap();
        fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
        let why = Home::open(folder.path()).unwrap_err();
        assert!(why.contains("has files in it and is not the data folder"), "{why}");
        let file = folder.path().join("thesis.txt");
        assert!(Home::open(&file).unwrap_err().contains("cannot be made"));
    }

    #[test]
    fn starts_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        assert_eq!([home.count_start(), home.count_start()], [Ok(1), Ok(2)]);
        fs::write(home.root().join("starts"), "many").unwrap();
        assert!(home.count_start().unwrap_err().contains("is damaged"));
    }

    #[test]
    fn a_private_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(folder.path().join(temporary("file")), "left by a crash").unwrap();
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
