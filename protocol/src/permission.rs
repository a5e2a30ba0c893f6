//! What a user lets a network do to the own machine, as text: one reading for the control API, the tool and the file
//! `networks.d/<network>.local.conf`. Specification: local service, `networks.d/<nwid>.local.conf`.
//!
//! Nothing is guessed: a word that is not understood is an error, for it might have been meant to close a door.

use core::fmt;

use crate::Prefix;

/// At most this many prefixes limit what is managed.
pub const MAX_PREFIXES: usize = 128;

/// The names of all permissions.
pub const NAMES: [&str; 4] = ["allowManaged", "allowGlobal", "allowDefault", "allowDNS"];

/// Which managed addresses and routes may be used at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Managed {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// Those inside one of these prefixes; at least one, at most [`MAX_PREFIXES`].
    Within(Vec<Prefix>),
}

/// One permission with its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Permission {
    /// `allowManaged`: managed addresses and routes.
    Managed(Managed),
    /// `allowGlobal`: addresses and routes in global address space.
    Global(bool),
    /// `allowDefault`: default routes.
    Default(bool),
    /// `allowDNS`: DNS settings.
    Dns(bool),
}

/// Why a text is no permission, for people.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct NoPermission(String);

impl Permission {
    /// Reads the value of the permission called `name`.
    ///
    /// # Errors
    /// [`NoPermission`]: what is wrong, and what may stand there.
    pub fn parse(name: &str, value: &str) -> Result<Self, NoPermission> {
        let value = value.trim();
        let wrong = || {
            NoPermission(format!(
                "{name}={}: write 1 or 0 (true, false, yes, no, on, off)",
                value.escape_debug()
            ))
        };
        match name {
            "allowManaged" => match truth(value) {
                Some(true) => Ok(Self::Managed(Managed::Everything)),
                Some(false) => Ok(Self::Managed(Managed::Nothing)),
                None => prefixes(value).map(|list| Self::Managed(Managed::Within(list))),
            },
            "allowGlobal" => truth(value).map(Self::Global).ok_or_else(wrong),
            "allowDefault" => truth(value).map(Self::Default).ok_or_else(wrong),
            "allowDNS" => truth(value).map(Self::Dns).ok_or_else(wrong),
            _ => Err(NoPermission(format!(
                "{} is no permission; there are {}",
                name.escape_debug(),
                NAMES.join(", ")
            ))),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Managed(_) => NAMES[0],
            Self::Global(_) => NAMES[1],
            Self::Default(_) => NAMES[2],
            Self::Dns(_) => NAMES[3],
        }
    }
}

impl fmt::Display for Permission {
    /// `name=value`, as the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Managed(managed) => write!(f, "{}={managed}", self.name()),
            Self::Global(yes) | Self::Default(yes) | Self::Dns(yes) => {
                write!(f, "{}={}", self.name(), u8::from(*yes))
            }
        }
    }
}

impl fmt::Display for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("0"),
            Self::Everything => f.write_str("1"),
            Self::Within(list) => {
                for (at, prefix) in list.iter().enumerate() {
                    write!(f, "{}{prefix}", if at == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

/// A truth value, in any case of letters.
fn truth(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match () {
        () if is(["1", "true", "yes", "on"]) => Some(true),
        () if is(["0", "false", "no", "off"]) => Some(false),
        () => None,
    }
}

/// `ip/bits`, separated by commas.
fn prefixes(text: &str) -> Result<Vec<Prefix>, NoPermission> {
    let mut list = Vec::new();
    for entry in text.split(',').map(str::trim) {
        let Ok(prefix) = entry.parse() else {
            return Err(NoPermission(format!(
                "allowManaged: {} is neither a truth value (1, 0, true, false, yes, no, on, off) nor a list of prefixes \
                 such as 10.0.0.0/8,fd00::/8",
                if entry.is_empty() { "an empty entry".to_owned() } else { entry.escape_debug().to_string() }
            )));
        };
        if !list.contains(&prefix) {
            list.push(prefix);
        }
        if list.len() > MAX_PREFIXES {
            return Err(NoPermission(format!(
                "allowManaged: more than {MAX_PREFIXES} prefixes; name wider ones"
            )));
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn truth_values_and_nothing_else() {
        for (text, yes) in [
            ("1", true),
            ("true", true),
            ("TRUE", true),
            ("yes", true),
            ("On", true),
            (" 1 ", true),
            ("0", false),
            ("false", false),
            ("no", false),
            ("off", false),
        ] {
            assert_eq!(Permission::parse("allowGlobal", text), Ok(Permission::Global(yes)), "{text}");
            assert_eq!(Permission::parse("allowDNS", text), Ok(Permission::Dns(yes)), "{text}");
        }
        for text in ["", "2", "-1", "t", "truely", "1 1", "10.0.0.0/8", "null", "yes\n"] {
            let found = Permission::parse("allowDefault", text);
            if text.trim() == "yes" {
                assert!(found.is_ok());
                continue;
            }
            let said = found.unwrap_err().to_string();
            assert!(said.starts_with("allowDefault=") && said.contains("yes, no"), "{text}: {said}");
            assert!(!said.contains('\n'));
        }
        let said = Permission::parse("allowGlobl", "1").unwrap_err().to_string();
        assert!(said.starts_with("allowGlobl is no permission") && said.contains("allowGlobal"), "{said}");
    }

    #[test]
    fn lists_of_prefixes_for_managed_alone() {
        let parse = |text: &str| Permission::parse("allowManaged", text);
        let list: Vec<Prefix> = ["10.0.0.0/8", "fd00::/8"].map(|p| p.parse().unwrap()).into();
        assert_eq!(parse("10.0.0.0/8, fd00::/8,10.0.0.0/8"), Ok(Permission::Managed(Managed::Within(list))));
        assert_eq!(parse("no"), Ok(Permission::Managed(Managed::Nothing)));
        assert_eq!(parse("on"), Ok(Permission::Managed(Managed::Everything)));
        for bad in ["", "rubbish", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/8,", "10.0.0.0/8,1", "1,10.0.0.0/8"] {
            let said = parse(bad).unwrap_err().to_string();
            assert!(said.contains("list of prefixes"), "{bad}: {said}");
        }
        let many: Vec<String> = (0..=MAX_PREFIXES).map(|n| format!("10.{n}.0.0/16")).collect();
        assert!(parse(&many.join(",")).unwrap_err().to_string().contains("more than 128"));
        assert!(parse(&many[1..].join(",")).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_in_one_line(name in "[a-zA-Z]{0,14}", value in ".{0,200}") {
            for name in [name.as_str(), "allowManaged", "allowDNS"] {
                match Permission::parse(name, &value) {
                    Ok(read) => {
                        let text = read.to_string();
                        let (name, value) = text.split_once('=').unwrap();
                        prop_assert_eq!(Permission::parse(name, value), Ok(read));
                    }
                    Err(error) => prop_assert!(!error.to_string().contains(['\n', '\r'])),
                }
            }
        }
    }
}
