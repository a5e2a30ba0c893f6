//! What this machine has of ours: TAPs, sockets, and the way that our own packets take while the machine's default route is in the
//! hands of a joined network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Address, Time};
use tokio::time::sleep_until;

use super::mending::Mending;
use crate::core::path::SocketId;
use crate::os::netlink::{Netlink, Noticed};
use crate::service::binder::Binder;
use crate::service::bypass::Bypass;
use crate::service::engine::Stopped;
use crate::service::ports::Ports;
use crate::service::shared::Shared;
use crate::service::trial::{Step, Trial};

/// Something that [`Host::handle`] sees to.
pub(super) enum News {
    /// The kernel's picture of this machine changed.
    Machine(Noticed),
    /// Something of a network's port is to be tried again.
    Retry,
    /// The rules that lead our own packets past a default route may be gone.
    Rules,
    /// A default route is due for a look.
    Way,
    /// Sockets are due for mending.
    Sockets,
}

/// The machine's side of the node.
pub(super) struct Host {
    shared: Arc<Shared>,
    netlink: Option<Netlink>,
    /// The networks' ports.
    pub(super) ports: Ports,
    binder: Binder,
    bypass: Bypass,
    trial: Trial,
    mending: Mending,
    /// When the roots were asked last on account of a default route, of the node's clock.
    asked: Option<Time>,
    /// What the trial's times count from.
    begun: Instant,
}

impl Host {
    pub(super) fn new(shared: Arc<Shared>, netlink: Option<Netlink>, own: Address) -> Self {
        Host {
            ports: Ports::new(shared.clone(), netlink.clone(), own),
            binder: Binder::new(netlink.clone()),
            bypass: Bypass::new(netlink.clone()),
            trial: Trial::default(),
            mending: Mending::default(),
            asked: None,
            begun: Instant::now(),
            netlink,
            shared,
        }
    }

    /// Takes away what an earlier run left, and binds.
    pub(super) async fn take_up(&mut self) -> Result<(), Stopped> {
        self.bypass.clear().await;
        self.rebind().await
    }

    /// Takes away what leads our own packets: until the end they need it.
    pub(super) async fn stop(&mut self) {
        self.bypass.clear().await;
    }

    /// Waits for something to do.
    pub(super) async fn news(&mut self) -> News {
        let (port, way) = (self.ports.due(), self.way_due());
        tokio::select! {
            noticed = next_change(self.netlink.as_ref()) => News::Machine(noticed),
            () = until(port) => News::Retry,
            () = self.bypass.changed() => News::Rules,
            () = until(way) => News::Way,
            () = until(self.mending.due()) => News::Sockets,
        }
    }

    /// Does it.
    pub(super) async fn handle(&mut self, news: News) -> Result<(), Stopped> {
        match news {
            News::Machine(noticed) => {
                // A subnet that came or went decides which managed routes are refused, and what we set may be gone.
                self.ports.noticed(noticed).await;
                if noticed.links { self.refresh().await } else { Ok(()) }
            }
            News::Retry => {
                self.ports.sync_due().await;
                Ok(())
            }
            News::Rules => {
                self.bypass.doubt();
                Ok(())
            }
            News::Way => self.look_at_way().await,
            News::Sockets => self.mend_sockets().await,
        }
    }

    /// Looks after everything, whether something was noticed or not.
    pub(super) async fn make_sure(&mut self) -> Result<(), Stopped> {
        self.bypass.doubt();
        self.ports.sync_all().await;
        self.refresh().await
    }

    /// Binds what there is to bind.
    pub(super) async fn rebind(&mut self) -> Result<(), Stopped> {
        self.binder.refresh(&self.shared, self.ports.indices()).await
    }

    /// Binds a second socket beside one that sends into nothing.
    pub(super) async fn bind_beside(&mut self, local: SocketAddr) -> Result<(), Stopped> {
        if self.binder.spare(&self.shared, local) { self.rebind().await } else { Ok(()) }
    }

    /// A socket is of no use any more.
    pub(super) fn socket_broke(&mut self, id: SocketId) {
        self.mending.broke(id);
    }

    async fn mend_sockets(&mut self) -> Result<(), Stopped> {
        match self.mending.take(tokio::time::Instant::now()) {
            Some(broken) => {
                self.binder.close_broken(&self.shared, &broken).await?;
                self.rebind().await
            }
            None => Ok(()),
        }
    }

    /// The same, and looks which groups the machine listens to.
    async fn refresh(&mut self) -> Result<(), Stopped> {
        self.rebind().await?;
        self.ports.scan_all_groups();
        Ok(())
    }

    /// A root answers, or none does any more.
    pub(super) async fn set_online(&mut self, online: bool) -> Result<(), Stopped> {
        let step = self.trial.set_online(self.begun.elapsed(), online);
        self.take(step).await?;
        self.ports.set_online(self.trial.allows()).await;
        Ok(())
    }

    /// Sees to it that what belongs to a default route is there as long as it is.
    pub(super) async fn keep_way(&mut self) -> Result<(), Stopped> {
        loop {
            let defaults = self.ports.default_routes();
            self.bypass.keep(defaults, self.binder.ways(), self.ports.indices()).await;
            let step = self.trial.set_present(self.begun.elapsed(), defaults != [false; 2]);
            if step == Step::Wait {
                return Ok(());
            }
            self.take(step).await?;
        }
    }

    /// When [`Self::look_at_way`] or [`Self::keep_way`] has something to do.
    fn way_due(&self) -> Option<tokio::time::Instant> {
        let trial = self.trial.due().map(|due| tokio::time::Instant::from_std(self.begun) + due);
        trial.into_iter().chain(self.bypass.due()).min()
    }

    /// Looks whether a default route has cost us the roots.
    async fn look_at_way(&mut self) -> Result<(), Stopped> {
        let asked = self.asked;
        let heard = self.shared.engine.call(move |core, _| core.heard_root_since(asked)).await?;
        let step = self.trial.look(self.begun.elapsed(), heard);
        self.take(step).await
    }

    /// The user said something, or the machine has other links: pauses end.
    pub(super) async fn try_way_again(&mut self) {
        self.trial.begin_anew();
        self.ports.set_online(self.trial.allows()).await;
    }

    async fn take(&mut self, step: Step) -> Result<(), Stopped> {
        match step {
            Step::Wait => {}
            Step::Ask => {
                let asked = self.shared.engine.call(|core, now| {
                    core.greet_roots(now);
                    now
                });
                self.asked = Some(asked.await?);
            }
            Step::Withdraw(pause) => {
                let problem =
                    self.bypass.problem().map(|problem| format!(" ({problem})")).unwrap_or_default();
                tracing::warn!(
                    "no root answers since a joined network has the default route: it is taken away, and tried again in {}{problem}",
                    spoken(pause)
                );
                self.ports.set_online(false).await;
            }
            Step::Retry => self.ports.set_online(self.trial.allows()).await,
        }
        Ok(())
    }
}

async fn next_change(netlink: Option<&Netlink>) -> Noticed {
    match netlink {
        Some(netlink) => netlink.changed().await,
        None => std::future::pending().await,
    }
}

/// Until then; for ever without a time.
pub(super) async fn until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

fn spoken(pause: Duration) -> String {
    match pause.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
