//! Every collection in the core is declared in `core::bounds`, and what is declared there stands in SECURITY.md.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

#[path = "bounds/numbers.rs"]
mod numbers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use node::core::bounds::{NOT_TABLES, TABLES, table_of_bounds};
use syn::{Fields, GenericArgument, Item, PathArguments, ReturnType, Type};

/// What can hold any number of things.
const COLLECTIONS: [&str; 24] = [
    "Vec",
    "VecDeque",
    "BTreeMap",
    "BTreeSet",
    "HashMap",
    "HashSet",
    "BinaryHeap",
    "LinkedList",
    "IndexMap",
    "IndexSet",
    "LruCache",
    "Slab",
    "String",
    "OsString",
    "PathBuf",
    // Collections of other crates, and those of the core that are held more than once.
    "Reassembler",
    "FlowCache",
    "Membership",
    "Outbox",
    "SendQueue",
    "Parking",
    "Room",
    "Table",
    "Buckets",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// What the deciding core consists of.
const PARTS: [&str; 3] = ["core", "ground", "link"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_stem().unwrap() != "tests" {
            found.push(path);
        }
    }
}

/// Whether a type can grow, however deep inside it that is.
fn grows(kind: &Type) -> bool {
    match kind {
        Type::Path(path) => path.path.segments.iter().any(|segment| {
            let name = segment.ident.to_string();
            let inside = match &segment.arguments {
                PathArguments::AngleBracketed(arguments) => {
                    arguments.args.iter().any(|argument| match argument {
                        GenericArgument::Type(Type::Slice(_)) => true,
                        GenericArgument::Type(inner) => grows(inner),
                        _ => false,
                    })
                }
                PathArguments::Parenthesized(call) => {
                    matches!(&call.output, ReturnType::Type(_, t) if grows(t))
                }
                PathArguments::None => false,
            };
            COLLECTIONS.contains(&name.as_str()) || inside
        }),
        Type::Tuple(tuple) => tuple.elems.iter().any(grows),
        Type::Array(array) => grows(&array.elem),
        Type::Paren(paren) => grows(&paren.elem),
        Type::Group(group) => grows(&group.elem),
        // A borrowed collection belongs to somebody else.
        _ => false,
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes
        .iter()
        .any(|a| a.path().is_ident("cfg") && a.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test"))
}

fn fields(holder: &str, fields: &Fields, file: &Path, found: &mut BTreeMap<String, PathBuf>) {
    for (number, field) in fields.iter().enumerate() {
        if grows(&field.ty) {
            let name = field.ident.as_ref().map_or_else(|| number.to_string(), ToString::to_string);
            found.insert(format!("{holder}.{name}"), file.to_owned());
        }
    }
}

/// `Holder.field` of every collection in structs and enums of a module. Several holders of one name are one.
fn collect(items: &[Item], file: &Path, found: &mut BTreeMap<String, PathBuf>) {
    for item in items {
        match item {
            Item::Struct(item) => fields(&item.ident.to_string(), &item.fields, file, found),
            Item::Enum(item) => {
                for variant in &item.variants {
                    fields(&format!("{}::{}", item.ident, variant.ident), &variant.fields, file, found);
                }
            }
            Item::Mod(item) if !is_test(&item.attrs) => {
                if let Some((_, inner)) = &item.content {
                    collect(inner, file, found);
                }
            }
            Item::Fn(item) => collect_in_block(&item.block, file, found),
            Item::Impl(item) => {
                for inner in &item.items {
                    if let syn::ImplItem::Fn(function) = inner {
                        collect_in_block(&function.block, file, found);
                    }
                }
            }
            Item::Static(item) => assert!(!grows(&item.ty), "a static collection in {}", file.display()),
            _ => {}
        }
    }
}

fn collect_in_block(block: &syn::Block, file: &Path, found: &mut BTreeMap<String, PathBuf>) {
    for statement in &block.stmts {
        if let syn::Stmt::Item(item) = statement {
            collect(std::slice::from_ref(item), file, found);
        }
    }
}

fn collections() -> BTreeMap<String, PathBuf> {
    let mut files = Vec::new();
    for part in PARTS {
        let before = files.len();
        sources(&root().join(part), &mut files);
        assert!(files.len() > before + 5, "only {} files in {part}", files.len() - before);
    }
    let mut found = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        collect(&parsed.items, file.strip_prefix(root()).unwrap(), &mut found);
    }
    found
}

#[test]
fn every_collection_of_the_core_is_declared() {
    let found = collections();
    let mut declared = BTreeSet::new();
    let tables = TABLES.iter().flat_map(|bound| bound.holders).copied();
    for holder in tables.chain(NOT_TABLES.iter().map(|(holder, _)| *holder)) {
        assert!(declared.insert(holder.to_owned()), "{holder} is declared twice in node/src/core/bounds.rs");
    }
    let undeclared: Vec<String> = found
        .iter()
        .filter(|(holder, _)| !declared.contains(*holder))
        .map(|(holder, file)| format!("  {holder} ({})", file.display()))
        .collect();
    assert!(
        undeclared.is_empty(),
        "collections that node/src/core/bounds.rs does not declare; give each a cap, a share and what happens at the limit \
         (TABLES), or say why it is no table (NOT_TABLES):\n{}",
        undeclared.join("\n")
    );
    let gone: Vec<&String> = declared.iter().filter(|holder| !found.contains_key(*holder)).collect();
    assert!(gone.is_empty(), "node/src/core/bounds.rs declares what does not exist: {gone:?}");
}

#[test]
fn a_collection_is_found_wherever_it_hides() {
    let text = "
        struct A { plain: u8, list: Vec<u8>, nested: Option<(u8, Box<BTreeMap<u8, u8>>)>, borrowed: &'static [u8] }
        struct B(Arc<Mutex<std::collections::HashMap<u8, u8>>>, [VecDeque<u8>; 2], Box<[u8]>, u8);
        enum C { D { inside: HashSet<u8> }, E(u8) }
        fn f() { struct G { hidden: String } }
        #[cfg(test)] mod tests { struct H { of_a_test: Vec<u8> } }
    ";
    let mut found = BTreeMap::new();
    collect(&syn::parse_file(text).unwrap().items, Path::new("x"), &mut found);
    let found: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(found, ["A.list", "A.nested", "B.0", "B.1", "B.2", "C::D.inside", "G.hidden"]);
}

/// With `ACCEPT=1` the table is written instead of compared.
#[test]
fn the_table_of_bounds_in_the_manual_is_that_of_the_code() {
    const BEGIN: &str =
        "<!-- bounds: made from node/src/core/bounds.rs; ACCEPT=1 cargo test -p node --test bounds -->\n";
    const END: &str = "<!-- end of bounds -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SECURITY.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) =
        text.split_once(BEGIN).expect("SECURITY.md has the mark where the table of bounds begins");
    let (table, after) =
        rest.split_once(END).expect("SECURITY.md has the mark where the table of bounds ends");
    let ours = table_of_bounds();
    if std::env::var_os("ACCEPT").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{ours}{END}{after}")).unwrap();
        return;
    }
    assert!(
        table == ours,
        "the table of bounds in SECURITY.md is not that of node/src/core/bounds.rs; ACCEPT=1 cargo test -p node --test \
         bounds writes it. It should be:\n{ours}"
    );
}
