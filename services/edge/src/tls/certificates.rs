//! Certificates from PEM files, chosen by server name, read again when the files change.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use aws_lc_rs::digest;
use bytes::Bytes;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{binding, with_handshake};
use crate::limits::PEM_FILE_BYTES_MAX;

/// Where one certificate comes from, and for which server names.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The names it is shown for, in ASCII form; `*.example` stands for every name with one more
    /// label.
    pub names: Vec<String>,
    /// The chain in PEM, the server's own certificate first.
    pub chain: PathBuf,
    /// The private key in PEM (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

/// Why a certificate could not be read. Each text says which file.
#[derive(Debug)]
pub enum CertificateFault {
    /// The file cannot be read, or is too large.
    File(PathBuf, io::Error),
    /// The file holds no certificate or key in PEM.
    Pem(PathBuf, rustls::pki_types::pem::Error),
    /// The chain is empty, the key is of no known kind, or they do not belong together.
    Pair(PathBuf, rustls::Error),
    /// No certificate at all was configured.
    Missing,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Pem(path, error) => write!(f, "{}: not usable PEM: {error}", path.display()),
            Self::Pair(path, error) => {
                write!(f, "{}: certificate and key do not go together: {error}", path.display())
            }
            Self::Missing => f.write_str("no certificate is configured"),
        }
    }
}

impl std::error::Error for CertificateFault {}

/// The server's own certificate with its key, and what is derived from it once.
#[derive(Debug)]
pub(super) struct Leaf {
    certified: Arc<CertifiedKey>,
    pub(super) end_point: Option<Bytes>,
    /// SHA-256 of the certificate.
    pub(super) fingerprint: [u8; 32],
}

/// All certificates of a node. Readers take a snapshot; a reload replaces it.
#[derive(Debug)]
pub struct Certificates {
    entries: Mutex<Vec<Entry>>,
    table: RwLock<Arc<Table>>,
}

#[derive(Debug)]
struct Entry {
    files: CertificateFiles,
    stamp: Option<Stamp>,
    leaf: Arc<Leaf>,
}

#[derive(Debug)]
struct Table {
    by_name: BTreeMap<String, Arc<Leaf>>,
    /// For clients that name nobody, or somebody unknown: the stream then says `host-unknown` in
    /// words.
    fallback: Arc<Leaf>,
}

/// What tells that files changed: time and length of both.
type Stamp = [(SystemTime, u64); 2];

impl Certificates {
    /// Reads all certificates. The first is shown to clients that name no server.
    ///
    /// # Errors
    /// The first file that cannot be used: a node does not start with half of its certificates.
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, CertificateFault> {
        let mut entries = Vec::with_capacity(files.len());
        for files in files {
            let stamp = stamp(&files);
            let leaf = Arc::new(read_leaf(&files)?);
            entries.push(Entry { files, stamp, leaf });
        }
        let table = Table::new(&entries).ok_or(CertificateFault::Missing)?;
        Ok(Self { entries: Mutex::new(entries), table: RwLock::new(Arc::new(table)) })
    }

    /// Reads all files again. Where they cannot be used, the certificate before stays. Running
    /// connections are not touched.
    pub fn reload(&self) -> Vec<CertificateFault> {
        self.refresh(|_| true).1
    }

    /// Reads the files whose time or length changed. Returns how many certificates are new, and
    /// what is wrong with the others.
    pub fn reload_changed(&self) -> (usize, Vec<CertificateFault>) {
        self.refresh(|entry| stamp(&entry.files) != entry.stamp)
    }

    fn refresh(&self, wanted: impl Fn(&Entry) -> bool) -> (usize, Vec<CertificateFault>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut renewed, mut faults) = (0, Vec::new());
        for entry in entries.iter_mut().filter(|entry| wanted(entry)) {
            // Before the reading: files that change meanwhile are read once more.
            entry.stamp = stamp(&entry.files);
            match read_leaf(&entry.files) {
                Ok(leaf) => {
                    entry.leaf = Arc::new(leaf);
                    renewed += 1;
                }
                Err(fault) => faults.push(fault),
            }
        }
        if renewed > 0
            && let Some(table) = Table::new(&entries)
        {
            *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        }
        (renewed, faults)
    }

    pub(super) fn leaf(&self, server_name: Option<&str>) -> Arc<Leaf> {
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner));
        let found = server_name.and_then(|name| table.find(name));
        Arc::clone(found.unwrap_or(&table.fallback))
    }
}

impl Table {
    fn new(entries: &[Entry]) -> Option<Self> {
        let fallback = Arc::clone(&entries.first()?.leaf);
        let mut by_name = BTreeMap::new();
        for entry in entries {
            for name in &entry.files.names {
                // The first that names a host keeps it, as the order of the file says.
                by_name.entry(name.to_ascii_lowercase()).or_insert_with(|| Arc::clone(&entry.leaf));
            }
        }
        Some(Self { by_name, fallback })
    }

    fn find(&self, name: &str) -> Option<&Arc<Leaf>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let leaf = self.leaf(hello.server_name());
        let certified = Arc::clone(&leaf.certified);
        with_handshake(|scratch| {
            scratch.server_name = hello.server_name().map(str::to_ascii_lowercase);
            scratch.leaf = Some(leaf);
        });
        Some(certified)
    }
}

fn read_leaf(files: &CertificateFiles) -> Result<Leaf, CertificateFault> {
    let chain = read_pem(&files.chain)?;
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateFault::Pem(files.chain.clone(), error))?;
    let key = PrivateKeyDer::from_pem_slice(&read_pem(&files.key)?)
        .map_err(|error| CertificateFault::Pem(files.key.clone(), error))?;
    let Some(own) = chain.first() else {
        let none = rustls::pki_types::pem::Error::NoItemsFound;
        return Err(CertificateFault::Pem(files.chain.clone(), none));
    };
    let end_point = binding::end_point(own);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, own).as_ref());
    let certified = CertifiedKey::from_der(chain, key, &default_provider())
        .map_err(|error| CertificateFault::Pair(files.chain.clone(), error))?;
    Ok(Leaf { certified: Arc::new(certified), end_point, fingerprint })
}

fn read_pem(path: &Path) -> Result<Vec<u8>, CertificateFault> {
    let fault = |error| CertificateFault::File(path.to_owned(), error);
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(fault)?;
    file.take(PEM_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > PEM_FILE_BYTES_MAX {
        return Err(fault(io::Error::new(io::ErrorKind::FileTooLarge, "too large for PEM")));
    }
    Ok(bytes)
}

fn stamp(files: &CertificateFiles) -> Option<Stamp> {
    let of = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    Some([of(&files.chain)?, of(&files.key)?])
}
