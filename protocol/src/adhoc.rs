//! Configurations of networks without a controller.
