//! From `argv` to what is wanted. Two grammars live side by side: the reference tool's (switches glued to their
//! letter, in [`switches`]) and the grouped commands of this project (in [`modern`], with one file for what each group
//! takes). Nothing here knows how a command is carried out.

pub mod capture;
pub mod container;
pub mod controller;
pub mod identity;
pub mod join;
pub mod member;
pub mod migrate;
pub mod modern;
pub mod network;
pub mod rules;
pub mod switches;
pub mod token;
pub mod user_data;
pub mod wait;
pub mod world;

/// Which tool the program was called as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// `ztnode-cli`, or any other name: results on standard output, complaints on standard error, an exit code for each.
    Own,
    /// `zerotier-cli`, and `zerotier-one -q`: the streams and exit codes that scripts know from there.
    Reference,
    /// `zerotier-idtool`.
    IdTool,
}

impl Personality {
    /// Decides by the last component of the program's name, as symlinks give it.
    pub fn of(program: &str) -> Self {
        let name = program.rsplit('/').next().unwrap_or(program);
        if name.contains("zerotier-idtool") {
            Self::IdTool
        } else if name.contains("zerotier") {
            Self::Reference
        } else {
            Self::Own
        }
    }
}

/// Where the daemon is and how to show what it says: the switches every command understands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Common {
    /// `-j`, `--json`.
    pub json: bool,
    /// `-D`, `--home`; `None` = the default home.
    pub home: Option<String>,
    /// `-p`, `--port`.
    pub port: Option<u16>,
    /// `-T`, `--token` (after `join` that is a join token).
    pub token: Option<String>,
    /// `-H`, `--host`: an IP literal.
    pub host: Option<String>,
}

impl Common {
    /// The home directory these switches name.
    pub fn home(&self) -> std::path::PathBuf {
        self.home.as_ref().map_or_else(crate::home::default_home, std::path::PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_the_personality() {
        assert_eq!(Personality::of("/usr/sbin/zerotier-idtool"), Personality::IdTool);
        assert_eq!(Personality::of("zerotier-cli"), Personality::Reference);
        assert_eq!(Personality::of("/usr/sbin/zerotier-one"), Personality::Reference);
        assert_eq!(Personality::of("/opt/zerotier-idtool/ztnode-cli"), Personality::Own);
    }
}
