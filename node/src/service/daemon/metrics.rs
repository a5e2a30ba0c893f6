//! The metrics as a file, if somebody wants one.

use std::sync::Arc;
use std::time::Duration;

use crate::service::engine::Stopped;
use crate::service::http::metrics_text;
use crate::service::shared::Shared;

/// How often the metrics are written: as zerotier-one does it.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// Writes the metrics to their file.
pub(super) struct MetricsFile {
    shared: Arc<Shared>,
    /// They could not be written the last time.
    failed: bool,
}

impl MetricsFile {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        MetricsFile { shared, failed: false }
    }

    /// Writes them, if the settings say so.
    pub(super) async fn write(&mut self) -> Result<(), Stopped> {
        if !self.shared.state().conf.typed.settings.metrics_file {
            self.failed = false;
            return Ok(());
        }
        let text = metrics_text(&self.shared).await?;
        let written = self.shared.home.write_metrics(&text);
        if let Err(error) = &written
            && !self.failed
        {
            tracing::warn!(%error, "the metrics cannot be written to their file; it is tried again");
        }
        self.failed = written.is_err();
        Ok(())
    }
}
