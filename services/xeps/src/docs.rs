//! The documents that are made from what the modules say of themselves: `docs/XEPS.md` and
//! `docs/doap.xml`. A test fails when they are stale.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use session::spec::{Spec, Status};

use crate::LIST;

/// RFCs that the server implements: number, title, what is left out.
const RFCS: &[(u16, &str, &str)] = &[
    (4616, "The PLAIN SASL Mechanism", "offered inside TLS only"),
    (5802, "SCRAM-SHA-1 and SCRAM-SHA-1-PLUS", ""),
    (5929, "Channel Bindings for TLS", "`tls-unique`, which TLS 1.3 does not have"),
    (6120, "XMPP: Core", "between servers: not yet"),
    (
        6121,
        "XMPP: Instant Messaging and Presence",
        "between servers: not yet; a chat or normal message for a resource that is not there goes \
         to those that are, or waits (decision 0012)",
    ),
    (7590, "Use of TLS in XMPP", ""),
    (7622, "XMPP: Address Format", ""),
    (7677, "SCRAM-SHA-256 and SCRAM-SHA-256-PLUS", ""),
    (8265, "PRECIS: usernames and passwords", ""),
    (9266, "Channel Bindings for TLS 1.3", ""),
];

/// Extensions that are no module: they are parts of the stream, or words.
const ELSEWHERE: &[Spec] = &[
    Spec {
        status: Status::Partial,
        gaps: "tables of results (`<reported/>`) and media",
        ..Spec::new(4, "Data Forms", "2.13.2")
    },
    Spec::new(68, "Field Standardization for Data Forms", "1.3.0"),
    Spec::new(106, "JID Escaping", "1.1.1"),
    Spec::new(368, "SRV records for XMPP over TLS", "1.1.0"),
    Spec::new(440, "SASL Channel-Binding Type Capability", "1.0.0"),
];

/// Every extension, each once, in the order of their numbers.
fn specs() -> BTreeMap<u16, Spec> {
    let modules = LIST.iter().map(|module| module.spec());
    modules.chain(ELSEWHERE.iter().copied()).map(|spec| (spec.number, spec)).collect()
}

/// `docs/XEPS.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# What Carillon implements\n\n\
         Made from what the modules say of themselves (`services/xeps`); a test fails when it is \
         stale, and rewrites it with `UPDATE_DOCS=1 cargo test -p xeps --test docs`.\n\n\
         ## RFCs\n\n| RFC | title | left out |\n|---|---|---|\n",
    );
    for (number, title, gaps) in RFCS {
        let url = format!("https://www.rfc-editor.org/rfc/rfc{number}");
        let _ = writeln!(out, "| [{number}]({url}) | {title} | {gaps} |");
    }
    out.push_str(
        "\nSCRAM-SHA-512 and SCRAM-SHA-512-PLUS have no RFC: they are done as \
         draft-melnikov-scram-sha-512 says, with the hash in the place of SHA-256.\n",
    );
    out.push_str(
        "\n## Extensions\n\nIn the order of their numbers; the version is that of the XEP that \
         was read.\n\n| XEP | title | version | | left out |\n|---|---|---|---|---|\n",
    );
    for spec in specs().values() {
        let (number, url) = (spec.number, url(spec));
        let status = status(spec);
        let _ = writeln!(
            out,
            "| [{number:04}]({url}) | {} | {} | {status} | {} |",
            spec.name, spec.version, spec.gaps
        );
    }
    out
}

/// `docs/doap.xml` (XEP-0453).
pub fn doap() -> String {
    let mut out = String::from(
        "<?xml version='1.0' encoding='UTF-8'?>\n\
         <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' \
         xmlns='http://usefulinc.com/ns/doap#' \
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>\n  <Project>\n    \
         <name>Carillon</name>\n    \
         <shortdesc xml:lang='en'>A clustered XMPP server</shortdesc>\n    \
         <programming-language>Rust</programming-language>\n    \
         <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>\n    \
         <license rdf:resource='https://www.apache.org/licenses/LICENSE-2.0'/>\n",
    );
    for (number, _, _) in RFCS {
        let url = format!("https://www.rfc-editor.org/info/rfc{number}");
        let _ = writeln!(out, "    <implements rdf:resource='{url}'/>");
    }
    for spec in specs().values() {
        let _ = write!(
            out,
            "    <implements>\n      <xmpp:SupportedXep>\n        \
             <xmpp:xep rdf:resource='{}'/>\n        <xmpp:version>{}</xmpp:version>\n        \
             <xmpp:status>{}</xmpp:status>\n",
            url(spec),
            spec.version,
            status(spec)
        );
        if !spec.gaps.is_empty() {
            let gaps = spec.gaps.replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(out, "        <xmpp:note>Left out: {gaps}</xmpp:note>");
        }
        out.push_str("      </xmpp:SupportedXep>\n    </implements>\n");
    }
    out.push_str("  </Project>\n</rdf:RDF>\n");
    out
}

fn url(spec: &Spec) -> String {
    format!("https://xmpp.org/extensions/xep-{:04}.html", spec.number)
}

fn status(spec: &Spec) -> &'static str {
    match spec.status {
        Status::Complete => "complete",
        Status::Partial => "partial",
    }
}
