//! TLS of a node: certificates of its domains, the key of its tickets.

use std::sync::Arc;

use edge::tls::{CertificateFiles, Certificates, TicketKey, Ticketer, Tls};
use tracing::info;

use crate::certificates::prepare;
use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;
use crate::secrets::Secrets;

/// Reads the certificates, making those that are nobody's, and the secrets.
///
/// # Errors
/// A sentence with the file that cannot be used.
pub(super) fn open(config: &Config, home: &Home) -> Result<Arc<Tls>, Failure> {
    let secrets = Secrets::open(&home.secrets()).map_err(Failure::new)?;
    let certificates = prepare(config, home).map_err(Failure::new)?;
    let files = certificates.into_iter().map(|it| {
        if it.generated {
            let certificate = it.files.certificate.display();
            info!(domain = %it.domain, %certificate, "a self-signed certificate is used");
        }
        CertificateFiles { names: vec![it.domain], chain: it.files.certificate, key: it.files.key }
    });
    let certificates = Certificates::load(files.collect())
        .map_err(|why| Failure::configuration(why.to_string()))?;
    let mut key = [0; 32];
    key.copy_from_slice(secrets.tickets.expose());
    let tickets = Arc::new(Ticketer::new(TicketKey::new(key)));
    Tls::new(Arc::new(certificates), tickets)
        .map(Arc::new)
        .map_err(|why| Failure::new(format!("TLS cannot start: {why}")))
}
