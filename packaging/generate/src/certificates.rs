//! Whose certificates for web servers programs in the image accept, which has no distribution that would say it: those whom Mozilla
//! trusts.

use std::fs;
use std::io;
use std::path::Path;

use pem::{EncodeConfig, LineEnding, Pem};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// Writes `ca-certificates.crt` into `folder`.
///
/// # Errors
/// Of the file system.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let pems: Vec<_> =
        TLS_SERVER_ROOT_CERTS.iter().map(|der| Pem::new("CERTIFICATE", der.as_ref())).collect();
    let text = pem::encode_many_config(&pems, EncodeConfig::new().set_line_ending(LineEnding::LF));
    fs::write(folder.join("ca-certificates.crt"), text)
}
