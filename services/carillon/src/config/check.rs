//! What can only be known on the machine: whether the files that the configuration names can be
//! read.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{Config, Problem};
use crate::limits::PEM_BYTES_MAX;

/// What is wrong with the named files.
pub(super) fn files(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for domain in &config.domains {
        let Some(files) = config.certificate(domain) else { continue };
        let parts = [
            (&files.certificate, "certificate", "-----BEGIN CERTIFICATE-----"),
            (&files.key, "key", "PRIVATE KEY-----"),
        ];
        for (path, what, marker) in parts {
            if let Err(why) = pem(path, marker) {
                let text = format!("the {what} of {domain}, {}: {why}", path.display());
                problems.push(Problem { line: 0, text });
            }
        }
    }
    problems
}

fn pem(path: &Path, marker: &str) -> Result<(), String> {
    let file = File::open(path).map_err(|why| why.to_string())?;
    let mut text = Vec::new();
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut text).map_err(|why| why.to_string())?;
    if text.len() as u64 > PEM_BYTES_MAX {
        return Err("is too long for a PEM file".to_owned());
    }
    if !String::from_utf8_lossy(&text).contains(marker) {
        return Err(format!("has no \"{marker}\" in it; it must be a PEM file"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::CertificateFiles;
    use super::*;

    #[test]
    fn says_which_file_of_which_domain() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
        let mut config = Config::default();
        config.tls.all =
            Some(CertificateFiles { certificate: certificate.clone(), key: key.clone() });
        let told = files(&config);
        assert_eq!(told.len(), 2);
        assert!(told[0].text.starts_with("the certificate of localhost, "), "{told:?}");

        std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
        std::fs::write(&key, "-----BEGIN CERTIFICATE-----\n").unwrap();
        let told = files(&config);
        assert_eq!(told.len(), 1);
        assert!(told[0].text.contains("must be a PEM file"), "{told:?}");

        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        assert_eq!(files(&config), []);
    }
}
