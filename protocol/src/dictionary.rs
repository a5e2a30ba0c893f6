//! The key/value text format of configurations and metadata.
