//! flowrules
