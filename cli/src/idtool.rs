//! The identity tool under its old name, `zerotier-idtool` (Specification: zerotier-idtool).

use std::path::Path;

use protocol::identity::SecretIdentity;

use crate::commands::identity::{self, Loaded};
use crate::commands::world::{self, Undescribed};
use crate::failure::{Failure, Io, Outcome};
use crate::home::write_atomic;
use crate::text;
use crate::validate::is_hex;

/// Runs `zerotier-idtool <command> [args]`.
///
/// # Errors
/// Always with exit code 1.
pub fn run(program: &str, words: &[String], io: &mut Io<'_>) -> Outcome {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["generate", files @ ..] => generate(files, io),
        ["validate", identity, ..] => {
            let loaded = load(identity)?;
            if !loaded.identity.locally_valid() {
                return Err(Failure::error(format!("{identity} FAILED validation.")));
            }
            Ok(writeln!(io.out, "{identity} is a valid identity")?)
        }
        ["getpublic", identity, ..] => Ok(write!(io.out, "{}", load(identity)?.identity)?),
        ["sign", identity, file, ..] => {
            let Some(secret) = load(identity)?.secret else {
                return Err(Failure::error(format!(
                    "{identity} does not contain a private key (must use private to sign)"
                )));
            };
            Ok(write!(io.out, "{}", identity::hex(&secret.sign(&message(file)?)))?)
        }
        ["verify", identity, file, signature, ..] => {
            let public = load(identity)?.identity;
            if !identity::signature_valid(&public, &message(file)?, signature) {
                return Err(Failure::error(format!("{file} signature check FAILED")));
            }
            Ok(writeln!(io.out, "{file} signature valid")?)
        }
        ["initmoon", identity, ..] => {
            let loaded = identity::load(identity)
                .ok_or_else(|| Failure::error(format!("{identity} is not a valid identity")))?;
            let description = world::describe(&loaded.identity, &[]);
            Ok(writeln!(io.out, "{}", text::json::dump(&description))?)
        }
        ["genmoon", file, ..] => generate_moon(file, io),
        ["initmoon" | "genmoon"] => Ok(write!(io.out, "{}", help(program))?),
        _ => Err(Failure::on_stdout(help(program).trim_end())),
    }
}

fn help(program: &str) -> String {
    format!(
        "{program} {}: makes and checks identities and moons\n\n\
         Usage: {program} <command> [arguments]\n\n\
         \x20 generate [SECRET FILE [PUBLIC FILE [PREFIX]]]  make an identity; PREFIX: how its address shall begin\n\
         \x20 validate IDENTITY                              check that the address belongs to the key\n\
         \x20 getpublic IDENTITY                             print the public part\n\
         \x20 sign SECRET-IDENTITY FILE                      print the signature of a file\n\
         \x20 verify IDENTITY FILE SIGNATURE                 check it\n\
         \x20 initmoon IDENTITY                              describe a moon with this first root\n\
         \x20 genmoon DESCRIPTION                            make the signed moon of a description\n\n\
         An identity is given as text or as the name of a file that holds it.\n\n\
         Example:\n  {program} generate identity.secret identity.public\n",
        crate::VERSION
    )
}

fn load(argument: &str) -> Result<Loaded, Failure> {
    identity::load(argument)
        .ok_or_else(|| Failure::error(format!("Identity argument invalid or file unreadable: {argument}")))
}

fn message(file: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|_| Failure::error(format!("{file} is not readable")))
}

fn generate(files: &[&str], io: &mut Io<'_>) -> Outcome {
    let made = match files.get(2) {
        Some(prefix) => vanity(prefix, io)?,
        None => SecretIdentity::generate(),
    };
    let secret = made.to_secret_string();
    let Some(secret_file) = files.first() else { return Ok(write!(io.out, "{}", secret.as_str())?) };
    let public = made.identity().to_string();
    // The reference tool leaves the secret readable for everybody; nothing needs that.
    let public_file = files.get(1).map(|file| (file, public.as_str(), 0o644));
    for (file, text, mode) in std::iter::once((secret_file, secret.as_str(), 0o600)).chain(public_file) {
        write_atomic(Path::new(file), text.as_bytes(), mode)
            .map_err(|error| Failure::error(format!("Error writing to {file}")).hint(error.to_string()))?;
        writeln!(io.out, "{file} written")?;
    }
    Ok(())
}

fn vanity(prefix: &str, io: &mut Io<'_>) -> Result<SecretIdentity, Failure> {
    let digits = prefix.len();
    let wanted = u64::from_str_radix(prefix, 16).ok().filter(|_| digits <= 10 && is_hex(prefix, digits));
    let Some(wanted) = wanted else {
        return Err(Failure::error(format!("the prefix must be 1 to 10 hexadecimal digits, not {prefix}")));
    };
    if prefix.to_ascii_lowercase().starts_with("ff") || wanted == 0 && digits == 10 {
        return Err(Failure::error(format!("no address begins with {prefix}: that range is reserved")));
    }
    let bits = 4 * digits;
    loop {
        let made = SecretIdentity::generate();
        let address = made.address();
        if address.to_u64() >> (40 - bits) == wanted {
            writeln!(io.err, "vanity address: found {address} !")?;
            return Ok(made);
        }
        let target = wanted << (40 - bits);
        writeln!(io.err, "vanity address: tried {address} looking for first {bits} bits of {target:010x}")?;
    }
}

fn generate_moon(file: &str, io: &mut Io<'_>) -> Outcome {
    let text = std::fs::read_to_string(file).map_err(|_| Failure::error(format!("cannot read {file}")))?;
    let description: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| Failure::error(format!("{file} is no JSON: {error}")))?;
    let now = u64::try_from(crate::commands::now()).unwrap_or(0);
    let made = world::build(&description, now).map_err(|why| match why {
        Undescribed::Id => Failure::error(format!("ID in {file} is invalid")),
        Undescribed::Kind => Failure::error("invalid worldType"),
        Undescribed::Other(what) => Failure::error(format!("{file}: {what}")),
    })?;
    let name = format!("{:016x}.moon", made.id);
    write_atomic(Path::new(&name), &made.to_bytes(), 0o644)
        .map_err(|error| Failure::error(format!("Error writing to {name}")).hint(error.to_string()))?;
    Ok(writeln!(io.out, "wrote {name} (signed world with timestamp {now})")?)
}
