//! The machine's default route in the hands of a joined network: that it does not cost us the roots, and that our own packets do
//! not take it.

use std::time::Duration;

use tokio::time::Instant;

use super::Daemon;
use crate::service::engine::Stopped;
use crate::service::trial::Step;

impl Daemon {
    /// A root answers, or none does any more.
    pub(super) async fn online_changed(&mut self, online: bool) -> Result<(), Stopped> {
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
    pub(super) fn way_due(&self) -> Option<Instant> {
        let trial = self.trial.due().map(|due| Instant::from_std(self.begun) + due);
        trial.into_iter().chain(self.bypass.due()).min()
    }

    /// Looks whether a default route has cost us the roots.
    pub(super) async fn look_at_way(&mut self) -> Result<(), Stopped> {
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
                self.asked = asked.await?;
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

fn spoken(pause: Duration) -> String {
    match pause.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// Until then; for ever without a time.
pub(super) async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
