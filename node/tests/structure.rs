//! No object of the product grows into a room that everything has to pass, and no file into one that nobody reads to the end.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::{FnArg, Item, Type};

/// Methods of an object: its own, those of traits, and free functions that change it.
const MAX_METHODS: usize = 40;
const MAX_FIELDS: usize = 20;
/// Files with `impl` blocks of an object.
const MAX_FILES: usize = 3;
/// Lines of a file.
const MAX_LINES: usize = 650;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// What a type is made of, as far as is counted.
#[derive(Debug, Default)]
struct Object {
    /// Where it is defined.
    file: PathBuf,
    fields: usize,
    methods: BTreeSet<String>,
    impls: BTreeSet<PathBuf>,
    /// Something of it takes `&mut`.
    changes: bool,
}

impl Object {
    /// What is too much, if anything is. What never changes is a record, and has as many fields as what it describes.
    fn excess(&self) -> Option<String> {
        let (methods, files) = (self.methods.len(), self.impls.len());
        let too_much = methods > MAX_METHODS || self.changes && self.fields > MAX_FIELDS || files > MAX_FILES;
        too_much.then(|| format!("{methods} methods, {} fields, impl blocks in {files} files", self.fields))
    }
}

/// Objects by name; of one name there may be several.
#[derive(Default)]
struct Objects(BTreeMap<String, Vec<Object>>);

impl Objects {
    /// The object that a name means in a file: of several the one that is defined closest by.
    fn find(&mut self, name: &str, file: &Path) -> Option<&mut Object> {
        let common = |object: &Object| {
            object.file.components().zip(file.components()).take_while(|(a, b)| a == b).count()
        };
        self.0.get_mut(name)?.iter_mut().max_by_key(|object| common(object))
    }

    fn define(&mut self, items: &[Item], file: &Path) {
        for item in items {
            match item {
                Item::Struct(item) if !is_record(&item.attrs) && !is_test(&item.attrs) => {
                    let object =
                        Object { file: file.to_owned(), fields: item.fields.len(), ..Object::default() };
                    self.0.entry(item.ident.to_string()).or_default().push(object);
                }
                Item::Enum(item) if !is_record(&item.attrs) && !is_test(&item.attrs) => {
                    let object = Object { file: file.to_owned(), ..Object::default() };
                    self.0.entry(item.ident.to_string()).or_default().push(object);
                }
                Item::Mod(item) if !is_test(&item.attrs) => {
                    self.define(item.content.as_ref().map_or(&[], |(_, items)| items), file);
                }
                _ => {}
            }
        }
    }

    fn count(&mut self, items: &[Item], file: &Path) {
        for item in items {
            match item {
                Item::Impl(block) if !is_test(&block.attrs) => {
                    let Some(object) = name_of(&block.self_ty).and_then(|name| self.find(&name, file)) else {
                        continue;
                    };
                    object.impls.insert(file.to_owned());
                    let of = block.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
                    for inner in &block.items {
                        let syn::ImplItem::Fn(function) = inner else { continue };
                        let of = of.map(|segment| segment.ident.to_string()).unwrap_or_default();
                        object.methods.insert(format!("{of}::{}", function.sig.ident));
                        object.changes |=
                            function.sig.receiver().is_some_and(|receiver| receiver.mutability.is_some());
                    }
                }
                Item::Fn(function) if !is_test(&function.attrs) => {
                    for argument in &function.sig.inputs {
                        if let FnArg::Typed(argument) = argument
                            && let Type::Reference(reference) = &*argument.ty
                            && reference.mutability.is_some()
                            && let Some(object) =
                                name_of(&reference.elem).and_then(|name| self.find(&name, file))
                        {
                            object.methods.insert(format!("{}: {}", file.display(), function.sig.ident));
                            object.changes = true;
                        }
                    }
                }
                Item::Mod(item) if !is_test(&item.attrs) => {
                    self.count(item.content.as_ref().map_or(&[], |(_, items)| items), file);
                }
                _ => {}
            }
        }
    }
}

fn name_of(kind: &Type) -> Option<String> {
    let Type::Path(path) = kind else { return None };
    path.path.segments.last().map(|segment| segment.ident.to_string())
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes
        .iter()
        .any(|a| a.path().is_ident("cfg") && a.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test"))
}

/// Whether serde reads or writes it: such a record has as many fields as what it describes.
fn is_record(attributes: &[syn::Attribute]) -> bool {
    let mut found = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident("Serialize") || meta.path.is_ident("Deserialize");
            Ok(())
        });
    }
    found
}

fn objects(part: &str) -> Objects {
    let mut files = Vec::new();
    rust_files(&root().join(part).join("src"), &mut files);
    files.retain(|file| {
        let test = |name: &std::ffi::OsStr| name == "tests.rs" || name == "tests";
        !file.iter().any(test)
    });
    let parsed: Vec<_> = files
        .into_iter()
        .map(|file| (syn::parse_file(&std::fs::read_to_string(&file).unwrap()).unwrap(), file))
        .collect();
    let mut objects = Objects::default();
    parsed.iter().for_each(|(text, file)| objects.define(&text.items, file));
    parsed.iter().for_each(|(text, file)| objects.count(&text.items, file));
    objects
}

#[test]
fn no_object_does_everything() {
    let mut wrong = Vec::new();
    for part in ["node", "protocol", "controller"] {
        for (name, found) in objects(part).0 {
            let excess =
                |object: &Object| Some(format!("{name} ({}): {}", object.file.display(), object.excess()?));
            wrong.extend(found.iter().filter_map(excess));
        }
    }
    assert!(wrong.is_empty(), "these are too much for one object:\n{}", wrong.join("\n"));
}

#[test]
fn methods_of_all_kinds_are_counted() {
    let text = "struct Room { a: u8, b: u8 }
        impl Room { fn own(&mut self) {} }
        impl Clone for Room { fn clone(&self) -> Self { todo!() } }
        fn beside(room: &mut Room) {}
        #[cfg(test)] mod tests { fn not_this(room: &mut super::Room) {} }
        #[derive(Deserialize)] struct Record { a: u8 }";
    let parsed = syn::parse_file(text).unwrap();
    let mut objects = Objects::default();
    objects.define(&parsed.items, Path::new("a.rs"));
    objects.count(&parsed.items, Path::new("a.rs"));
    let room = &objects.0["Room"][0];
    assert_eq!((room.methods.len(), room.fields, room.impls.len(), room.changes), (3, 2, 1, true));
    assert!(!objects.0.contains_key("Record"));
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    let long: Vec<_> = files
        .iter()
        .map(|file| (std::fs::read_to_string(file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, file)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "split these by subject:\n{}", long.join("\n"));
}

#[test]
fn no_moment_is_a_number() {
    let mut wrong = Vec::new();
    for part in ["protocol", "controller", "node"] {
        let mut files = Vec::new();
        rust_files(&root().join(part).join("src"), &mut files);
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let as_numbers = ["now", "since", "until", "wall", "deadline"].map(|name| format!("{name}: i64"));
            let lines = text.lines().filter(|line| as_numbers.iter().any(|number| line.contains(number)));
            wrong.extend(lines.map(|line| format!("{}: {}", file.display(), line.trim())));
        }
    }
    assert!(wrong.is_empty(), "make these a `protocol::Time` or a `Span`:\n{}", wrong.join("\n"));
}

/// Where a text takes a field of a JSON value by its name: `value["key"]`, `.get("key")` or `.pointer("…")`. Headers of
/// HTTP are none.
fn indexed(text: &str) -> Vec<&str> {
    let product = text.find("#[cfg(test)]\nmod tests {").map_or(text, |tests| &text[..tests]);
    let by_word = |line: &&str| {
        let value = line.match_indices("[\"").any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ')' | ']'))
        });
        let called = [".get(\"", ".get_mut(\"", ".pointer("].iter().any(|call| line.contains(call));
        (value || called) && !line.contains("headers.get(") && !line.trim_start().starts_with("//")
    };
    product.lines().filter(by_word).collect()
}

#[test]
fn no_json_is_indexed_by_a_word() {
    let mut wrong = Vec::new();
    for part in ["node", "controller", "cli"] {
        let mut files = Vec::new();
        rust_files(&root().join(part).join("src"), &mut files);
        for file in
            files.into_iter().filter(|file| !file.iter().any(|name| name == "tests" || name == "tests.rs"))
        {
            let text = std::fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(root()).unwrap().display().to_string();
            wrong.extend(indexed(&text).iter().map(|line| format!("{name}: {}", line.trim())));
        }
    }
    assert!(wrong.is_empty(), "read these by the types of the crate api:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_indexed_by_a_word_is_found() {
    for line in ["value[\"key\"]", "f(x)[\"key\"]", "a.get(\"key\")", "a.pointer(\"/a/b\")"] {
        assert_eq!(indexed(line), [line]);
    }
    for line in [
        "let words = [\"a\"];",
        "f(&[\"a\"])",
        "headers.get(\"x\")",
        "// value[\"key\"]",
        "#[cfg(test)]\nmod tests {\nv[\"a\"]",
    ] {
        assert!(indexed(line).is_empty(), "{line}");
    }
}
