//! Certificates of the domains: the operator's files where the configuration names them, generated
//! ones elsewhere.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};

use crate::config::{CertificateFiles, Config};
use crate::home::{Home, write_private};

/// The files of one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainCertificate {
    /// The domain, in the ASCII form that TLS names it by.
    pub domain: String,
    /// Where they are.
    pub files: CertificateFiles,
    /// Self-signed and ours: clients will ask whether to trust it.
    pub generated: bool,
}

/// The certificates of all domains, in their order; those that are nobody's are made.
///
/// # Errors
/// A sentence: a certificate cannot be made or written.
pub fn prepare(config: &Config, home: &Home) -> Result<Vec<DomainCertificate>, String> {
    config.domains.iter().map(|domain| prepare_one(config, home, domain)).collect()
}

fn prepare_one(config: &Config, home: &Home, domain: &str) -> Result<DomainCertificate, String> {
    let ascii = xmpp::Jid::parse(domain)
        .map_err(|why| format!("{domain}: {why}"))?
        .domain_ascii()
        .into_owned();
    if let Some(files) = config.certificate(domain) {
        return Ok(DomainCertificate { domain: ascii, files, generated: false });
    }
    let files = generate(&home.certificates(), &ascii)?;
    Ok(DomainCertificate { domain: ascii, files, generated: true })
}

/// The generated certificate of a domain in this folder, made if it is not there.
///
/// # Errors
/// A sentence: it cannot be made or written.
pub(crate) fn generate(folder: &Path, ascii: &str) -> Result<CertificateFiles, String> {
    let files = CertificateFiles {
        certificate: folder.join(format!("{ascii}.crt")),
        key: folder.join(format!("{ascii}.key")),
    };
    if !(files.certificate.exists() && files.key.exists()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|why| format!("{} cannot be made: {why}", folder.display()))?;
        let (certificate, key) = self_signed(ascii)
            .map_err(|why| format!("no certificate could be made for {ascii}: {why}"))?;
        // The key goes first: a certificate that is there without its key could not be used.
        write(&files.key, &key)?;
        write(&files.certificate, &certificate)?;
    }
    Ok(files)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    write_private(path, text.as_bytes())
        .map_err(|why| format!("{} cannot be written: {why}", path.display()))
}

/// A self-signed certificate and its key, in PEM. ECDSA P-256, which every TLS client of the last
/// ten years takes; for `localhost` its addresses too. It does not run out in practice: whoever
/// trusts it trusts the one copy they looked at.
fn self_signed(domain: &str) -> Result<(String, String), rcgen::Error> {
    let literal = domain.trim_start_matches('[').trim_end_matches(']').to_owned();
    let mut names = vec![literal.clone()];
    if domain == "localhost" {
        names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, literal);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn each_domain_without_files_gets_its_own_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let domains = ["localhost", "bücher.example", "192.0.2.1", "[::1]", "a.example"];
        let mut config =
            Config { domains: domains.map(str::to_owned).to_vec(), ..Config::default() };
        let given = CertificateFiles { certificate: "a.crt".into(), key: "a.key".into() };
        config.tls.domains.insert("a.example".to_owned(), given.clone());

        let made = prepare(&config, &home).unwrap();
        assert_eq!(made[1].domain, "xn--bcher-kva.example");
        assert_eq!((&made[4].files, made[4].generated), (&given, false));
        let read = |at: usize| {
            let files = &made[at].files;
            for path in [&files.certificate, &files.key] {
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            }
            let texts = [&files.certificate, &files.key].map(|it| fs::read_to_string(it).unwrap());
            assert!(texts[0].starts_with("-----BEGIN CERTIFICATE-----"));
            assert!(texts[1].starts_with("-----BEGIN PRIVATE KEY-----"));
            texts
        };
        let first: Vec<_> = (0..4).map(read).collect();
        for at in 1..4 {
            assert!(first[at - 1] != first[at], "keys are not shared");
        }
        assert_eq!(prepare(&config, &home).unwrap(), made);
        let again: Vec<_> = (0..4).map(read).collect();
        assert_eq!(first, again, "kept over a restart");
    }
}
