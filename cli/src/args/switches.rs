//! The reference tool's grammar: `[switches] <command or /path> [arg1] [arg2]`, values glued to their letter, in any
//! order (Specification: command-line tools, switches); long forms with a separate or `=`-joined value besides.

use super::Common;

/// What a command line of this grammar asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Help on standard output, then this exit code; `complaint` goes to standard error.
    Help {
        /// 0 when asked for, 1 when a switch was malformed.
        code: u8,
        /// What was wrong with the switch, if anything.
        complaint: Option<String>,
        /// The words seen so far: help for that command.
        words: Vec<String>,
    },
    /// The version on standard output.
    Version,
    /// A command with its arguments.
    Run(Common, Words),
}

/// The words of a command line that are no switches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Words {
    /// The command, or the empty string.
    pub fn command(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The first argument, or the empty string.
    pub fn first(&self) -> &str {
        self.0.get(1).map_or("", String::as_str)
    }

    /// The second argument, or the empty string. Further words replace it: the last one counts.
    pub fn second(&self) -> &str {
        if self.0.len() > 2 { self.0.last().map_or("", String::as_str) } else { "" }
    }
}

/// The first word that is no switch (nor the value of one), by which the grammar is chosen. Whatever is wrong with
/// the switches before it is for [`parse`] to say.
pub fn first_word(arguments: &[String]) -> Option<&str> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if takes_separate_value(argument) {
            rest.next();
        } else if !argument.starts_with('-') && !argument.is_empty() {
            return Some(argument);
        }
    }
    None
}

pub(super) fn takes_separate_value(argument: &str) -> bool {
    matches!(argument, "--home" | "--port" | "--token" | "--host" | "--timeout")
}

/// Reads the switches from left to right; the first one that settles the matter (help, version, a mistake) does.
pub fn parse(arguments: &[String]) -> Wanted {
    let mut common = Common::default();
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let help = |code, complaint: Option<String>, words: &[String]| Wanted::Help {
            code,
            complaint,
            words: words.to_vec(),
        };
        let Some(switch) = argument.strip_prefix('-') else {
            if !argument.is_empty() {
                words.push(argument.clone());
            }
            continue;
        };
        if let Some(long) = switch.strip_prefix('-') {
            let (name, joined) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            match name {
                "json" if joined.is_none() => common.json = true,
                "version" if joined.is_none() => return Wanted::Version,
                "help" => return help(0, None, &words),
                "home" | "port" | "token" | "host" => {
                    let value = joined.or_else(|| rest.next().cloned()).filter(|value| !value.is_empty());
                    let Some(value) = value else {
                        return help(
                            1,
                            Some(format!("--{name} needs a value, e.g. {}", example(name))),
                            &words,
                        );
                    };
                    if let Err(complaint) = set(&mut common, name, value) {
                        return help(1, Some(complaint), &words);
                    }
                }
                _ => return help(0, Some(format!("unknown switch {argument}")), &words),
            }
            continue;
        }
        let mut letters = switch.chars();
        let letter = letters.next();
        let value = letters.as_str();
        match letter {
            Some('q' | 'j' | 'v') if !value.is_empty() => {
                return help(
                    1,
                    Some(format!("unknown switch {argument}: switches are given one by one")),
                    &words,
                );
            }
            Some('q') => {}
            Some('j') => common.json = true,
            Some('v') => return Wanted::Version,
            Some('p' | 'D' | 'H' | 'T') => {
                let name = match letter {
                    Some('p') => "port",
                    Some('D') => "home",
                    Some('H') => "host",
                    _ => "token",
                };
                if value.is_empty() {
                    let complaint =
                        format!("{argument} needs its value glued to it, or write {}", example(name));
                    return help(1, Some(complaint), &words);
                }
                if let Err(complaint) = set(&mut common, name, value.to_owned()) {
                    return help(1, Some(complaint), &words);
                }
            }
            Some('h' | '?') => return help(0, None, &words),
            _ => return help(0, Some(format!("unknown switch {argument}")), &words),
        }
    }
    Wanted::Run(common, Words(words))
}

fn example(name: &str) -> &'static str {
    match name {
        "home" => "--home /var/lib/zerotier-one",
        "port" => "--port 9993",
        "host" => "--host 127.0.0.1",
        _ => "--token TOKEN",
    }
}

fn set(common: &mut Common, name: &str, value: String) -> Result<(), String> {
    match name {
        "home" => common.home = Some(value),
        "host" => common.host = Some(value),
        "token" => common.token = Some(value),
        _ => match value.parse() {
            Ok(port) if port != 0 => common.port = Some(port),
            _ => return Err(format!("the port must be a number from 1 to 65535, not {value}")),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn run(line: &str) -> (Common, Words) {
        match parse(&words(line)) {
            Wanted::Run(common, words) => (common, words),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn help_code(line: &str) -> u8 {
        match parse(&words(line)) {
            Wanted::Help { code, .. } => code,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn switches_and_words_come_in_any_order() {
        let (common, words) = run("get -j -p9993 abc -D/home/x status -Ttok -H::1 -q");
        assert_eq!(words.0, ["get", "abc", "status"]);
        let expected = Common {
            json: true,
            home: Some("/home/x".into()),
            port: Some(9993),
            token: Some("tok".into()),
            host: Some("::1".into()),
        };
        assert_eq!(common, expected);
        assert_eq!(
            run("--json --port=9993 --home /home/x --token tok --host ::1 get abc status"),
            (expected, words)
        );
    }

    #[test]
    fn further_words_replace_the_second_argument() {
        let (_, words) = run("get a b c");
        assert_eq!((words.command(), words.first(), words.second()), ("get", "a", "c"));
        let (_, words) = run("get a");
        assert_eq!(words.second(), "");
    }

    #[test]
    fn malformed_switches_end_in_help_with_1_and_unknown_ones_with_0() {
        for line in
            ["-jx", "-qq", "-v1", "-D", "-H", "-T", "-p", "-p0", "-p65536", "-px", "--port 0", "--home"]
        {
            assert_eq!(help_code(line), 1, "{line}");
        }
        for line in ["-h", "-?", "-x", "-", "--", "--nonsense", "--help", "info -h"] {
            assert_eq!(help_code(line), 0, "{line}");
        }
        assert_eq!(parse(&words("-v -jx")), Wanted::Version, "the first that settles it");
        assert_eq!(help_code("-jx -v"), 1);
    }

    #[test]
    fn the_first_word_skips_switches_and_their_values() {
        assert_eq!(first_word(&words("--home network -j member list")), Some("member"));
        assert_eq!(first_word(&words("-p1 --home=x")), None);
    }
}
