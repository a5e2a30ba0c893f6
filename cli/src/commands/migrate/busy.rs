//! Whether a daemon uses a home, and keeping others from starting there meanwhile.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

use hyper::Method;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::files::read_bounded;
use crate::args::Common;
use crate::transport::Client;

/// How long the control API may take to show that somebody is there.
const PATIENCE: Duration = Duration::from_secs(3);

/// Takes a home for this process: no ztnode starts there until the returned lock is dropped.
///
/// # Errors
/// Who uses it.
pub(super) fn claim(home: &Path) -> Result<Option<File>, String> {
    // ztnode locks the directory; zerotier-one only notes its process and its port.
    let lock = match File::open(home).map(|folder| (folder.try_lock(), folder)) {
        Ok((Ok(()), folder)) => Some(folder),
        Ok((Err(TryLockError::WouldBlock), _)) => return Err("a ztnode".to_owned()),
        // Some network file systems cannot lock.
        Ok((Err(TryLockError::Error(_)), _)) | Err(_) => None,
    };
    match noted_process(home).or_else(|| answering(home)) {
        Some(who) => Err(who),
        None => Ok(lock),
    }
}

/// The process in the pid file, if it lives and is a node.
fn noted_process(home: &Path) -> Option<String> {
    let text = read_bounded(&home.join("zerotier-one.pid"), 64).ok()??;
    let pid: i32 = std::str::from_utf8(&text.bytes).ok()?.trim().parse().ok().filter(|pid| *pid > 0)?;
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => {
            let name = name.trim_end();
            let node = name.starts_with("zerotier") || name == "ztnode";
            node.then(|| format!("a {} (process {pid})", crate::text::printable(name)))
        }
        // Processes of others may be hidden.
        Err(_) => match kill(Pid::from_raw(pid), None) {
            Ok(()) | Err(Errno::EPERM) => Some(format!("process {pid}")),
            Err(_) => None,
        },
    }
}

/// Whether somebody answers on the home's socket or port and knows the home's token. It may live in a container whose
/// processes have other numbers.
fn answering(home: &Path) -> Option<String> {
    read_bounded(&home.join("authtoken.secret"), 4096).ok()??;
    let common = Common { home: Some(home.to_str()?.to_owned()), ..Common::default() };
    let client = Client::find("ztnode-cli", &common).ok()?.with_timeout(PATIENCE);
    let reply = client.request(Method::GET, "/status", None).ok()?;
    (reply.status == 200).then(|| "the service that answers on its port".to_owned())
}
