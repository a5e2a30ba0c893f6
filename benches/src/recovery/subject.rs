//! What can be measured, as the command line calls it.

use anyhow::{Context, Result};

use super::fault::Fault;

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// How long a pair is without datagrams after a fault.
    Fault(Fault),
    /// Streams at a pace while all faults happen one after the other.
    Paced,
    /// Streams over lines of poor quality.
    Lossy,
}

impl Subject {
    /// The one called `name`.
    ///
    /// # Errors
    /// When none is: which there are.
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "paced" => Ok(Self::Paced),
            "lossy" => Ok(Self::Lossy),
            _ => Fault::named(name).map(Self::Fault).context("nor is it `paced` or `lossy`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_have_names() {
        assert_eq!(Subject::named("paced").unwrap(), Subject::Paced);
        assert_eq!(Subject::named("blind").unwrap(), Subject::Fault(Fault::Blind));
        let error = format!("{:#}", Subject::named("fire").unwrap_err());
        assert!(error.contains("lossy") && error.contains("blind"), "{error}");
    }
}
