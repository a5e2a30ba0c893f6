//! The golden programs: exact JSON or exact error.
//!
//! Folder `rules` in the repository's vectors, or in the folder `ZTNODE_VECTORS`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use flowrules::language::{Options, compile};

/// What the reference prints where it failed in its own way; what is printed instead is our own affair.
const OWN_WAY: &str = "Unexpected exception";

struct Vector {
    name: String,
    source: String,
    /// The printed JSON or the printed error.
    expected: Result<String, String>,
}

fn vectors() -> Vec<Vector> {
    let folder: PathBuf = std::env::var_os("ZTNODE_VECTORS")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors").into(), PathBuf::from)
        .join("rules");
    let mut programs: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ztrules"))
        .collect();
    programs.sort();
    let read = |path: &Path| {
        String::from_utf8_lossy(
            &std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        )
        .into_owned()
    };
    let vector = |path: PathBuf| {
        let output = path.with_extension("json");
        let error = path.with_extension("error.txt");
        assert!(output.exists() != error.exists(), "{}: neither output nor error, or both", path.display());
        Vector {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            source: read(&path),
            expected: if output.exists() { Ok(read(&output)) } else { Err(read(&error)) },
        }
    };
    let vectors: Vec<Vector> = programs.into_iter().map(vector).collect();
    assert!(!vectors.is_empty(), "no vectors in {}", folder.display());
    vectors
}

#[test]
fn vectors_in_strict_mode() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        match (compile(&vector.source, &Options { strict: true }), &vector.expected) {
            (Ok(program), Ok(expected)) => {
                assert!(program.leniencies.is_empty(), "{}", vector.name);
                if program.to_json().trim_end() != expected.trim_end() {
                    wrong.push(format!("{}: other output", vector.name));
                }
            }
            (Err(error), Err(expected)) => {
                let rendered = error.render(&vector.name, &vector.source);
                let line = rendered.lines().next().unwrap();
                if line != expected.trim_end() && !expected.contains(OWN_WAY) {
                    wrong.push(format!("{}: {line}\n   expected {}", vector.name, expected.trim_end()));
                }
                if error.hint.is_none() {
                    wrong.push(format!("{}: no hint", vector.name));
                }
            }
            (Ok(_), Err(expected)) => wrong.push(format!("{}: accepted, expected {expected}", vector.name)),
            (Err(error), Ok(_)) => wrong.push(format!("{}: {error}", vector.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn vectors_in_the_default_mode() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        match (compile(&vector.source, &Options::default()), &vector.expected) {
            (Ok(program), Ok(expected)) => {
                assert!(program.leniencies.is_empty(), "{}", vector.name);
                if program.to_json().trim_end() != expected.trim_end() {
                    wrong.push(format!("{}: other output", vector.name));
                }
            }
            (Err(error), Err(expected)) => {
                let rendered = error.render(&vector.name, &vector.source);
                let line = rendered.lines().next().unwrap();
                if line != expected.trim_end() && !expected.contains(OWN_WAY) {
                    wrong.push(format!("{}: {line}\n   expected {}", vector.name, expected.trim_end()));
                }
            }
            (Ok(program), Err(_)) => {
                if program.leniencies.is_empty() {
                    wrong.push(format!("{}: accepted without saying what was lenient", vector.name));
                }
            }
            (Err(error), Ok(_)) => wrong.push(format!("{}: {error}", vector.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn vector_entries_have_places() {
    for vector in vectors() {
        let Ok(program) = compile(&vector.source, &Options::default()) else { continue };
        let sections = program.capabilities.iter().map(|capability| &capability.section);
        for section in sections.chain([&program.base]) {
            assert_eq!(section.rules.len(), section.places.len());
            assert_eq!(section.rules.len(), section.json.len());
            for (rule, place) in section.rules.iter().zip(&section.places) {
                let text = flowrules::language::statement_text(&vector.source, place);
                assert!(!text.is_empty(), "{}: {place:?}", vector.name);
                if rule.kind.is_action() {
                    let action = rule.kind.name().to_lowercase();
                    let word = text.split([' ', ';']).next().unwrap().to_lowercase();
                    assert_eq!(action, format!("action_{word}"), "{}: {text}", vector.name);
                }
            }
        }
    }
}
