//! What a stream's transport allows to be said.

use crate::{Config, TlsInfo};

/// The channel binding types, best first, by their registered names.
const TLS_EXPORTER: &str = "tls-exporter";
const TLS_SERVER_END_POINT: &str = "tls-server-end-point";

/// Proof that a client may authenticate: its bytes come through TLS, or the configuration does
/// without.
#[derive(Debug)]
pub(crate) struct Secured(Option<TlsInfo>);

impl Secured {
    /// TLS is there.
    pub(crate) fn by_tls(info: TlsInfo) -> Self {
        Self(Some(info))
    }

    /// TLS is not there; nor need it be, or there is no proof.
    pub(crate) fn by_configuration(config: &Config) -> Option<Self> {
        (!config.require_tls).then_some(Self(None))
    }

    /// Whether TLS is there.
    pub(crate) fn has_tls(&self) -> bool {
        self.0.is_some()
    }

    /// The channel bindings that can be had: name and data.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let exporter = self.0.as_ref().and_then(|tls| tls.tls_exporter.as_ref());
        let end_point = self.0.as_ref().and_then(|tls| tls.server_end_point.as_ref());
        let exporter = exporter.map(|data| (TLS_EXPORTER, data.as_slice()));
        let end_point = end_point.map(|data| (TLS_SERVER_END_POINT, data.as_ref()));
        exporter.into_iter().chain(end_point)
    }
}
