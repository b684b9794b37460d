//! Logins by each mechanism, with a client that checks all that it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod common;

use common::{Dialogue, OPEN};
use xmpp::scram::Hash;
use xmpp::scram::message::Binding;

/// RFC 5802, RFC 7677, RFC 9266, RFC 5929 §4.
#[test]
fn every_scram_with_every_binding() {
    for hash in Hash::ALL {
        for (mechanism, binding) in [
            (hash.mechanism(), Binding::Unsupported),
            (hash.mechanism_plus(), Binding::Used("tls-exporter")),
            (hash.mechanism_plus(), Binding::Used("tls-server-end-point")),
        ] {
            let mut dialogue = Dialogue::new(mechanism, false);
            dialogue.given("direct tls");
            dialogue.client(OPEN);
            dialogue.forget();
            dialogue.scram(mechanism, "juliet", binding);
            dialogue.client(OPEN);
            let out = String::from_utf8(dialogue.out.clone()).unwrap();
            assert!(out.contains("<bind xmlns="), "{mechanism} {binding:?}: {out}");
        }
    }
}

/// Where nothing can be bound to, `y` is the truth (RFC 5802 §6).
#[test]
fn a_client_with_channel_binding_at_a_server_without() {
    let mut dialogue = Dialogue::new("y", true);
    dialogue.given("direct tls without bindings");
    dialogue.client(OPEN);
    dialogue.forget();
    dialogue.scram("SCRAM-SHA-256", "juliet", Binding::Unoffered);
}

/// Security case 59: whatever a stream holds or gives out, Debug shows none of it.
#[test]
fn no_secret_is_shown_case_59() {
    let mut dialogue = Dialogue::new("debug", false);
    dialogue.given("direct tls");
    dialogue.client(OPEN);
    let mut shown = String::new();
    let mut see = |dialogue: &mut Dialogue| {
        while let Some(output) = dialogue.stream().poll() {
            shown += &format!("{output:?}\n");
        }
        shown += &format!("{:?}\n", dialogue.stream());
    };
    let text = "<auth xmlns='{sasl}' mechanism='PLAIN'>{b64:\\0juliet\\0pencil}</auth>";
    dialogue.client(&common::expand(text));
    see(&mut dialogue);
    dialogue.answer("challenge salt 2");
    see(&mut dialogue);
    dialogue.derived();
    see(&mut dialogue);
    dialogue.answer("verified signature 1");
    see(&mut dialogue);
    let resume = "<resume xmlns='{sm}' previd='canary' h='1'/>";
    dialogue.client(&common::expand(&format!("{OPEN}{resume}")));
    see(&mut dialogue);
    shown += &format!("{:?} {:?}", common::tls_info(), common::random());

    assert!(shown.contains("Derive") && shown.contains("Verify") && shown.contains("Resume"));
    // The password as text, as base64 and as numbers; the SM-ID; the exporter's value.
    for canary in ["pencil", "cGVuY2ls", "AGp1bGlldABwZW5jaWw=", "112, 101, 110", "canary", "7, 7"]
    {
        assert!(!shown.contains(canary), "{canary} in {shown}");
    }
}
