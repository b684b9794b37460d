//! The cluster's own certificate authority, and what a node holds to prove who it is.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};

use crate::identity::{ClusterId, Identity};
use crate::limits::{CERTIFICATE_RENEW, CERTIFICATE_VALID};

/// How long the authority's own certificate is valid: as long as anyone will run the cluster.
const AUTHORITY_VALID: Duration = Duration::from_secs(50 * 365 * 24 * 3600);

/// Certificates begin to be valid this much before they are issued: clocks differ.
const BEFORE: Duration = Duration::from_secs(3600);

/// Why something could not be made or read. What comes from a peer is one of the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// A request for a certificate that cannot be read, or whose signature is wrong.
    Request,
    /// A certificate without exactly one identity of ours.
    Identity,
    /// Key or certificate of the authority cannot be read.
    Authority,
    /// The library of cryptography refused.
    Crypto,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "the request for a certificate cannot be read",
            Self::Identity => "the certificate does not say which node of which cluster it is for",
            Self::Authority => "the key of the cluster's authority does not fit its certificate",
            Self::Crypto => "the library of cryptography refused",
        })
    }
}

impl std::error::Error for CertificateError {}

/// Issues the certificates of one cluster. Control nodes have it.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority of a new cluster.
    ///
    /// # Errors
    /// The library of cryptography refuses.
    pub fn create(cluster: ClusterId, now: Duration) -> Result<Authority, CertificateError> {
        let crypto = |_| CertificateError::Crypto;
        let key = KeyPair::generate().map_err(crypto)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Carillon cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = validity(now, AUTHORITY_VALID);
        let certificate = params.self_signed(&key).map_err(crypto)?.der().clone();
        Ok(Authority { certificate, issuer: Issuer::new(params, key) })
    }

    /// Reads what [`Authority::certificate`] and [`Authority::key`] gave.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn open(certificate: &[u8], key: &[u8]) -> Result<Authority, CertificateError> {
        let certificate = CertificateDer::from(certificate.to_vec());
        let key = KeyPair::try_from(key).map_err(|_| CertificateError::Authority)?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|_| CertificateError::Authority)?;
        Ok(Authority { certificate, issuer })
    }

    /// Its certificate, in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its key, in PKCS #8: the cluster's most valuable secret.
    pub fn key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// Issues a certificate for the key of `request`. Everything else in it is ours: a request
    /// cannot ask for another identity.
    ///
    /// # Errors
    /// The request cannot be read, or is not signed by its key.
    pub fn issue(
        &self,
        request: &[u8],
        identity: &Identity,
        now: Duration,
    ) -> Result<CertificateDer<'static>, CertificateError> {
        self.issue_for(request, identity, now, CERTIFICATE_VALID)
    }

    /// [`Authority::issue`] for another time than the usual.
    ///
    /// # Errors
    /// As there.
    pub fn issue_for(
        &self,
        request: &[u8],
        identity: &Identity,
        now: Duration,
        valid: Duration,
    ) -> Result<CertificateDer<'static>, CertificateError> {
        let request = CertificateSigningRequestDer::from(request);
        let mut request = CertificateSigningRequestParams::from_der(&request)
            .map_err(|_| CertificateError::Request)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, identity.node.as_str());
        let uri = identity.to_string().try_into().map_err(|_| CertificateError::Identity)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(now, valid);
        request.params = params;
        let made = request.signed_by(&self.issuer).map_err(|_| CertificateError::Crypto)?;
        Ok(made.der().clone())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

/// From an hour before now until so much later.
fn validity<T: std::ops::Add<Duration, Output = T> + From<std::time::SystemTime>>(
    now: Duration,
    valid: Duration,
) -> (T, T) {
    let at = |since: Duration| T::from(std::time::UNIX_EPOCH + since);
    (at(now.saturating_sub(BEFORE)), at(now + valid))
}

/// A node's key, before it has a certificate.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// A new key.
    ///
    /// # Errors
    /// The library of cryptography refuses.
    pub fn create() -> Result<NodeKey, CertificateError> {
        KeyPair::generate().map(NodeKey).map_err(|_| CertificateError::Crypto)
    }

    /// Reads what [`NodeKey::to_der`] gave.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(der: &[u8]) -> Result<NodeKey, CertificateError> {
        KeyPair::try_from(der).map(NodeKey).map_err(|_| CertificateError::Crypto)
    }

    /// The key in PKCS #8.
    pub fn to_der(&self) -> Vec<u8> {
        self.0.serialize_der()
    }

    /// A request for a certificate for this key, signed by it.
    ///
    /// # Errors
    /// The library of cryptography refuses.
    pub fn request(&self) -> Result<Vec<u8>, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let made = params.serialize_request(&self.0).map_err(|_| CertificateError::Crypto)?;
        Ok(made.der().to_vec())
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey")
    }
}

/// All that a node needs to prove who it is and to judge others.
pub struct Credentials {
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
    identity: Identity,
    not_after: Duration,
}

impl Credentials {
    /// Puts together what was kept on disk or came from joining, all in DER.
    ///
    /// # Errors
    /// The certificate is not one of the mesh.
    pub fn new(
        authority: &[u8],
        certificate: &[u8],
        key: &[u8],
    ) -> Result<Credentials, CertificateError> {
        let identity = identity_of(certificate)?;
        let not_after = not_after(certificate)?;
        Ok(Credentials {
            authority: CertificateDer::from(authority.to_vec()),
            certificate: CertificateDer::from(certificate.to_vec()),
            key: key.to_vec(),
            identity,
            not_after,
        })
    }

    /// Who the node is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The authority's certificate, in DER.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// The node's certificate, in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The node's key, in PKCS #8.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Until when the certificate is valid, since the Unix epoch.
    pub fn not_after(&self) -> Duration {
        self.not_after
    }

    /// Whether it is time for a new certificate.
    pub fn wants_renewal(&self, now: Duration) -> bool {
        now + CERTIFICATE_RENEW >= self.not_after
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.identity)
    }
}

/// The identity in a certificate: exactly one URI, and of ours. The signature is not looked at.
pub(crate) fn identity_of(certificate: &[u8]) -> Result<Identity, CertificateError> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::Identity)?;
    let names = parsed.subject_alternative_name().map_err(|_| CertificateError::Identity)?;
    let names = names.ok_or(CertificateError::Identity)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(CertificateError::Identity);
    };
    Identity::parse(uri).ok_or(CertificateError::Identity)
}

/// SHA-256 of the public key in a certificate: it stays the same when the certificate is renewed.
///
/// # Errors
/// The certificate cannot be read.
pub fn key_fingerprint(certificate: &[u8]) -> Result<[u8; 32], CertificateError> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::Identity)?;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.public_key().raw);
    hash.as_ref().try_into().map_err(|_| CertificateError::Crypto)
}

fn not_after(certificate: &[u8]) -> Result<Duration, CertificateError> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::Identity)?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{NodeName, Role, Roles};

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn identity() -> Identity {
        let node = NodeName::parse("r1").unwrap();
        Identity { cluster: ClusterId(7), node, roles: Roles::of(&[Role::Router, Role::Control]) }
    }

    #[test]
    fn certificates_say_who_a_node_is_and_until_when() {
        let made = Authority::create(ClusterId(7), NOW).unwrap();
        let authority = Authority::open(made.certificate(), &made.key()).unwrap();
        let key = NodeKey::open(&NodeKey::create().unwrap().to_der()).unwrap();
        let certificate = authority.issue(&key.request().unwrap(), &identity(), NOW).unwrap();
        let held = Credentials::new(authority.certificate(), &certificate, &key.to_der()).unwrap();
        assert_eq!(held.identity(), &identity());
        assert_eq!(held.not_after(), NOW + CERTIFICATE_VALID);
        let next = authority.issue(&key.request().unwrap(), &identity(), NOW * 2).unwrap();
        assert_eq!(key_fingerprint(&next), key_fingerprint(&certificate));
        let other = NodeKey::create().unwrap().request().unwrap();
        let other = authority.issue(&other, &identity(), NOW).unwrap();
        assert_ne!(key_fingerprint(&other), key_fingerprint(&certificate));
        let renew = NOW + CERTIFICATE_VALID - CERTIFICATE_RENEW;
        assert!(!held.wants_renewal(renew - Duration::from_secs(1)));
        assert!(held.wants_renewal(renew));
    }

    #[test]
    fn requests_that_are_not_signed_by_their_key_are_refused() {
        let authority = Authority::create(ClusterId(7), NOW).unwrap();
        let request = NodeKey::create().unwrap().request().unwrap();
        for at in 0..request.len() {
            let mut changed = request.clone();
            changed[at] ^= 1;
            // A flipped bit either breaks the signature or the form; none may pass unseen, except
            // where the encoding has room that is not signed.
            if let Ok(made) = authority.issue(&changed, &identity(), NOW) {
                assert_eq!(identity_of(&made).unwrap(), identity());
            }
        }
        assert_eq!(
            authority.issue(b"no", &identity(), NOW).unwrap_err(),
            CertificateError::Request
        );
    }

    #[test]
    fn a_certificate_without_an_identity_is_none_of_ours() {
        let made = Authority::create(ClusterId(7), NOW).unwrap();
        assert_eq!(identity_of(made.certificate()), Err(CertificateError::Identity));
        assert_eq!(identity_of(b""), Err(CertificateError::Identity));
        assert_eq!(
            Authority::open(made.certificate(), b"no").unwrap_err(),
            CertificateError::Authority
        );
    }
}
