//! Network namespaces for tests: a thread in a network of its own.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Runs `test` on a thread that is alone in a new network namespace with loopback up. Without the permission to make one
/// it says so and returns `None`.
pub(crate) fn in_namespace<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    let thread = std::thread::spawn(|| {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: no network namespace can be made here ({error}); run the tests as root");
            return None;
        }
        ip("link set lo up");
        Some(test())
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs `ip` with these words in the namespace of this thread.
pub(crate) fn ip(words: &str) {
    let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}
