//! Signals that reach the daemon, and what they ask for.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::home::StartError;

/// What signals ask for.
pub(super) enum Wish {
    /// To end, by the signal of this name.
    Stop(&'static str),
    /// To read the settings again.
    Reload,
}

/// The signals of this process.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
    /// Received and dropped: their default would end the process.
    _ignored: Vec<Signal>,
}

impl Signals {
    /// Takes the signals over.
    pub(super) fn install() -> Result<Self, StartError> {
        let install = |kind| {
            signal(kind).map_err(|e| {
                StartError::new(format!("signals cannot be handled ({e})"), "this process", "report this")
            })
        };
        let ignored =
            [SignalKind::pipe(), SignalKind::io(), SignalKind::user_defined1(), SignalKind::user_defined2()];
        Ok(Signals {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
            quit: install(SignalKind::quit())?,
            hangup: install(SignalKind::hangup())?,
            _ignored: ignored.into_iter().map(install).collect::<Result<_, _>>()?,
        })
    }

    /// Waits for one.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop("INT"),
            _ = self.terminate.recv() => Wish::Stop("TERM"),
            _ = self.quit.recv() => Wish::Stop("QUIT"),
            _ = self.hangup.recv() => Wish::Reload,
        }
    }
}
