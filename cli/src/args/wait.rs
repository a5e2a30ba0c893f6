//! What `join NETWORK --wait[=SECONDS]` (or `--wait SECONDS`, `--timeout SECONDS`) and `wait NETWORK [--timeout SECONDS]` take beside the reference tool's grammar.

use std::time::Duration;

/// How long is waited when nobody says.
const DEFAULT: u64 = 60;
/// The longest time that can be asked for, in seconds: a day.
const LONGEST: u64 = 86_400;

/// Takes the switches about waiting out of the arguments of `command`, which is `join` or `wait`. Gives the arguments that are
/// left for [`super::switches::parse`], and how long is to be waited; `None` for a `join` that does not wait.
///
/// # Errors
/// What is wrong with such a switch.
pub fn take(command: &str, arguments: &[String]) -> Result<(Vec<String>, Option<Duration>), String> {
    let waits = command == "wait";
    let mut seconds = waits.then_some(DEFAULT);
    let mut left = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let (name, joined) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        match name {
            "--wait" if !waits => {
                // A network's ID is longer than any number of seconds, so there is no doubt which of them comes next.
                let next = joined.or_else(|| rest.next_if(|next| is_short_number(next)).map(String::as_str));
                seconds = Some(next.map_or(Ok(DEFAULT), |text| number(name, text))?);
            }
            "--timeout" => {
                let value = joined.or_else(|| rest.next().map(String::as_str));
                seconds = Some(number(name, value.unwrap_or_default())?);
            }
            _ => left.push(argument.clone()),
        }
    }
    Ok((left, seconds.map(Duration::from_secs)))
}

fn is_short_number(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) if seconds <= LONGEST => Ok(seconds),
        _ => Err(format!("{name} takes a whole number of seconds from 0 to {LONGEST}, such as 60")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(line: &str) -> Result<(String, Option<u64>), String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (left, limit) = take(&words[0], &words)?;
        Ok((left.join(" "), limit.map(|limit| limit.as_secs())))
    }

    #[test]
    fn the_switches_of_each_command() {
        let left = |text: &str, seconds| Ok((text.to_owned(), seconds));
        assert_eq!(taken("join N"), left("join N", None));
        assert_eq!(taken("join --wait N -j"), left("join N -j", Some(60)));
        assert_eq!(taken("join N --wait=300"), left("join N", Some(300)));
        assert_eq!(taken("join N --wait 300 -j"), left("join N -j", Some(300)));
        assert_eq!(taken("join --wait 1122334455667788"), left("join 1122334455667788", Some(60)));
        assert_eq!(taken("join N --timeout 5"), left("join N", Some(5)));
        assert_eq!(taken("wait N"), left("wait N", Some(60)));
        assert_eq!(taken("wait --timeout 5 N"), left("wait N", Some(5)));
        assert_eq!(taken("wait N --timeout=0 -j"), left("wait N -j", Some(0)));
        for bad in [
            "join N --wait=",
            "join N --wait=x",
            "join N --wait 99999",
            "wait N --timeout",
            "wait N --timeout 86401",
            "wait N --timeout=-1",
        ] {
            assert!(taken(bad).is_err(), "{bad}");
        }
    }
}
