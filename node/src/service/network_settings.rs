//! What the user lets a network do to this machine, and the file that says so.
//!
//! Specification: local service, `networks.d/<id>.local.conf`. People edit that file: it is read again before it is written,
//! and what we do not know in it stays.

use std::fmt::Write as _;

use protocol::inet::{Prefix, Scope, scope};
use protocol::permission::{Managed, NAMES, Permission};
use serde_json::Value;

/// What the user lets a network do to this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetworkSettings {
    /// Managed addresses and routes at all.
    pub managed: Managed,
    /// Addresses and routes in global address space.
    pub allow_global: bool,
    /// Default routes.
    pub allow_default: bool,
    /// DNS settings.
    pub allow_dns: bool,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        NetworkSettings {
            managed: Managed::Everything,
            allow_global: false,
            allow_default: false,
            allow_dns: false,
        }
    }
}

/// A file as it was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// The settings. Whatever could not be understood is not allowed.
    pub settings: NetworkSettings,
    /// Lines that cannot be understood: number and reason.
    pub wrong: Vec<(usize, String)>,
    /// Lines with a key that nobody knows.
    pub unknown: Vec<(usize, String)>,
}

impl NetworkSettings {
    /// Reads the file's text: lines `key=value`; empty ones, and those that begin with `#`, are skipped.
    pub fn read(text: &str) -> Found {
        let mut found = Found::default();
        for (number, line) in lines(text) {
            let Some((key, value)) = line.split_once('=') else {
                found.wrong.push((number, format!("{}: NAME=VALUE is expected", shown(line))));
                continue;
            };
            let key = key.trim();
            if !NAMES.contains(&key) {
                found.unknown.push((number, shown(key)));
                continue;
            }
            match Permission::parse(key, value) {
                Ok(permission) => found.settings.set(permission),
                Err(error) => {
                    // It may have been meant to close a door.
                    if let Ok(closed) = Permission::parse(key, "0") {
                        found.settings.set(closed);
                    }
                    found.wrong.push((number, error.to_string()));
                }
            }
        }
        found
    }

    /// Takes over one permission.
    pub fn set(&mut self, permission: Permission) {
        match permission {
            Permission::Managed(managed) => self.managed = managed,
            Permission::Global(yes) => self.allow_global = yes,
            Permission::Default(yes) => self.allow_default = yes,
            Permission::Dns(yes) => self.allow_dns = yes,
        }
    }

    fn all(&self) -> [Permission; 4] {
        [
            Permission::Managed(self.managed.clone()),
            Permission::Global(self.allow_global),
            Permission::Default(self.allow_default),
            Permission::Dns(self.allow_dns),
        ]
    }

    /// The file's text, made from what is there: lines of another kind stay where they are.
    pub fn write_into(&self, text: &str) -> String {
        let mut left: Vec<Permission> = self.all().into();
        let mut written = String::new();
        for line in text.lines() {
            let key = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| NAMES.contains(key));
            let Some(key) = key else {
                written.push_str(line);
                written.push('\n');
                continue;
            };
            // A second line of the same key goes.
            if let Some(at) = left.iter().position(|permission| permission.name() == key) {
                // A string takes whatever is written to it.
                let _ = writeln!(written, "{}", left.remove(at));
            }
        }
        for permission in left {
            let _ = writeln!(written, "{permission}");
        }
        written
    }

    /// Whether a managed address or route target may be applied.
    pub fn allows(&self, target: Prefix) -> bool {
        match &self.managed {
            Managed::Nothing => return false,
            Managed::Everything => {}
            Managed::Within(list) => {
                if !list.iter().any(|w| w.contains(target.ip) && w.bits <= target.bits) {
                    return false;
                }
            }
        }
        if target.is_default_route() {
            return self.allow_default;
        }
        match scope(target.ip) {
            Scope::None | Scope::Multicast | Scope::Loopback | Scope::LinkLocal => false,
            Scope::Global => self.allow_global,
            Scope::PseudoPrivate | Scope::Shared | Scope::Private => true,
        }
    }
}

impl Found {
    /// What is wrong, in one line; `None` if nothing is.
    pub fn complaint(&self) -> Option<String> {
        let lines: Vec<String> =
            self.wrong.iter().map(|(number, what)| format!("line {number}: {what}")).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

/// Lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // A text editor's mark at the beginning says nothing.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = text.split('\n').zip(1..).map(|(line, number)| (number, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect::<String>().escape_debug().to_string()
}

/// Permissions to be changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SettingsChange(Vec<Permission>);

impl SettingsChange {
    /// Reads the permissions in a request's JSON object: truth values, numbers and words as in the file; for `allowManaged`
    /// a list of prefixes, too. Other keys are somebody else's, and `null` says nothing.
    ///
    /// # Errors
    /// What is wrong with which of them, and what is expected.
    pub fn from_json(body: &Value) -> Result<Self, String> {
        let mut changes = Vec::new();
        for name in NAMES {
            let text = match body.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(list)) if name == NAMES[0] && list.iter().all(Value::is_string) => {
                    list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
                }
                Some(other) => other.to_string(),
            };
            changes.push(Permission::parse(name, &text).map_err(|error| error.to_string())?);
        }
        Ok(SettingsChange(changes))
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the changes.
    pub fn apply(self, settings: &mut NetworkSettings) {
        for permission in self.0 {
            settings.set(permission);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn settings(text: &str) -> NetworkSettings {
        NetworkSettings::read(text).settings
    }

    #[test]
    fn what_is_allowed() {
        let plain = settings("");
        assert!(plain.allows(prefix("10.0.0.1/8")) && plain.allows(prefix("fd00::1/88")));
        assert!(plain.allows(prefix("25.1.2.3/8")) && plain.allows(prefix("100.64.0.1/10")));
        for refused in
            ["127.0.0.1/8", "224.0.0.1/4", "169.254.1.1/16", "0.0.0.0/0", "::/0", "1.1.1.1/32", "fe80::1/64"]
        {
            assert!(!plain.allows(prefix(refused)), "{refused}");
        }
        assert!(settings("allowGlobal=yes").allows(prefix("1.1.1.1/32")));
        assert!(settings("allowDefault=true").allows(prefix("::/0")));
        assert!(!settings("allowManaged=0\nallowGlobal=1").allows(prefix("10.0.0.1/8")));
        let listed = settings("allowManaged=10.0.0.0/8,fd00::/8");
        assert!(listed.allows(prefix("10.5.0.0/16")) && listed.allows(prefix("fd00::1/88")));
        assert!(!listed.allows(prefix("192.168.0.1/24")) && !listed.allows(prefix("10.0.0.0/7")));
    }

    #[test]
    fn what_cannot_be_understood_is_closed_and_named() {
        let found = NetworkSettings::read(
            "\u{feff}# mine\r\nallowManaged=rubbish\r\nallowGlobal=1\nallowGlobal=perhaps\n\nhello\nallowGlobl=1\n",
        );
        assert!(!found.settings.allows(prefix("10.0.0.1/8")) && !found.settings.allow_global);
        let numbers: Vec<usize> = found.wrong.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [2, 4, 6]);
        assert_eq!(found.unknown, [(7, "allowGlobl".to_owned())]);
        let said = found.complaint().unwrap();
        assert!(
            said.starts_with("line 2: allowManaged") && said.contains("line 4: allowGlobal=perhaps"),
            "{said}"
        );
        assert_eq!(NetworkSettings::read("").complaint(), None);
    }

    #[test]
    fn writing_keeps_what_others_wrote() {
        let old = "# for the branch office\nallowGlobal=1\ncolour=green\nallowGlobal=0\n";
        let mut now = settings(old);
        assert!(!now.allow_global);
        now.set(Permission::parse("allowManaged", "10.0.0.0/8").unwrap());
        assert_eq!(
            now.write_into(old),
            "# for the branch office\nallowGlobal=0\ncolour=green\nallowManaged=10.0.0.0/8\nallowDefault=0\nallowDNS=0\n"
        );
        assert_eq!(
            NetworkSettings::default().write_into(""),
            "allowManaged=1\nallowGlobal=0\nallowDefault=0\nallowDNS=0\n"
        );
    }

    #[test]
    fn requests_say_it_in_many_ways_or_not_at_all() {
        let change = |body: Value| {
            SettingsChange::from_json(&body).map(|change| {
                let mut settings = NetworkSettings::default();
                change.apply(&mut settings);
                settings.all().map(|permission| permission.to_string()).join(" ")
            })
        };
        let plain = "allowManaged=1 allowGlobal=0 allowDefault=0 allowDNS=0";
        assert_eq!(change(json!({"allowGlobal": null, "token": 7})), Ok(plain.into()));
        assert_eq!(change(json!([1])), Ok(plain.into()));
        for yes in [json!(true), json!(1), json!("yes"), json!("On")] {
            assert_eq!(change(json!({"allowGlobal": yes})), Ok(plain.replace("Global=0", "Global=1")));
        }
        for list in [json!("10.0.0.0/8,fd00::/8"), json!(["10.0.0.0/8", "fd00::/8"])] {
            let expected = plain.replace("Managed=1", "Managed=10.0.0.0/8,fd00::/8");
            assert_eq!(change(json!({"allowManaged": list})), Ok(expected));
        }
        for wrong in [json!("perhaps"), json!(2), json!({}), json!([]), json!(["10.0.0.0/8"]), json!(1.5)] {
            let said = change(json!({"allowDefault": wrong})).unwrap_err();
            assert!(said.starts_with("allowDefault"), "{said}");
        }
        assert!(change(json!({"allowManaged": [1]})).is_err());
        assert!(change(json!({"allowManaged": []})).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,300}") {
            let found = NetworkSettings::read(&text);
            let again = NetworkSettings::read(&found.settings.write_into(&text));
            prop_assert_eq!(again.settings, found.settings);
        }

        #[test]
        fn text_round_trips(managed in 0..3, allow_global: bool, allow_default: bool, allow_dns: bool) {
            let managed = match managed {
                0 => Managed::Nothing,
                1 => Managed::Everything,
                _ => Managed::Within(vec![prefix("10.0.0.0/8"), prefix("fd00::/8")]),
            };
            let settings = NetworkSettings { managed, allow_global, allow_default, allow_dns };
            prop_assert_eq!(NetworkSettings::read(&settings.write_into("")).settings, settings);
        }
    }
}
