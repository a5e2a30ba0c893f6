//! What `token create --cloud-init` takes.

use std::path::PathBuf;

use clap::Args;

/// The switches of `token create` that make user-data of the token.
#[derive(Args, Debug)]
pub struct UserData {
    /// Write user-data for cloud-init instead of printing the token: a Debian or Ubuntu that boots with it installs ztnode
    /// and joins
    #[arg(long, requires = "repository", requires = "key")]
    pub cloud_init: bool,
    /// Where the packages are: the URL of what `make repo` made; with --cloud-init
    #[arg(long, value_name = "URL", requires = "cloud_init", value_parser = repository)]
    pub repository: Option<String>,
    /// File with the public keys of the repository: ztnode-archive-keyring.asc in it; with --cloud-init
    #[arg(long, value_name = "FILE", requires = "cloud_init")]
    pub key: Option<PathBuf>,
    /// Where the user-data goes, readable by you alone; default: cloud-init-TOKEN-ID.yaml
    #[arg(long, value_name = "FILE", requires = "cloud_init", conflicts_with = "print")]
    pub out: Option<PathBuf>,
    /// Print the user-data instead of writing a file
    #[arg(long, requires = "cloud_init")]
    pub print: bool,
}

/// A URL that can stand in a line of apt's sources as it is; without the slash at its end.
fn repository(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/._~%@+-".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return Err(
            "a URL is wanted that begins with https:// or http:// and has no blanks, quotes or ?".into()
        );
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_repositories() {
        for (text, url) in [
            ("https://packages.example.org/ztnode/", "https://packages.example.org/ztnode"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(repository(text), Ok(url.to_owned()));
        }
        for bad in ["", "https://", "ftp://a", "a", "https://a b", "https://a\"", "https://a]", "https://a?b"]
        {
            assert!(repository(bad).is_err(), "{bad}");
        }
    }
}
