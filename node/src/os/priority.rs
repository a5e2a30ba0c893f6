//! Going before others: the priority of threads that move packets.
//!
//! Specification: nice(2), getrlimit(2) (`RLIMIT_NICE`). On Linux a thread has a nice value of its own.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};

/// Steps before an ordinary process. Those who use the network wait for these threads, whatever priority they have themselves;
/// the kernel's own network code goes before every process.
const STEPS: i32 = 10;

/// Lets threads of this process go before others even after it has given up root's privileges. To be called as root.
///
/// # Errors
/// Not permitted, as in many containers.
pub fn permit() -> io::Result<()> {
    // The limit counts from 20 = nice 0 upwards.
    let ceiling = (20 + STEPS) as u64;
    Ok(setrlimit(Resource::RLIMIT_NICE, ceiling, ceiling)?)
}

/// Makes the calling thread go ten steps of nice before the others of this process.
///
/// # Errors
/// Neither privileged (CAP_SYS_NICE) nor permitted by `RLIMIT_NICE`.
pub fn go_before_others() -> io::Result<()> {
    Errno::clear();
    // SAFETY: nice(2) takes and returns a number.
    #[allow(unsafe_code)]
    let value = unsafe { libc::nice(-STEPS) };
    // −1 is a nice value as well.
    match Errno::last_raw() {
        0 => Ok(()),
        _ if value != -1 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_goes_before_others() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // Field 19; the second, the name in parentheses, may hold spaces.
            let rest = stat.rsplit_once(')').unwrap().1;
            rest.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let here = nice();
        let there =
            std::thread::spawn(move || (go_before_others().map_err(|e| e.kind()), nice())).join().unwrap();
        match there.0 {
            Ok(()) => assert_eq!(there.1, (here - STEPS).max(-20)),
            Err(kind) => {
                assert_eq!(kind, io::ErrorKind::PermissionDenied);
                assert_eq!(there.1, here);
            }
        }
        assert_eq!(nice(), here);
    }
}
