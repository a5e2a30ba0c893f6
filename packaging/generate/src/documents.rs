//! The manual as packages ship it: the same pages, with links only to what is there.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What is shipped beside the pages of `docs/`: where it lies in the repository, and in the package's folder.
const BESIDE: [(&str, &str); 6] = [
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("SECURITY.md", "SECURITY.md"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("lab/rules", "rules"),
];
/// A folder that the packages have there already.
const CLOUD_INIT: (&str, &str) = ("packaging/cloud-init", "cloud-init");

/// The repository.
pub(crate) fn repository() -> PathBuf {
    normal(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

/// Writes the manual into `folder`.
///
/// # Errors
/// Of the file system.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let repository = repository();
    fs::create_dir_all(folder.join("docs"))?;
    for entry in fs::read_dir(repository.join("docs"))? {
        let path = entry?.path();
        let name = Path::new("docs").join(path.file_name().unwrap_or_default());
        place(&repository, &name, &folder.join(&name))?;
    }
    for (from, to) in BESIDE {
        let source = repository.join(from);
        if !source.is_dir() {
            place(&repository, Path::new(from), &folder.join(to))?;
            continue;
        }
        fs::create_dir_all(folder.join(to))?;
        for entry in fs::read_dir(source)? {
            let path = entry?.path();
            fs::copy(&path, folder.join(to).join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

fn place(repository: &Path, name: &Path, to: &Path) -> io::Result<()> {
    let source = repository.join(name);
    if source.extension().is_none_or(|extension| extension != "md") {
        return fs::copy(source, to).map(drop);
    }
    let text = fs::read_to_string(source)?;
    fs::write(to, relinked(&text, |target| shipped(name, target)))
}

/// Where a link of a page leads in the package; `None` if it is not there.
fn shipped(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with('#') {
        return Some(target.to_owned());
    }
    let (file, fragment) = match target.split_once('#') {
        Some((file, fragment)) => (file, format!("#{fragment}")),
        None => (target, String::new()),
    };
    let folder = page.parent().unwrap_or(Path::new(""));
    let path = normal(&folder.join(file));
    let up = if folder.as_os_str().is_empty() { "" } else { "../" };
    let moved = BESIDE.iter().chain([&CLOUD_INIT]).find_map(|(from, to)| {
        let below = path.strip_prefix(from).ok()?;
        let slash = if below.as_os_str().is_empty() { "" } else { "/" };
        Some(format!("{up}{to}{slash}{}{fragment}", below.display()))
    });
    moved.or_else(|| path.starts_with("docs").then(|| target.to_owned()))
}

/// The page with every link led where `to` says; one that leads nowhere is text.
fn relinked(text: &str, to: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(middle) = rest.find("](") {
        let Some(length) = rest[middle + 2..].find(')') else { break };
        let target = &rest[middle + 2..middle + 2 + length];
        match (to(target), rest[..middle].rfind('[')) {
            (None, Some(open)) if !rest[open..middle].contains(']') => {
                out.push_str(&rest[..open]);
                out.push_str(&rest[open + 1..middle]);
            }
            (Some(target), _) => {
                out.push_str(&rest[..middle + 2]);
                out.push_str(&target);
                out.push(')');
            }
            (None, _) => out.push_str(&rest[..middle + 3 + length]),
        }
        rest = &rest[middle + 3 + length..];
    }
    out.push_str(rest);
    out
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Links of a page to files, as they stand there.
    fn links(text: &str) -> Vec<String> {
        let found = std::cell::RefCell::new(Vec::new());
        let mut code = false;
        for line in text.lines() {
            code ^= line.trim_start().starts_with("```");
            if !code {
                relinked(line, |target| {
                    found.borrow_mut().push(target.to_owned());
                    None
                });
            }
        }
        found.into_inner()
    }

    /// The anchors of a page's headings, as web pages of repositories make them.
    fn anchors(text: &str) -> BTreeSet<String> {
        let mut code = false;
        let mut found = BTreeSet::new();
        for line in text.lines() {
            code ^= line.starts_with("```");
            if !code && line.starts_with('#') {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
                found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
            }
        }
        found
    }

    fn pages(folder: &Path) -> Vec<PathBuf> {
        let below = fs::read_dir(folder.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let top = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        below.chain(top).filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
    }

    fn dead(folder: &Path, known: &[&str]) -> Vec<String> {
        let mut dead = Vec::new();
        for page in pages(folder) {
            let text = fs::read_to_string(&page).unwrap();
            for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
                let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
                let target =
                    if file.is_empty() { page.clone() } else { normal(&page.parent().unwrap().join(file)) };
                let shown = target.strip_prefix(folder).unwrap_or(&target).display().to_string();
                let there = target.exists() || known.contains(&shown.as_str());
                let anchored = fragment.is_empty()
                    || target.extension().is_none_or(|extension| extension != "md")
                    || there && anchors(&fs::read_to_string(&target).unwrap()).contains(fragment);
                if !there || !anchored {
                    dead.push(format!("{}: {link}", page.display()));
                }
            }
        }
        dead
    }

    #[test]
    fn no_link_of_the_repository_is_dead() {
        assert_eq!(dead(&repository(), &[]), Vec::<String>::new());
    }

    #[test]
    fn no_link_of_the_package_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        assert!(folder.path().join("docs/joining.md").exists() && folder.path().join("SECURITY.md").exists());
        assert_eq!(dead(folder.path(), &[CLOUD_INIT.1]), Vec::<String>::new());
    }

    #[test]
    fn links_to_what_is_not_shipped_are_text() {
        let page = Path::new("docs/x.md");
        let text = "see [rules](rules.md#tags), [the lab](../lab/rules), [a file](../benches/y.json) and [home](https://x/)";
        assert_eq!(
            relinked(text, |target| shipped(page, target)),
            "see [rules](rules.md#tags), [the lab](../rules), a file and [home](https://x/)"
        );
    }
}
