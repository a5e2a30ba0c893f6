//! `identity …`, and how an identity is read and a new one stored.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use protocol::identity::{Identity, SIGNATURE_LEN, SecretIdentity};
use serde_json::json;
use zeroize::Zeroizing;

use super::node::print_json;
use crate::args::Common;
use crate::args::identity::{IdentityCommand, Outputs};
use crate::failure::{Failure, Io, Outcome};
use crate::home::write_atomic;
use crate::validate::is_hex;

/// Longest identity or signature file worth reading, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// From this length on an argument with a colon in the right place is an identity, not a path.
const MIN_LITERAL: usize = 33;

/// An identity somebody gave us, perhaps with its secret.
pub struct Loaded {
    /// The public part.
    pub identity: Identity,
    /// The whole, if the secret was there.
    pub secret: Option<SecretIdentity>,
}

/// Reads an identity argument: the text itself, or the name of a file that holds it. `None` if it is neither.
pub fn load(argument: &str) -> Option<Loaded> {
    if argument.len() >= MIN_LITERAL && argument.as_bytes().get(10) == Some(&b':') {
        return parse(argument);
    }
    parse(&read_text(Path::new(argument)).ok()?)
}

fn parse(text: &str) -> Option<Loaded> {
    let text = text.trim();
    let secret = SecretIdentity::parse(text).ok();
    let identity = secret
        .as_ref()
        .map_or_else(|| Identity::parse(text).ok(), |secret| Some(secret.identity().clone()))?;
    Some(Loaded { identity, secret })
}

/// A small text file; its content may be secret.
pub(super) fn read_text(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// The bytes of a signature argument, hexadecimal digits or a file of them, checked against a message.
pub fn signature_valid(identity: &Identity, message: &[u8], argument: &str) -> bool {
    let good = |text: &str| {
        let text = text.trim();
        is_hex(text, SIGNATURE_LEN * 2) && unhex(text).is_some_and(|bytes| identity.verify(message, &bytes))
    };
    good(argument) || read_text(Path::new(argument)).is_ok_and(|text| good(&text))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inverse of [`hex`], either case; `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !is_hex(text, text.len()) || !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Runs one of the identity commands. None of them needs a running node.
///
/// # Errors
/// Exit code 2 for an argument that is no identity or prefix, 1 for a check that failed or a file that cannot be
/// read or written.
pub fn run(common: &Common, command: IdentityCommand, io: &mut Io<'_>) -> Outcome {
    match command {
        IdentityCommand::New { outputs } => {
            check_outputs(&outputs)?;
            store(common, &SecretIdentity::generate(), &outputs, io)
        }
        IdentityCommand::Vanity { prefix, outputs } => {
            check_outputs(&outputs)?;
            store(common, &vanity(&prefix, io)?, &outputs, io)
        }
        IdentityCommand::Validate { identity } => {
            let loaded = require(&identity)?;
            let consistent = loaded.secret.as_ref().is_none_or(SecretIdentity::is_consistent);
            let address = loaded.identity.address;
            if !loaded.identity.locally_valid() {
                return Err(Failure::error(format!(
                    "ztnode-cli: the address {address} does not belong to this key"
                )));
            }
            if !consistent {
                return Err(Failure::error(format!(
                    "ztnode-cli: {address}: the secret key is not that of the public key"
                )));
            }
            if common.json {
                return print_json(&json!({"address": address.to_string(), "valid": true}), io);
            }
            Ok(writeln!(io.out, "{address} is a valid identity")?)
        }
        IdentityCommand::Public { identity } => {
            let public = require(&identity)?.identity;
            if common.json {
                let object = json!({"address": public.address.to_string(), "public": public.to_string()});
                return print_json(&object, io);
            }
            Ok(writeln!(io.out, "{public}")?)
        }
        IdentityCommand::Sign { identity, file } => {
            let Some(secret) = require(&identity)?.secret else {
                return Err(Failure::usage(
                    "ztnode-cli: signing needs the secret identity, and this is only the public one",
                ));
            };
            let signature = hex(&secret.sign(&read_message(&file)?));
            if common.json {
                return print_json(&json!({"signature": signature}), io);
            }
            Ok(writeln!(io.out, "{signature}")?)
        }
        IdentityCommand::Verify { identity, file, signature } => {
            let public = require(&identity)?.identity;
            if !signature_valid(&public, &read_message(&file)?, &signature) {
                return Err(Failure::error(format!(
                    "ztnode-cli: {}: this is not the signature of {}",
                    file.display(),
                    public.address
                )));
            }
            if common.json {
                return print_json(&json!({"address": public.address.to_string(), "valid": true}), io);
            }
            Ok(writeln!(io.out, "{}: signature of {} is valid", file.display(), public.address)?)
        }
    }
}

/// An identity argument, or the explanation why it is none.
pub(super) fn require(argument: &str) -> Result<Loaded, Failure> {
    load(argument).ok_or_else(|| {
        // An argument may be a mistyped secret, which has no place in a terminal's history of errors.
        let shown: String = crate::text::printable(argument).chars().take(80).collect();
        Failure::usage(format!(
            "ztnode-cli: neither an identity nor a readable file that holds one: {shown}; an identity begins with \
             ADDRESS:0:"
        ))
    })
}

fn read_message(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file)
        .map_err(|error| Failure::error(format!("ztnode-cli: cannot read {}: {error}", file.display())))
}

fn vanity(prefix: &str, io: &mut Io<'_>) -> Result<SecretIdentity, Failure> {
    let number = u64::from_str_radix(prefix, 16).ok();
    let digits = prefix.len();
    let (Some(number), 1..=10, true) = (number, digits, is_hex(prefix, digits)) else {
        return Err(Failure::usage(format!(
            "ztnode-cli: the prefix must be 1 to 10 hexadecimal digits, not {prefix}"
        )));
    };
    if prefix.to_ascii_lowercase().starts_with("ff") || number == 0 && digits == 10 {
        return Err(Failure::usage(format!(
            "ztnode-cli: no address begins with {prefix}: that range is reserved"
        )));
    }
    let shift = 40 - 4 * digits;
    let wanted = protocol::Address::from_u64(number << shift);
    // At most 40, so it fits.
    let bits = u8::try_from(4 * digits).unwrap_or(40);
    let expected = 1_u128 << bits;
    writeln!(io.err, "looking for an address that begins with {prefix}: about {expected} tries")?;
    let progress = |tried: u64| {
        if tried.is_multiple_of(64) {
            // Progress is a courtesy: nobody misses a line that cannot be written.
            let _ = writeln!(io.err, "tried {tried}");
        }
        true
    };
    SecretIdentity::generate_vanity(wanted, bits, progress)
        .ok_or_else(|| Failure::error("ztnode-cli: the search was stopped"))
}

fn check_outputs(outputs: &Outputs) -> Outcome {
    for path in [&outputs.out_secret, &outputs.out_public].into_iter().flatten() {
        if path.exists() && !outputs.force {
            return Err(Failure::usage(format!(
                "ztnode-cli: {} exists; name another file, or overwrite it with --force",
                path.display()
            )));
        }
    }
    Ok(())
}

fn store(common: &Common, identity: &SecretIdentity, outputs: &Outputs, io: &mut Io<'_>) -> Outcome {
    let address = identity.address().to_string();
    let (secret, public) = (identity.to_secret_string(), identity.identity().to_string());
    for (path, text, mode) in
        [(&outputs.out_secret, secret.as_str(), 0o600), (&outputs.out_public, public.as_str(), 0o644)]
    {
        if let Some(path) = path {
            write_atomic(path, text.as_bytes(), mode).map_err(|error| {
                Failure::error(format!("ztnode-cli: cannot write {}: {error}", path.display()))
            })?;
        }
    }
    let stored = outputs.out_secret.is_some();
    if common.json {
        let object = match stored {
            true => json!({"address": address, "public": public}),
            false => json!({"address": address, "public": public, "secret": secret.as_str()}),
        };
        return print_json(&object, io);
    }
    if !stored {
        return Ok(writeln!(io.out, "{}", secret.as_str())?);
    }
    writeln!(io.out, "{address}")?;
    for path in [&outputs.out_secret, &outputs.out_public].into_iter().flatten() {
        writeln!(io.err, "written: {}", path.display())?;
    }
    Ok(())
}
