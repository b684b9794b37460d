//! What the server and its accounts say of themselves, gathered from the modules: for service
//! discovery (XEP-0030) and for entity capabilities (XEP-0115) in the features of streams.

use xmpp::blocks::disco::{Identity, Info};

use crate::config::Config;
use crate::spec::Spec;

/// What names the server in entity capabilities (XEP-0115 §4): the address of its first domain. An
/// operator's own, so that it cannot be mistaken for another's.
pub fn caps_node(config: &Config) -> String {
    format!("xmpp:{}", config.domains.first().map_or("", String::as_str))
}

/// What a domain of the server says of itself.
pub fn domain(config: &Config) -> Info {
    let identity = Identity::new("server", "im", "Carillon");
    Info {
        identities: vec![identity],
        features: features(config, |spec| spec.domain_features),
        forms: Vec::new(),
    }
}

/// What an account says of itself.
pub fn account(config: &Config) -> Info {
    let identity = Identity::new("account", "registered", "");
    Info {
        identities: vec![identity],
        features: features(config, |spec| spec.account_features),
        forms: Vec::new(),
    }
}

/// The capabilities of the server's domains, for `<c/>` in stream features (XEP-0115 §6.3): node
/// and verification string.
pub fn caps(config: &Config) -> (String, String) {
    (caps_node(config), domain(config).verification())
}

/// In order and each once, so that the same list says the same on every node.
fn features(config: &Config, of: impl Fn(&Spec) -> &'static [&'static str]) -> Vec<String> {
    let active = config.modules.all().iter().filter(|module| module.is_active(config));
    let all = active.flat_map(|module| of(&module.spec()).iter().copied());
    let mut all: Vec<String> = all.map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    all
}
