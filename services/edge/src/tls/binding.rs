//! Channel bindings: `tls-exporter` (RFC 9266) and `tls-server-end-point` (RFC 5929 §4).

use aws_lc_rs::digest;
use bytes::Bytes;
use rustls::Tls13CipherSuite;
use rustls::crypto::tls13::{HkdfExpander, OkmBlock};

/// The exporter label of RFC 9266 §2; the context is empty.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The `tls-exporter` binding of a connection, from its exporter secret (RFC 8446 §7.5):
/// `HKDF-Expand-Label(Derive-Secret(secret, label, ""), "exporter", Hash(""), 32)`.
pub(super) fn exporter(suite: &Tls13CipherSuite, secret: &OkmBlock) -> Option<[u8; 32]> {
    let empty = suite.common.hash_provider.hash(&[]);
    let empty = empty.as_ref();
    let outer = suite.hkdf_provider.expander_for_okm(secret);
    let length = u16::try_from(outer.hash_len()).ok()?;
    let derived = outer.expand_block(&[
        &length.to_be_bytes(),
        &[u8::try_from(PREFIX.len() + LABEL.len()).ok()?],
        PREFIX,
        LABEL,
        &[u8::try_from(empty.len()).ok()?],
        empty,
    ]);
    let inner = suite.hkdf_provider.expander_for_okm(&derived);
    expand_exporter(inner.as_ref(), empty)
}

const PREFIX: &[u8] = b"tls13 ";

fn expand_exporter(inner: &dyn HkdfExpander, empty: &[u8]) -> Option<[u8; 32]> {
    let label = b"exporter";
    let mut binding = [0; 32];
    let info: [&[u8]; 6] = [
        &32u16.to_be_bytes(),
        &[u8::try_from(PREFIX.len() + label.len()).ok()?],
        PREFIX,
        label,
        &[u8::try_from(empty.len()).ok()?],
        empty,
    ];
    inner.expand_slice(&info, &mut binding).ok()?;
    Some(binding)
}

/// The `tls-server-end-point` binding of a certificate in DER: its hash by the hash of its
/// signature, where MD5 and SHA-1 count as SHA-256. `None` where the signature names no single hash
/// (Ed25519), as RFC 5929 leaves that open.
pub(super) fn end_point(certificate: &[u8]) -> Option<Bytes> {
    let algorithm = signature_hash(certificate)?;
    Some(Bytes::copy_from_slice(digest::digest(algorithm, certificate).as_ref()))
}

fn signature_hash(certificate: &[u8]) -> Option<&'static digest::Algorithm> {
    let (outer, _) = element(certificate, SEQUENCE)?;
    let (_to_be_signed, rest) = element(outer, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (oid, parameters) = element(algorithm, OBJECT_ID)?;
    if oid == RSA_PSS {
        return pss_hash(parameters);
    }
    SIGNATURES.iter().find(|(known, _)| *known == oid).map(|(_, hash)| *hash)
}

/// RSASSA-PSS carries its hash as the first parameter; absent, it is SHA-1 (RFC 4055 §3.1).
fn pss_hash(parameters: &[u8]) -> Option<&'static digest::Algorithm> {
    let (parameters, _) = element(parameters, SEQUENCE)?;
    let Some((hash, _)) = element(parameters, PSS_HASH) else { return Some(&digest::SHA256) };
    let (hash, _) = element(hash, SEQUENCE)?;
    let (oid, _) = element(hash, OBJECT_ID)?;
    HASHES.iter().find(|(known, _)| *known == oid).map(|(_, hash)| *hash)
}

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
/// Context tag 0, constructed.
const PSS_HASH: u8 = 0xa0;

/// 1.2.840.113549.1.1.10, id-RSASSA-PSS.
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

/// Signature algorithms by the content of their object identifier: 1.2.840.113549.1.1.n (RFC 8017
/// appendix C), then 1.2.840.10045.4.1 and 1.2.840.10045.4.3.n (RFC 5758 §3.2).
const SIGNATURES: [(&[u8], &digest::Algorithm); 9] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], &digest::SHA512),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], &digest::SHA512),
];

/// 1.3.14.3.2.26 (SHA-1) and 2.16.840.1.101.3.4.2.n.
const HASHES: [(&[u8], &digest::Algorithm); 4] = [
    (&[0x2b, 14, 3, 2, 26], &digest::SHA256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &digest::SHA256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], &digest::SHA384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], &digest::SHA512),
];

/// The first DER element of `input` if it has this tag, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_signature() {
        let cases: [(&rcgen::SignatureAlgorithm, Option<&digest::Algorithm>); 4] = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(&digest::SHA256)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(&digest::SHA384)),
            (&rcgen::PKCS_RSA_SHA512, Some(&digest::SHA512)),
            (&rcgen::PKCS_ED25519, None),
        ];
        for (signature, hash) in cases {
            let key = rcgen::KeyPair::generate_for(signature).expect("a key");
            let names = vec!["a.example".to_owned()];
            let params = rcgen::CertificateParams::new(names).expect("parameters");
            let certificate = params.self_signed(&key).expect("a certificate");
            let der = certificate.der();
            let wanted = hash.map(|hash| digest::digest(hash, der).as_ref().to_vec());
            assert_eq!(end_point(der).map(|hash| hash.to_vec()), wanted);
        }
    }

    #[test]
    fn pss_names_its_hash_or_means_sha1() {
        let sha384: &[u8] =
            &[0x30, 15, 0xa0, 13, 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
        assert_eq!(pss_hash(sha384), Some(&digest::SHA384));
        assert_eq!(pss_hash(&[0x30, 0]), Some(&digest::SHA256));
    }

    #[test]
    fn broken_certificates_have_no_binding() {
        for bytes in
            [&b""[..], &[0x30], &[0x30, 0x80], &[0x30, 0x84, 1, 0, 0, 0], &[0x30, 3, 0x30, 9, 0]]
        {
            assert_eq!(end_point(bytes), None, "{bytes:?}");
        }
    }
}
