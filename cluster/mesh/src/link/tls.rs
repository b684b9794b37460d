//! TLS of the mesh: version 1.3, both sides prove who they are, and who they are is what the
//! cluster's own authority has signed.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::refusal::{LinkError, Refusal};
use crate::authority::{Credentials, identity_of};
use crate::identity::ClusterId;

/// What links speak, and what joining nodes speak.
pub(super) const ALPN_MESH: &[u8] = b"carillon-mesh";
pub(super) const ALPN_JOIN: &[u8] = b"carillon-join";

/// The name that TLS asks for and nobody checks: nodes are known by their certificates' URI.
pub(super) const SERVER_NAME: &str = "carillon.invalid";

/// The one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Where a verifier leaves what it found, so that the reason is an enum and not an alert.
pub(super) type Verdict = Arc<Mutex<Option<Refusal>>>;

/// Whom a verifier trusts.
#[derive(Clone, Debug)]
enum Anchor {
    /// The cluster's authority.
    Authority(Arc<RootCertStore>, ClusterId),
    /// The authority in the shown chain that has this SHA-256: a joining node knows no more.
    Fingerprint([u8; 32]),
}

#[derive(Debug)]
struct Verifier {
    anchor: Anchor,
    provider: Arc<CryptoProvider>,
    verdict: Verdict,
}

impl Verifier {
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.chain(certificate, others, now).map_err(|(refusal, error)| {
            *self.verdict.lock() = Some(refusal);
            error
        })
    }

    fn chain(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), (Refusal, Error)> {
        let bad = |error| (Refusal::BadCertificate, error);
        let roots = match &self.anchor {
            Anchor::Authority(roots, _) => roots.clone(),
            Anchor::Fingerprint(wanted) => Arc::new(pinned(wanted, others)?),
        };
        let parsed = ParsedCertificate::try_from(certificate).map_err(bad)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)
            .map_err(|error| self.refusal(certificate, error))?;
        let encoding = Error::InvalidCertificate(CertificateError::BadEncoding);
        let identity = identity_of(certificate).map_err(|_| bad(encoding))?;
        match &self.anchor {
            Anchor::Authority(_, cluster) if *cluster != identity.cluster => Err(wrong_cluster()),
            _ => Ok(()),
        }
    }

    /// What an error of the chain means. A certificate that nobody vouches for may still say that
    /// it is of another cluster: that is only used to give the better reason for the refusal.
    fn refusal(&self, certificate: &CertificateDer<'_>, error: Error) -> (Refusal, Error) {
        use CertificateError as E;
        let refusal = match &error {
            Error::InvalidCertificate(E::UnknownIssuer | E::BadSignature) => {
                if let Anchor::Authority(_, cluster) = &self.anchor
                    && identity_of(certificate).is_ok_and(|it| it.cluster != *cluster)
                {
                    return wrong_cluster();
                }
                Refusal::UnknownAuthority
            }
            Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. }) => Refusal::Expired,
            Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => {
                Refusal::NotYetValid
            }
            _ => Refusal::BadCertificate,
        };
        (refusal, error)
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// `access_denied` on the wire.
fn wrong_cluster() -> (Refusal, Error) {
    let error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    (Refusal::WrongCluster, error)
}

/// The shown authority that has the wanted fingerprint, as the only root.
fn pinned(
    wanted: &[u8; 32],
    others: &[CertificateDer<'_>],
) -> Result<RootCertStore, (Refusal, Error)> {
    let unknown = || {
        let error = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        (Refusal::UnknownAuthority, error)
    };
    let found = others.iter().find(|it| fingerprint(it) == *wanted).ok_or_else(unknown)?;
    let mut roots = RootCertStore::empty();
    roots.add(found.clone().into_owned()).map_err(|_| unknown())?;
    Ok(roots)
}

/// SHA-256 of a certificate.
pub(crate) fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(certificate, others, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// A joining node has no certificate yet. A link without one is refused after the handshake.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(certificate, others, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

fn verifier(anchor: Anchor) -> (Arc<Verifier>, Verdict) {
    let verdict = Verdict::default();
    let made = Verifier { anchor, provider: provider(), verdict: verdict.clone() };
    (Arc::new(made), verdict)
}

fn authority(credentials: &Credentials) -> Result<Anchor, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(credentials.authority.clone())?;
    Ok(Anchor::Authority(Arc::new(roots), credentials.identity().cluster))
}

fn key(credentials: &Credentials) -> rustls::pki_types::PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(credentials.key.clone()).into()
}

/// What this node answers a dialler with. The authority's certificate goes along: a joining node
/// looks for the one that its token names.
pub(super) fn listener(
    credentials: &Credentials,
) -> Result<(rustls::ServerConfig, Verdict), LinkError> {
    let made = || -> Result<_, Error> {
        let (verifier, verdict) = verifier(authority(credentials)?);
        let chain = vec![credentials.certificate.clone(), credentials.authority.clone()];
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key(credentials))?;
        config.alpn_protocols = vec![ALPN_MESH.to_vec(), ALPN_JOIN.to_vec()];
        // A resumed session would skip the judgement of certificates.
        config.send_tls13_tickets = 0;
        Ok((config, verdict))
    };
    made().map_err(|_| LinkError::Unusable)
}

/// What this node dials other nodes with.
pub(super) fn dialler(
    credentials: &Credentials,
) -> Result<(rustls::ClientConfig, Verdict), LinkError> {
    let made = || -> Result<_, Error> {
        let (verifier, verdict) = verifier(authority(credentials)?);
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(vec![credentials.certificate.clone()], key(credentials))?;
        config.alpn_protocols = vec![ALPN_MESH.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok((config, verdict))
    };
    made().map_err(|_| LinkError::Unusable)
}

/// What a joining node dials with: no certificate, and trust in one fingerprint.
pub(super) fn joiner(wanted: [u8; 32]) -> Result<(rustls::ClientConfig, Verdict), LinkError> {
    let made = || -> Result<_, Error> {
        let (verifier, verdict) = verifier(Anchor::Fingerprint(wanted));
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok((config, verdict))
    };
    made().map_err(|_| LinkError::Unusable)
}

/// For tests of listeners: trusts one authority, whatever cluster a certificate names.
#[cfg(test)]
pub(super) fn joiner_verifier(authority: &[u8]) -> Arc<dyn ServerCertVerifier> {
    verifier(Anchor::Fingerprint(fingerprint(authority))).0
}
