//! Whether the words of a command are those it takes: looked at before anything is asked of the service.

use crate::args::switches::Words;
use crate::failure::{Failure, Outcome};
use crate::text;
use crate::validate::is_hex;

/// Checks the number of words, and those whose form is known. `waits`: it is a `join` or `wait` that waits; `by_file`: the join
/// token, which names its network, is in a file.
///
/// # Errors
/// Exit code 2, with what is wrong in the first line.
pub(super) fn check(program: &str, words: &Words, waits: bool, by_file: bool) -> Outcome {
    let command = words.command();
    let given = &words.0[words.0.len().min(1)..];
    let wrong = |what: String| {
        Err(Failure::usage(format!("{program}: {command}: {what}")).hint(super::see_help(program, command)))
    };
    let (least, most, wanted) = match command {
        "info" | "status" | "firewall" | "doctor" | "peers" | "listpeers" | "listnetworks" | "listmoons"
        | "listbonds" | "dump" => (0, 0, "takes no arguments"),
        "join" => (usize::from(!by_file), 1, "takes one network, by its 16-digit ID, or one join token"),
        "wait" | "leave" => (1, 1, "takes one network, by its ID or name"),
        "get" => (2, 2, "takes a network and a property, such as: get 37f2b7c94f000001 ip4"),
        "set" => (
            2,
            usize::MAX,
            "takes a network and what to change, such as: set 37f2b7c94f000001 allowDefault=1",
        ),
        "orbit" => (2, 2, "takes a moon's ID and the address of one of its roots"),
        "deorbit" => (1, 1, "takes a moon's ID"),
        _ if command.starts_with('/') => (0, 0, "a path is all that stands there"),
        _ => return Ok(()),
    };
    if given.len() < least {
        return wrong(wanted.to_owned());
    }
    if let Some(extra) = given.get(most) {
        let extra = text::printable(extra);
        if waits && extra.bytes().all(|digit| digit.is_ascii_digit()) {
            let switch = if command == "join" { "--wait" } else { "--timeout" };
            return wrong(format!("{extra} stands alone; write {switch}={extra}"));
        }
        return wrong(format!("{wanted}; {extra:?} is too many"));
    }
    match command {
        "join" => given.first().map_or(Ok(()), |word| network_or_token(program, word)),
        "set" => super::set::body(program, words).map(drop),
        "orbit" if !moon(&given[0]) => wrong(format!("{:?} is no moon's ID (10 or 16 digits)", given[0])),
        "orbit" if !is_hex(&given[1], 10) => {
            wrong(format!("{:?} is no address of a root (10 hexadecimal digits)", given[1]))
        }
        "deorbit" if !moon(&given[0]) => wrong(format!("{:?} is no moon's ID (10 or 16 digits)", given[0])),
        _ => Ok(()),
    }
}

/// What `join` takes. A name is none of it: a node knows a network's name only once it has joined.
fn network_or_token(program: &str, typed: &str) -> Outcome {
    if is_hex(typed, 16) || typed.starts_with(protocol::join_token::PREFIX) {
        return Ok(());
    }
    let why = if is_hex(typed, 10) {
        "10 digits are the address of a node; a network's ID is that of its controller and six digits more"
            .to_owned()
    } else {
        "a network's ID is 16 hexadecimal digits, such as 37f2b7c94f000001; its owner sees it with `ztnode-cli network list`"
            .to_owned()
    };
    Err(Failure::usage(format!("{program}: join: {:?}: {why}", text::printable(typed))))
}

fn moon(id: &str) -> bool {
    (is_hex(id, 10) || is_hex(id, 16)) && id.bytes().any(|digit| digit != b'0')
}

/// A word that is no command.
pub(super) fn unknown(program: &str, command: &str) -> Failure {
    let shown = text::printable(command);
    let line = format!("{program}: unknown command {shown:?}");
    match text::help::close_to(command).as_slice() {
        [] => Failure::usage(line).hint(format!("See `{program} help`.")),
        close => {
            let close: Vec<_> = close.iter().map(|name| format!("`{name}`")).collect();
            Failure::usage(format!("{line}; did you mean {}?", close.join(" or ")))
        }
    }
}
