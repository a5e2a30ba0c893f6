//! What people want done, and what they wrote into files meanwhile.

use protocol::NetworkId;
use protocol::world::World;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Daemon;
use super::planet::Plan;
use crate::service::engine::Stopped;
use crate::service::local_conf::LocalConf;
use crate::service::network_settings::SettingsChange;
use crate::service::planets::NotTaken;
use crate::service::shared::{NotSet, Order};

impl Daemon {
    pub(super) async fn obey(&mut self, order: Order) -> Result<(), Stopped> {
        match order {
            Order::Join { network, changes, token, reply } => {
                let joined = self.join(network, changes, token).await?;
                let _ = reply.send(joined);
            }
            Order::Leave { network, reply } => {
                let left = self.leave(network).await?;
                let _ = reply.send(left);
            }
            Order::Planet { planet, reply } => {
                let taken = self.take_planet(planet).await?;
                let _ = reply.send(taken);
            }
            Order::Settings { changes, reply } => {
                let result = self.change_settings(&changes).await?;
                let _ = reply.send(result);
            }
        }
        Ok(())
    }

    async fn join(
        &mut self,
        network: NetworkId,
        changes: SettingsChange,
        token: Option<Zeroizing<String>>,
    ) -> Result<Result<bool, NotSet>, Stopped> {
        // First of all, what has to be kept.
        let prepared = match self.networks.prepare(network, changes, token.as_ref()) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        if prepared.changed {
            self.host.ports.settings_changed(network).await;
        }
        let joined =
            self.shared.engine.call(move |core, now| core.join_with(now, network, None, token)).await?;
        if !joined {
            self.networks.take_back(network, &prepared);
            return Ok(Ok(false));
        }
        self.settle().await?;
        if prepared.fresh {
            tracing::info!(%network, "joined");
        }
        self.host.try_way_again().await;
        self.host.ports.sync(network).await;
        Ok(Ok(true))
    }

    async fn leave(&mut self, network: NetworkId) -> Result<Result<bool, String>, Stopped> {
        if let Err(error) = self.networks.unmark(network) {
            return Ok(Err(error));
        }
        let left = self.shared.engine.call(move |core, _| core.leave(network)).await?;
        self.settle().await?;
        if left {
            tracing::info!(%network, "left");
        }
        Ok(Ok(left))
    }

    async fn take_planet(&mut self, planet: World) -> Result<Result<(), NotTaken>, Stopped> {
        match self.planet.plan(&planet).await? {
            Plan::InForce => Ok(Ok(())),
            Plan::Refuse(kept) => Ok(Err(NotTaken::Kept(kept))),
            Plan::Take => {
                // What the core has had to say so far, a new version of the planet in force perhaps, comes first.
                self.settle().await?;
                self.planet.take(planet).await
            }
        }
    }

    async fn change_settings(&mut self, changes: &Map<String, Value>) -> Result<Result<(), NotSet>, Stopped> {
        match self.settings.merge(changes) {
            Ok(conf) => self.use_settings(conf).await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Reads the settings file again; a bad one changes nothing.
    pub(super) async fn reload(&mut self) -> Result<(), Stopped> {
        if let Some(conf) = self.settings.read_again() {
            self.use_settings(conf).await?;
            self.notices.name_settings();
        }
        Ok(())
    }

    async fn use_settings(&mut self, conf: LocalConf) -> Result<(), Stopped> {
        self.settings.put_in_force(conf)?;
        if let Some(api) = &mut self.api {
            api.follow_settings().await;
        }
        self.host.rebind().await
    }

    /// Reads the networks' settings again: all, or those whose file is another one than last time.
    pub(super) async fn reload_networks(&mut self, all: bool) {
        for network in self.networks.read_again(all) {
            self.host.ports.settings_changed(network).await;
        }
    }
}
