//! Names and addresses derived from network IDs and member addresses.
