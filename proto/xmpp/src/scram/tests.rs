//! Tests of SCRAM: the vectors of the RFCs, dialogues, and messages that nobody should send.

use proptest::prelude::*;

use super::client::ExpectServerFirst;
use super::message::{Binding, ClientFinal, ClientFirst, ScramError, ServerFirst, encode_name};
use super::server::{Challenge, check_binding};
use super::*;
use crate::blocks::base64;

const SERVER_NONCE_256: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

struct Vector {
    hash: Hash,
    client_nonce: &'static str,
    server_nonce: &'static str,
    salt: &'static str,
    proof: &'static str,
    signature: &'static str,
}

/// User `user`, password `pencil`, 4096 iterations.
const VECTORS: [Vector; 3] = [
    // RFC 5802 §5.
    Vector {
        hash: Hash::Sha1,
        client_nonce: "fyko+d2lbbFgONRv9qkxdawL",
        server_nonce: "3rfcNHYJY1ZVvWVs7j",
        salt: "QSXCR+Q6sek8bf92",
        proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    },
    // RFC 7677 §3.
    Vector {
        hash: Hash::Sha256,
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: SERVER_NONCE_256,
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    },
    // No RFC has one: computed with the hashlib and hmac of Python from the messages of RFC 7677
    // §3.
    Vector {
        hash: Hash::Sha512,
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: SERVER_NONCE_256,
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        proof: "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
        signature: "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
    },
];

#[test]
fn vectors_of_the_rfcs() {
    for v in VECTORS {
        let salt = base64::decode(v.salt).unwrap();
        let client = ExpectServerFirst::new(v.hash, "user", v.client_nonce, Binding::Unsupported);
        let client_first = client.client_first();
        assert_eq!(client_first, format!("n,,n=user,r={}", v.client_nonce));

        let first = ClientFirst::parse(&client_first).unwrap();
        assert_eq!((&*first.username, first.nonce), ("user", v.client_nonce));
        let challenge = Challenge::new(&first, v.server_nonce, &salt, 4096, b"");
        let nonce = format!("{}{}", v.client_nonce, v.server_nonce);
        assert_eq!(challenge.server_first(), format!("r={nonce},s={},i=4096", v.salt));

        let (client, client_final) =
            client.handle_server_first(challenge.server_first(), "pencil", b"").unwrap();
        assert_eq!(client_final, format!("c=biws,r={nonce},p={}", v.proof));

        let attempt = challenge.handle_final(&client_final).unwrap();
        let verifier = Verifier::derive(v.hash, "pencil", &salt, 4096).unwrap();
        let signature = verifier.verify(&attempt.auth_message, &attempt.proof).unwrap();
        let server_final = message::server_final(&signature);
        assert_eq!(server_final, format!("v={}", v.signature));
        client.handle_server_final(&server_final).unwrap();
    }
}

#[test]
fn wrong_proofs_are_refused() {
    for hash in Hash::ALL {
        let verifier = Verifier::derive(hash, "pencil", b"salt", 2).unwrap();
        let right = Keys::derive(hash, "pencil", b"salt", 2).unwrap().client_proof(b"m");
        assert!(verifier.verify(b"m", &right).is_some());
        assert!(verifier.verify(b"n", &right).is_none(), "another AuthMessage");
        let wrong = Keys::derive(hash, "pencils", b"salt", 2).unwrap().client_proof(b"m");
        assert!(verifier.verify(b"m", &wrong).is_none());
        for at in 0..right.len() {
            let mut flipped = right.clone();
            flipped[at] ^= 1;
            assert!(verifier.verify(b"m", &flipped).is_none());
        }
        assert!(verifier.verify(b"m", &right[..right.len() - 1]).is_none());
        assert!(verifier.verify(b"m", &[&right[..], &[0]].concat()).is_none());
        assert!(verifier.verify(b"m", b"").is_none());
    }
}

#[test]
fn a_server_without_the_verifier_is_found_out() {
    let start = ExpectServerFirst::new(Hash::Sha1, "user", "abc", Binding::Unsupported);
    let (client, _) = start.handle_server_first("r=abcdef,s=c2FsdA==,i=1", "pencil", b"").unwrap();
    for last in ["v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", "v=", "v=*", "e=invalid-proof", ""] {
        assert_eq!(client.clone().handle_server_final(last), Err(ScramError::Proof));
    }
}

#[test]
fn a_client_refuses_a_nonce_or_cost_that_is_not_right() {
    let start = ExpectServerFirst::new(Hash::Sha1, "user", "abc", Binding::Unsupported);
    for (first, error) in [
        ("r=abc,s=c2FsdA==,i=1", ScramError::Nonce),
        ("r=abX1,s=c2FsdA==,i=1", ScramError::Nonce),
        ("r=abc1,s=c2FsdA==,i=10000001", ScramError::Nonce),
        ("r=abc1,s=c2FsdA==,i=0", ScramError::Malformed),
        ("r=abc1,s=c2FsdA==,i=+1", ScramError::Malformed),
        ("r=abc1,s=c2FsdA==,i=4294967296", ScramError::Malformed),
        ("r=abc1,s=,i=1", ScramError::Malformed),
        ("m=x,r=abc1,s=c2FsdA==,i=1", ScramError::Extensions),
    ] {
        assert_eq!(
            start.clone().handle_server_first(first, "p", b"").unwrap_err(),
            error,
            "{first}"
        );
    }
}

#[test]
fn first_messages() {
    let first = ClientFirst::parse("p=tls-exporter,a=x=2Cy,n=a=3Db=2C,r=n0nce,z=ext").unwrap();
    assert_eq!(first.binding, Binding::Used("tls-exporter"));
    assert_eq!(first.authzid.as_deref(), Some("x,y"));
    assert_eq!(first.username, "a=b,");
    assert_eq!(first.gs2_header, "p=tls-exporter,a=x=2Cy,");
    assert_eq!(first.bare, "n=a=3Db=2C,r=n0nce,z=ext");
    assert_eq!(encode_name("a=b,"), "a=3Db=2C");

    for (text, error) in [
        ("", ScramError::Malformed),
        ("n", ScramError::Malformed),
        ("n,,", ScramError::Malformed),
        ("n,n=u,r=x", ScramError::Malformed),
        ("x,,n=u,r=x", ScramError::Malformed),
        ("p=,,n=u,r=x", ScramError::Malformed),
        ("p=a_b,,n=u,r=x", ScramError::Malformed),
        ("n,b,n=u,r=x", ScramError::Malformed),
        ("n,a=,n=u,r=x", ScramError::UsernameEncoding),
        ("n,,m=must,n=u,r=x", ScramError::Extensions),
        ("n,,n=,r=x", ScramError::UsernameEncoding),
        ("n,,n=u=2c,r=x", ScramError::UsernameEncoding),
        ("n,,n=u=,r=x", ScramError::UsernameEncoding),
        ("n,,n=u\0,r=x", ScramError::UsernameEncoding),
        ("n,,n=u,r=", ScramError::Malformed),
        ("n,,n=u,r=a b", ScramError::Malformed),
        ("n,,n=u,r=é", ScramError::Malformed),
        ("n,,r=x,n=u", ScramError::Malformed),
        ("n,,n=u,r=x,", ScramError::Malformed),
        ("n,,n=u,r=x,1=a", ScramError::Malformed),
    ] {
        assert_eq!(ClientFirst::parse(text).unwrap_err(), error, "{text}");
    }
    let long = format!("n,,n=u,r={}", "x".repeat(message::NONCE_BYTES_MAX + 1));
    assert_eq!(ClientFirst::parse(&long).unwrap_err(), ScramError::Malformed);
}

#[test]
fn final_messages_must_be_of_this_exchange() {
    let first = ClientFirst::parse("p=tls-exporter,,n=u,r=abc").unwrap();
    let challenge = Challenge::new(&first, "def", b"salt", 4096, b"channel");
    let bound = base64::encode(b"p=tls-exporter,,channel");
    let attempt = challenge.handle_final(&format!("c={bound},r=abcdef,p=AAAA")).unwrap();
    assert_eq!(attempt.proof, [0, 0, 0]);
    let message = format!("n=u,r=abc,r=abcdef,s=c2FsdA==,i=4096,c={bound},r=abcdef");
    assert_eq!(attempt.auth_message, message.as_bytes());

    let other_channel = base64::encode(b"p=tls-exporter,,another");
    let other_header = base64::encode(b"n,,channel");
    for (text, error) in [
        (format!("c={bound},r=abcdeg,p=AAAA"), ScramError::Nonce),
        (format!("c={bound},r=abc,p=AAAA"), ScramError::Nonce),
        (format!("c={other_channel},r=abcdef,p=AAAA"), ScramError::BindingMismatch),
        (format!("c={other_header},r=abcdef,p=AAAA"), ScramError::BindingMismatch),
        ("c=biws,r=abcdef,p=AAAA".to_owned(), ScramError::BindingMismatch),
        (format!("c={bound},r=abcdef"), ScramError::Malformed),
        (format!("c={bound},r=abcdef,p="), ScramError::Malformed),
        (format!("c={bound},r=abcdef,p=AAA"), ScramError::Malformed),
        (format!("r=abcdef,c={bound},p=AAAA"), ScramError::Malformed),
        (format!("c={bound},r=abcdef,p=AAAA,x=y"), ScramError::Malformed),
    ] {
        assert_eq!(challenge.handle_final(&text).unwrap_err(), error, "{text}");
    }
}

// Security case 47.
#[test]
fn channel_binding_cannot_be_taken_away() {
    use Binding::{Unoffered, Unsupported, Used};
    let offered = &["tls-exporter", "tls-server-end-point"][..];
    for (binding, plus, offered, want) in [
        (Unsupported, false, &[][..], Ok(None)),
        (Unsupported, false, offered, Ok(None)),
        (Unoffered, false, &[][..], Ok(None)),
        (Unoffered, false, offered, Err(ScramError::Downgrade)),
        (Used("tls-exporter"), true, offered, Ok(Some("tls-exporter"))),
        (Used("tls-unique"), true, offered, Err(ScramError::BindingType)),
        (Used("tls-exporter"), true, &[][..], Err(ScramError::BindingType)),
        (Used("tls-exporter"), false, offered, Err(ScramError::BindingNotSupported)),
        (Unsupported, true, offered, Err(ScramError::BindingNotSupported)),
        (Unoffered, true, offered, Err(ScramError::BindingNotSupported)),
    ] {
        assert_eq!(check_binding(binding, plus, offered), want, "{binding:?} {plus}");
    }
}

#[test]
fn faked_verifiers_look_real() {
    let secret = Secret::from("of the server");
    let fake = |hash, account| Verifier::fake(&secret, hash, account, 4096);
    for hash in Hash::ALL {
        let once = fake(hash, "nobody@example.org");
        assert_eq!(once.salt(), fake(hash, "nobody@example.org").salt());
        assert_ne!(once.salt(), fake(hash, "noone@example.org").salt());
        assert_eq!((once.salt().len(), once.iterations()), (SALT_BYTES, 4096));
        assert_eq!(once.stored_key().expose().len(), hash.size());
        let proof = Keys::derive(hash, "", once.salt(), 1);
        assert!(proof.is_none(), "no one has an empty password");
        let proof = Keys::derive(hash, "pencil", once.salt(), 1).unwrap().client_proof(b"m");
        assert!(once.verify(b"m", &proof).is_none());
    }
    let other = Verifier::fake(&Secret::from("of another"), Hash::Sha1, "nobody@example.org", 4096);
    assert_ne!(fake(Hash::Sha1, "nobody@example.org").salt(), other.salt());
}

#[test]
fn verifiers_come_back_from_the_store_only_whole() {
    let verifier = Verifier::derive(Hash::Sha256, "pencil", b"salt", 7).unwrap();
    let (stored, server) = (verifier.stored_key().expose(), verifier.server_key().expose());
    let again = Verifier::from_stored(Hash::Sha256, b"salt", 7, stored, server).unwrap();
    let proof = Keys::derive(Hash::Sha256, "pencil", b"salt", 7).unwrap().client_proof(b"m");
    assert_eq!(again.verify(b"m", &proof), verifier.verify(b"m", &proof));
    assert!(Verifier::from_stored(Hash::Sha256, b"salt", 0, stored, server).is_none());
    assert!(Verifier::from_stored(Hash::Sha256, b"", 7, stored, server).is_none());
    assert!(Verifier::from_stored(Hash::Sha256, b"salt", 7, &stored[1..], server).is_none());
    assert!(Verifier::from_stored(Hash::Sha1, b"salt", 7, stored, server).is_none());
    assert!(Verifier::derive(Hash::Sha256, "pencil", b"salt", 0).is_none());
}

// Security case 59.
#[test]
fn keys_print_nothing() {
    let verifier = Verifier::derive(Hash::Sha1, "pencil", b"salt", 1).unwrap();
    let keys = Keys::derive(Hash::Sha1, "pencil", b"salt", 1).unwrap();
    assert_eq!(
        format!("{verifier:?}"),
        "Verifier { hash: Sha1, salt: [115, 97, 108, 116], iterations: 1, stored_key: Secret, \
         server_key: Secret }"
    );
    assert_eq!(
        format!("{keys:?}"),
        "Keys { hash: Sha1, client_key: Secret, stored_key: Secret, server_key: Secret }"
    );
}

#[test]
fn mechanisms_have_names() {
    for hash in Hash::ALL {
        assert_eq!(Hash::from_mechanism(hash.mechanism()), Some((hash, false)));
        assert_eq!(Hash::from_mechanism(hash.mechanism_plus()), Some((hash, true)));
    }
    for name in ["PLAIN", "SCRAM-SHA-1-PLUS-PLUS", "scram-sha-1", "SCRAM-SHA-384", ""] {
        assert_eq!(Hash::from_mechanism(name), None);
    }
}

proptest! {
    #[test]
    fn parsers_take_any_text(text in "\\PC*", tail in "([a-z]=[!-~]{0,9},?){0,5}") {
        for text in [&text, &tail, &format!("n,,{tail}"), &format!("{tail}{text}")] {
            let _ = ClientFirst::parse(text);
            let _ = ServerFirst::parse(text);
            let _ = ClientFinal::parse(text);
        }
    }

    #[test]
    fn names_come_back(name in "[^\0]{1,20}", nonce in "[!-+\\--~]{1,20}") {
        let text = format!("n,,n={},r={nonce}", encode_name(&name));
        let first = ClientFirst::parse(&text).unwrap();
        prop_assert_eq!(first.username, name);
        prop_assert_eq!(first.nonce, nonce);
    }
}
