//! What a node keeps of its cluster, in its data folder: who it is, its key, the cluster's
//! authority, where the control nodes are. One file, replaced whole.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use mesh::raft::Seat;
use mesh::{Authority, Credentials, NodeKey};
use serde::{Deserialize, Serialize};
use xmpp::blocks::base64;

use crate::home::write_private;

/// The version of the file.
const VERSION: u32 = 1;

/// What a node keeps of its cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Folder {
    version: u32,
    authority: String,
    /// On control nodes.
    authority_key: Option<String>,
    certificate: String,
    key: String,
    /// Of its replica of the control plane, on control nodes.
    pub(crate) replica: Option<u64>,
    /// The replica was opened once: from then on an empty folder means that it has lost something.
    #[serde(default)]
    pub(crate) opened: bool,
    /// Where control nodes were when it last knew.
    pub(crate) control: Vec<Place>,
    /// The cluster is being made by this node.
    pub(crate) founding: Option<Founding>,
    #[serde(skip)]
    root: PathBuf,
}

/// A control node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Its name.
    pub(crate) node: String,
    /// Where it listens.
    pub(crate) address: String,
}

impl From<Seat> for Place {
    fn from(seat: Seat) -> Self {
        Self { node: seat.node, address: seat.address }
    }
}

impl From<Place> for Seat {
    fn from(place: Place) -> Self {
        Self { node: place.node, address: place.address }
    }
}

/// What the first start of a new cluster's first node has to say to the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Founding {
    /// The key of the cluster's hashes.
    pub(crate) hash: (u64, u64),
    /// The highest epoch in the store, where that was there before.
    #[serde(default)]
    pub(crate) epochs_above: u64,
    /// The hash of the token by which the node itself joins.
    pub(crate) own_token: String,
    /// The hash of the first token for others.
    pub(crate) token: String,
    /// Until when that is good, in microseconds since the Unix epoch.
    pub(crate) expires_us: u64,
}

fn folder(root: &Path) -> PathBuf {
    root.join("cluster")
}

fn file(root: &Path) -> PathBuf {
    folder(root).join("node.json")
}

fn joining(root: &Path) -> PathBuf {
    folder(root).join("joining.key")
}

/// Makes the folder of the cluster inside the data folder.
fn make(root: &Path) -> Result<(), String> {
    let path = folder(root);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|why| format!("{} cannot be made: {why}", path.display()))
}

impl Folder {
    /// Whether the node of this data folder is of a cluster.
    pub(crate) fn exists(root: &Path) -> bool {
        file(root).exists()
    }

    /// A node's first.
    pub(crate) fn new(
        root: &Path,
        credentials: &Credentials,
        authority_key: Option<&[u8]>,
        replica: Option<u64>,
        control: Vec<Place>,
    ) -> Self {
        Self {
            version: VERSION,
            authority: base64::encode(credentials.authority()),
            authority_key: authority_key.map(base64::encode),
            certificate: base64::encode(credentials.certificate()),
            key: base64::encode(credentials.key()),
            replica,
            opened: false,
            control,
            founding: None,
            root: root.to_owned(),
        }
    }

    /// Reads the file; `None` where the node is of no cluster.
    ///
    /// # Errors
    /// A sentence: it cannot be read, or is of another version.
    pub(crate) fn open(root: &Path) -> Result<Option<Self>, String> {
        let path = file(root);
        let shown = path.display();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(format!("{shown} cannot be read: {why}")),
        };
        let mut folder: Self = serde_json::from_slice(&text).map_err(|why| {
            format!("{shown} is damaged ({why}): remove the node and let it join again")
        })?;
        if folder.version != VERSION {
            return Err(format!("{shown} was written by another release"));
        }
        root.clone_into(&mut folder.root);
        Ok(Some(folder))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn write(&self) -> Result<(), String> {
        make(&self.root)?;
        let path = file(&self.root);
        let text = serde_json::to_vec_pretty(self).map_err(|why| why.to_string())?;
        write_private(&path, &text)
            .map_err(|why| format!("{} cannot be written: {why}", path.display()))?;
        // The key is in the file now.
        let _ = std::fs::remove_file(joining(&self.root));
        Ok(())
    }

    /// Another certificate for the same key.
    pub(crate) fn renew(&mut self, credentials: &Credentials) {
        self.certificate = base64::encode(credentials.certificate());
    }

    /// Who the node is.
    ///
    /// # Errors
    /// A sentence: the file is damaged.
    pub(crate) fn credentials(&self) -> Result<Credentials, String> {
        let parts = [&self.authority, &self.certificate, &self.key].map(|it| base64::decode(it));
        let [Some(authority), Some(certificate), Some(key)] = parts else {
            return Err(format!("{} is damaged", file(&self.root).display()));
        };
        Credentials::new(&authority, &certificate, &key)
            .map_err(|why| format!("{}: {why}", file(&self.root).display()))
    }

    /// The cluster's authority, on a control node.
    ///
    /// # Errors
    /// A sentence: the file is damaged.
    pub(crate) fn authority(&self) -> Result<Option<Authority>, String> {
        let Some(key) = &self.authority_key else { return Ok(None) };
        let parts = (base64::decode(&self.authority), base64::decode(key));
        let (Some(certificate), Some(key)) = parts else {
            return Err(format!("{} is damaged", file(&self.root).display()));
        };
        let opened = Authority::open(&certificate, &key);
        opened.map(Some).map_err(|why| format!("{}: {why}", file(&self.root).display()))
    }

    /// The folder of the replica.
    pub(crate) fn raft(&self) -> PathBuf {
        folder(&self.root).join("raft")
    }
}

/// The key of a node that wants to join. It is kept before it is shown to anybody: when an answer
/// is lost, the same node with the same key may ask again.
///
/// # Errors
/// A sentence.
pub(crate) fn joining_key(root: &Path) -> Result<NodeKey, String> {
    let path = joining(root);
    let shown = path.display();
    match std::fs::read(&path) {
        Ok(der) => NodeKey::open(&der).map_err(|why| format!("{shown}: {why}")),
        Err(why) if why.kind() == ErrorKind::NotFound => {
            make(root)?;
            let key = NodeKey::create().map_err(|why| format!("no key could be made: {why}"))?;
            write_private(&path, &key.to_der())
                .map_err(|why| format!("{shown} cannot be written: {why}"))?;
            Ok(key)
        }
        Err(why) => Err(format!("{shown} cannot be read: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh::{ClusterId, Identity, NodeName, Roles};

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let root = tempfile::tempdir().unwrap();
        assert!(Folder::open(root.path()).unwrap().is_none() && !Folder::exists(root.path()));
        let now = Duration::from_secs(1_800_000_000);
        let authority = Authority::create(ClusterId(7), now).unwrap();
        let key = joining_key(root.path()).unwrap();
        let again = joining_key(root.path()).unwrap();
        assert_eq!(key.to_der(), again.to_der(), "who asks twice is one node");
        let identity = Identity {
            cluster: ClusterId(7),
            node: NodeName::parse("r1").unwrap(),
            roles: Roles::parse("router+control").unwrap(),
        };
        let certificate = authority.issue(&key.request().unwrap(), &identity, now).unwrap();
        let made = Credentials::new(authority.certificate(), &certificate, &key.to_der()).unwrap();
        let place = Place { node: "r1".to_owned(), address: "127.0.0.1:1".to_owned() };
        let key = authority.key();
        let folder = Folder::new(root.path(), &made, Some(&key), Some(1), vec![place.clone()]);
        folder.write().unwrap();
        let read = Folder::open(root.path()).unwrap().unwrap();
        assert_eq!(*read.credentials().unwrap().identity(), identity);
        assert!(read.authority().unwrap().is_some());
        assert_eq!((read.replica, read.control), (Some(1), vec![place]));
        assert_ne!(joining_key(root.path()).unwrap().to_der(), made.key(), "the key has its use");
        std::fs::write(file(root.path()), "{}").unwrap();
        assert!(Folder::open(root.path()).unwrap_err().contains("is damaged"));
    }
}
