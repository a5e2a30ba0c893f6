//! A peer with a key and bad intentions, in front of one core.
//!
//! [`play`] turns a string of octets into a play: a small internet on which honest nodes ([`scene`]) go about their business
//! with the node under attack, while hostile ones ([`cast`]) seal whatever the octets say ([`step`], [`body`]) and send it there,
//! from any endpoint, own or forged, in any order, again and again. After every step the promises of SECURITY.md are checked,
//! and what was broken comes back as [`Violation`]s. The same octets always give the same play, so a property test, a fuzzer
//! and a reproduced bug are one thing.
//!
//! Everything goes through the edge of the core: datagrams, frames, commands and time in; datagrams, frames and events out.
//! Nothing here knows how the core is made inside.

pub mod body;
pub mod cast;
pub mod choices;
pub mod ledger;
pub mod live;
pub mod promise;
pub mod scene;
pub mod step;
pub mod tape;

pub use promise::{PROMISES, Promise, Violation};
pub use scene::{ROLES, Role, Scene};

use choices::Choices;

/// Steps of one play at most.
pub const MAX_STEPS: usize = 200;

/// Plays what the octets say against a core in this role, to its end or until one of these promises is broken; gives what was
/// broken of them.
pub fn play(role: Role, octets: &[u8], promises: &[Promise]) -> Vec<Violation> {
    play_watched(role, octets, promises, |_| {})
}

/// [`play`] with a look at the scene after each step, which may note what it finds broken.
pub fn play_watched(
    role: Role,
    octets: &[u8],
    promises: &[Promise],
    mut look: impl FnMut(&mut Scene),
) -> Vec<Violation> {
    let mut choices = Choices::new(octets);
    let mut scene = Scene::new(role);
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        step::next(&mut scene, &mut choices);
        look(&mut scene);
        scene.violations.retain(|violation| promises.contains(&violation.promise));
        if !scene.violations.is_empty() {
            return scene.violations;
        }
    }
    scene.finish();
    look(&mut scene);
    scene.violations.retain(|violation| promises.contains(&violation.promise));
    scene.violations
}
