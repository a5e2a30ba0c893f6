//! The listeners of the control API and of the metrics, as the settings say.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::service::home::{SOCKET_FILE, StartError};
use crate::service::http::Server;
use crate::service::shared::Shared;

/// What answers people, tools and scrapers.
pub(super) struct Api {
    shared: Arc<Shared>,
    server: Server,
}

impl Api {
    /// Opens the control API, and tells tools where it is.
    pub(super) async fn open(shared: Arc<Shared>, primary: u16) -> Result<Self, StartError> {
        let mut server = Server::new(shared.clone(), primary);
        let exposed = !shared.state().conf.typed.settings.allow_management_from.is_empty();
        server.listen_tcp(exposed).await.map_err(|e| {
            let remedy = "stop the program that uses it, or choose another port with -p or primaryPort";
            StartError::new(
                format!("the control API cannot listen ({e})"),
                format!("TCP port {primary}"),
                remedy,
            )
        })?;
        let socket = shared.home.path(SOCKET_FILE);
        if let Err(error) = server.listen_unix(socket.clone()) {
            // The path may be too long for a socket address; TCP with the token still works.
            tracing::info!(path = %socket.display(), %error, "no Unix socket for the control API; tools use TCP and the token");
        }
        shared.home.write_pid()?;
        shared.home.write_port(primary)?;
        let mut api = Api { shared, server };
        api.listen_for_scrapers();
        Ok(api)
    }

    /// The settings are other ones.
    pub(super) async fn follow_settings(&mut self) {
        let exposed = !self.shared.state().conf.typed.settings.allow_management_from.is_empty();
        if let Err(error) = self.server.listen_tcp(exposed).await {
            tracing::warn!(%error, "the control API cannot listen on TCP; the Unix socket still works");
        }
        self.listen_for_scrapers();
    }

    /// Opens the scrapers' own doors.
    fn listen_for_scrapers(&mut self) {
        let wanted: Vec<SocketAddr> = {
            let state = self.shared.state();
            state.conf.typed.settings.metrics_listen.iter().map(|endpoint| endpoint.0.0).collect()
        };
        for (endpoint, error) in self.server.listen_metrics(&wanted) {
            tracing::warn!(%endpoint, %error, "metricsListen: cannot listen there; name an address of this machine and a port that is free");
        }
    }
}
