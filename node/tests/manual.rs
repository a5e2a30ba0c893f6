//! What `docs/architecture.md` names is there: every function, module and file.

#![allow(clippy::unwrap_used)] // A surprise is a failed test.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust files of the product, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    for part in ["flowrules", "protocol", "controller", "node", "cli", "hostile", "lab"] {
        collect(&root().join(part).join("src"), &mut found);
    }
    found
}

/// What stands between backticks, outside of blocks.
fn quoted(page: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_type(text: &str) -> bool {
    is_name(text) && text.starts_with(|c: char| c.is_ascii_uppercase())
}

/// Whether a file defines an item of this name and, if `of` is given, mentions that type.
fn defines(text: &str, item: &str, of: Option<&str>) -> bool {
    let words = ["fn ", "struct ", "enum ", "const ", "trait ", "type "];
    let there = |name: &str| {
        words.iter().any(|word| {
            text.match_indices(&format!("{word}{name}")).any(|(at, found)| {
                !text[at + found.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
        })
    };
    let field = format!(" {item}: ");
    match of {
        None => there(item),
        Some(of) => {
            (text.contains(&format!("impl {of} ")) || text.contains(&format!("impl {of}<")) || there(of))
                && (there(item) || text.contains(&field) || text.contains(&format!("    {item}")))
        }
    }
}

/// Why a token is wrong, if it is.
fn wrong(token: &str, sources: &[(PathBuf, String)]) -> Option<String> {
    let parts: Vec<&str> = token.split("::").collect();
    if parts.len() > 1 && parts.iter().all(|part| is_name(part)) {
        if is_type(parts[0]) {
            let found = sources.iter().any(|(_, text)| defines(text, parts[1], Some(parts[0])));
            return (!found).then(|| format!("{token}: there is no {} of {}", parts[1], parts[0]));
        }
        // A module, or an item in one.
        let is_module = |parts: &[&str]| {
            let path = parts.join("/");
            sources.iter().any(|(file, _)| {
                let file = file.to_string_lossy();
                file.contains(&format!("/{path}.rs")) || file.contains(&format!("/{path}/"))
            })
        };
        // The crate is a folder above `src`.
        let crates = ["flowrules", "protocol", "controller", "node", "cli", "hostile", "lab"];
        let parts = if crates.contains(&parts[0]) { &parts[1..] } else { &parts[..] };
        let (last, before) = parts.split_last().unwrap();
        // Of another library.
        if ["std", "tokio", "libc", "nix"].contains(&parts[0]) {
            return None;
        }
        let in_module = (before.is_empty() || is_module(before))
            && sources.iter().any(|(_, text)| defines(text, last, None));
        return (!is_module(parts) && !in_module).then(|| format!("{token}: no such module or item"));
    }
    let is_path = token.contains('/') && token.ends_with(".rs") || token.starts_with("node/");
    if is_path && !token.contains(['*', '{', ' ']) {
        let there = root().join(token).exists()
            || sources.iter().any(|(file, _)| file.to_string_lossy().ends_with(&format!("/{token}")));
        return (!there).then(|| format!("{token}: no such file"));
    }
    None
}

#[test]
fn what_the_architecture_names_is_there() {
    let sources = sources();
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let tokens = quoted(&page);
    let wrong: Vec<String> = tokens.iter().filter_map(|token| wrong(token, &sources)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let named = tokens.iter().filter(|token| token.contains("::")).count();
    assert!(named > 40, "only {named} items and modules are named");
}

/// A frame's ways: at most fifteen files each, none twice, and every one of them is there.
#[test]
fn a_frame_passes_few_files_and_each_once() {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    for way in ["out", "in"] {
        let table = page.split(&format!("| {way} | file | what |")).nth(1).unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let files: Vec<&str> = rows.map(|line| line.split('|').nth(2).unwrap().trim()).collect();
        assert!((10..=15).contains(&files.len()), "{way}: {} files", files.len());
        let distinct: std::collections::BTreeSet<_> = files.iter().collect();
        assert_eq!(distinct.len(), files.len(), "{way}: a file is entered twice");
        for file in files {
            assert!(root().join(file).is_file(), "{way}: there is no {file}");
        }
    }
}

/// The list of files that hold unsafe code is that of the code; tests and the folder of vector instructions apart.
#[test]
fn the_architecture_names_every_file_with_unsafe_code() {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let from = page.find("`unsafe` is denied").unwrap();
    let paragraph = page[from..].split("\n\n").next().unwrap();
    let mut named: Vec<String> =
        quoted(paragraph).into_iter().filter(|token| token.ends_with(".rs")).collect();
    let mut holding: Vec<String> = sources()
        .into_iter()
        .filter(|(file, text)| text.contains("allow(unsafe_code)") && !file.ends_with("tests.rs"))
        .map(|(file, _)| file.canonicalize().unwrap().to_string_lossy().into_owned())
        .filter(|file| !file.contains("/crypto/x86/"))
        .map(|file| match file.split_once("/node/src/") {
            Some((_, file)) => file.to_owned(),
            None => file[root().canonicalize().unwrap().to_string_lossy().len() + 1..].to_owned(),
        })
        .collect();
    named.sort();
    holding.sort();
    assert_eq!(named, holding);
}

#[test]
fn a_wrong_name_is_found() {
    let sources = sources();
    for name in ["Core::no_such_thing", "NoSuch::thing", "service::no_such", "node/src/nothing.rs"] {
        assert!(wrong(name, &sources).is_some(), "{name}");
    }
    for name in ["Core::tick", "service::engine", "node/src/core", "FlowCache::is_uniform", "just words"] {
        assert_eq!(wrong(name, &sources), None);
    }
}
