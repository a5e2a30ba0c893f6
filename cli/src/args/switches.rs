//! The reference tool's grammar: `[switches] <command or /path> [arg1] [arg2]`, values glued to their letter, in any
//! order (Specification: command-line tools, switches); long forms with a separate or `=`-joined value besides.

use super::Common;

/// What a command line of this grammar asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Help on standard output; the words seen so far say on which command.
    Help(Words),
    /// A switch is not right.
    Wrong {
        /// What is wrong with it.
        complaint: String,
        /// Exit code of the reference tool, which prints its help then.
        code: u8,
        /// The words seen so far.
        words: Words,
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
pub fn first_word(arguments: &[String], reference: bool) -> Option<&str> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if takes_separate_value(argument, reference) {
            rest.next();
        } else if !argument.starts_with('-') && !argument.is_empty() {
            return Some(argument);
        }
    }
    None
}

/// Whether the value of this switch is the next argument. In the reference tool's grammar the value of a letter is glued to it.
pub fn takes_separate_value(argument: &str, reference: bool) -> bool {
    matches!(argument, "--home" | "--port" | "--token" | "--token-file" | "--host" | "--timeout")
        || !reference && matches!(argument, "-D" | "-p" | "-T" | "-H")
}

/// The long switches.
const LONG: [&str; 6] = ["--json", "--version", "--help", "--home", "--port", "--host"];
/// Those of single commands, and the one that means something else there.
const OF_COMMANDS: [&str; 5] = ["--token", "--token-file", "--keep-planet", "--wait", "--timeout"];

/// Reads the switches from left to right; the first one that settles the matter (help, version, a mistake) does.
/// `reference`: exactly as the reference tool does it, where that has such a switch.
pub fn parse(arguments: &[String], reference: bool) -> Wanted {
    let mut common = Common::default();
    let mut words = Words::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(switch) = argument.strip_prefix('-') else {
            if !argument.is_empty() {
                words.0.push(argument.clone());
            }
            continue;
        };
        let wrong = |code, complaint| Wanted::Wrong { complaint, code, words: words.clone() };
        let name_and_value = if let Some(long) = switch.strip_prefix('-') {
            let (name, joined) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            match name {
                "json" if joined.is_none() => {
                    common.json = true;
                    continue;
                }
                "version" if joined.is_none() => return Wanted::Version,
                "help" => return Wanted::Help(words),
                "home" | "port" | "token" | "host" => (name, joined.or_else(|| rest.next().cloned())),
                _ => return wrong(0, unknown(argument, words.command())),
            }
        } else {
            let mut letters = switch.chars();
            let letter = letters.next();
            let glued = letters.as_str();
            match letter {
                Some('q' | 'j' | 'v') if !glued.is_empty() => {
                    let complaint = format!("unknown switch {argument}: switches are given one by one");
                    return wrong(1, complaint);
                }
                Some('q') => continue,
                Some('j') => {
                    common.json = true;
                    continue;
                }
                Some('v') => return Wanted::Version,
                Some('h' | '?') => return Wanted::Help(words),
                Some(letter @ ('p' | 'D' | 'H' | 'T')) => {
                    let name = match letter {
                        'p' => "port",
                        'D' => "home",
                        'H' => "host",
                        _ => "token",
                    };
                    let value = (!glued.is_empty()).then(|| glued.to_owned());
                    (name, if reference { value } else { value.or_else(|| rest.next().cloned()) })
                }
                _ => return wrong(0, unknown(argument, words.command())),
            }
        };
        let (name, value) = name_and_value;
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            let example = example(name);
            let glued = if reference && !argument.starts_with("--") {
                format!("{argument} needs its value glued to it, or write {example}")
            } else {
                format!("{argument} needs a value, as in {example}")
            };
            return wrong(1, glued);
        };
        if let Err(complaint) = set(&mut common, name, value) {
            return wrong(1, complaint);
        }
    }
    Wanted::Run(common, words)
}

/// What is said of a switch that does not exist, or not for this command.
fn unknown(switch: &str, command: &str) -> String {
    let name = switch.split('=').next().unwrap_or(switch);
    match (name, command) {
        ("--wait" | "--timeout" | "--token" | "--token-file" | "--keep-planet", command)
            if !command.is_empty() =>
        {
            format!("{command} knows no switch {name}")
        }
        _ => match flowrules::closest(name, LONG.into_iter().chain(OF_COMMANDS)) {
            Some(close) => format!("unknown switch {switch}: did you mean {close}?"),
            None => format!("unknown switch {switch}"),
        },
    }
}

fn example(name: &str) -> &'static str {
    match name {
        "home" => "--home /var/lib/ztnode",
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
        match parse(&words(line), true) {
            Wanted::Run(common, words) => (common, words),
            other => panic!("{line}: {other:?}"),
        }
    }

    /// The reference tool's exit code where it prints its help.
    fn help_code(line: &str) -> u8 {
        match parse(&words(line), true) {
            Wanted::Help(_) => 0,
            Wanted::Wrong { code, .. } => code,
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
        assert_eq!(parse(&words("-v -jx"), true), Wanted::Version, "the first that settles it");
        assert_eq!(help_code("-jx -v"), 1);
    }

    #[test]
    fn the_first_word_skips_switches_and_their_values() {
        assert_eq!(first_word(&words("--home network -j member list"), true), Some("member"));
        assert_eq!(first_word(&words("-p1 --home=x"), true), None);
        assert_eq!(first_word(&words("-D network member list"), true), Some("network"));
        assert_eq!(first_word(&words("-D network member list"), false), Some("member"));
    }

    #[test]
    fn our_grammar_takes_values_that_are_not_glued() {
        let Wanted::Run(common, left) = parse(&words("-D /home/x info -p 9993 -T t -H ::1 -Dy"), false)
        else {
            panic!()
        };
        assert_eq!((common.home.as_deref(), common.port, left.command()), (Some("y"), Some(9993), "info"));
        assert_eq!((common.token.as_deref(), common.host.as_deref()), (Some("t"), Some("::1")));
        let complaint = |line: &str| match parse(&words(line), false) {
            Wanted::Wrong { complaint, .. } => complaint,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(complaint("info -D"), "-D needs a value, as in --home /var/lib/ztnode");
        assert_eq!(complaint("info --jsno"), "unknown switch --jsno: did you mean --json?");
        assert_eq!(complaint("join N --tokn x"), "unknown switch --tokn: did you mean --token?");
        assert_eq!(complaint("leave N --wait=5"), "leave knows no switch --wait");
    }
}
