//! Allowed uses between files, and types that a public signature may name: read from the sources.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;

#[path = "support/sources.rs"]
mod sources;

use sources::{Source, words};

/// Crates whose public signatures name no type of [`HIDDEN`]: those that an application sees.
const PUBLIC: [&str; 5] = ["core", "protocol", "store", "engine", "node"];

/// Libraries that can be exchanged without anybody noticing. Crates that begin with `iroh` are, too.
const HIDDEN: [&str; 3] = ["rusqlite", "cbor_core", "noq"];

/// The sources of one crate, with names below its folder `src`.
fn sources(of: &str) -> Vec<Source> {
    let prefix = format!("{of}/src/");
    let below = sources::sources().into_iter().filter_map(|source| {
        let name = source.name.strip_prefix(&prefix)?.to_owned();
        Some(Source { name, ..source })
    });
    let sources: Vec<Source> = below.collect();
    assert!(
        sources.len() > 5,
        "{of}: the sources are not where they were"
    );
    sources
}

/// The path of a file's module, without `crate`.
fn module_of(source: &Source) -> Vec<&str> {
    match source.name.strip_suffix(".rs").unwrap() {
        "lib" => Vec::new(),
        path => path.split('/').collect(),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// All paths that begin with `root::`, trees of a `use` expanded.
fn paths(code: &str, root: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let begin = format!("{root}::");
    let mut rest = code;
    while let Some(at) = rest.find(&begin) {
        let is_begin = !rest[..at].ends_with(|c: char| is_word(c) || c == ':');
        rest = &rest[at + begin.len()..];
        if is_begin {
            tree(rest, &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one tree of a `use`, or a path; returns what follows.
fn tree<'a>(text: &'a str, front: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let depth = front.len();
    let mut rest = text.trim_start();
    loop {
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                rest = tree(rest, front, found).trim_start();
                match rest.strip_prefix(',') {
                    Some(more) if !more.trim_start().starts_with('}') => rest = more,
                    Some(end) => rest = end.trim_start(),
                    None => break,
                }
            }
            front.truncate(depth);
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        front.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) if more.starts_with(|c: char| is_word(c) || c == '{') => rest = more,
            _ => break,
        }
    }
    found.push(front.clone());
    front.truncate(depth);
    rest
}

/// The files that a file uses.
fn used<'a>(of: &Source, sources: &'a [Source]) -> BTreeSet<&'a str> {
    let mut all = paths(&of.code, "crate");
    let module = module_of(of);
    if let Some((_, above)) = module.split_last() {
        let above: Vec<String> = above.iter().map(|name| (*name).to_owned()).collect();
        let relative = paths(&of.code, "super").into_iter();
        all.extend(relative.map(|path| [above.clone(), path].concat()));
    }
    let file = |path: &Vec<String>| {
        let matches = sources.iter().filter(|source| {
            let module = module_of(source);
            path.len() >= module.len() && module.iter().zip(path).all(|(one, other)| one == other)
        });
        matches
            .max_by_key(|source| module_of(source).len())
            .map(|source| source.name.as_str())
    };
    let files = all.iter().filter_map(file);
    files.filter(|name| *name != of.name).collect()
}

#[test]
fn a_database_knows_nothing_of_a_directory() {
    let sources = sources("store");
    let of = |source: &&Source| source.name.starts_with("database");
    assert!(sources.iter().filter(of).count() > 10);
    for source in sources.iter().filter(of) {
        for name in used(source, &sources) {
            assert!(
                name.starts_with("database") || name == "error.rs",
                "crates/store/src/{} uses {name}: a database exists without a directory",
                source.name
            );
        }
        // What SQLite keeps next to a database, whether it is still there, and what prevents an
        // open.
        let looks = ["connection", "journal", "presence", "obstacle"];
        let looks = looks.map(|name| format!("database/{name}.rs"));
        assert!(
            !source.code.contains("std::fs") || looks.contains(&source.name),
            "crates/store/src/{} uses files: those of a directory belong to `directory`",
            source.name
        );
    }
}

fn is_hidden(library: &str) -> bool {
    HIDDEN.contains(&library) || library.starts_with("iroh")
}

/// The names that a file may use for types of hidden libraries.
fn hidden_names(code: &str) -> BTreeSet<String> {
    let libraries: BTreeSet<&str> = words(code).filter(|word| is_hidden(word)).collect();
    let mut names = BTreeSet::new();
    for library in libraries {
        names.insert(library.to_owned());
        for line in code.split(';').filter_map(|item| {
            let item = item.trim_start();
            item.strip_prefix("use ")
                .filter(|tree| tree.starts_with(library))
        }) {
            let last = paths(line, library)
                .into_iter()
                .filter_map(|mut path| path.pop());
            names.extend(last);
        }
    }
    names
}

/// From here to the first of `ends` that is in no bracket of its own.
fn until<'a>(text: &'a str, ends: &[char]) -> &'a str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        if depth == 0 && ends.contains(&c) {
            return &text[..at];
        }
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// The text of everything public in a file: signatures, fields and variants, and what is implemented
/// for public types unless it is hidden from the documentation.
fn public(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut above = "";
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let (rest, item) = (&code[at..], line.trim());
        at += line.len();
        let text = rest.trim_start();
        if item.starts_with("pub enum") {
            let head = until(text, &['{']);
            let body = until(&text[head.len() + 1..], &['}']);
            found.push(format!("{head}{body}"));
        } else if item.starts_with("pub ") {
            let is_field = ![
                "fn", "struct", "type", "trait", "use", "const", "static", "async",
            ]
            .contains(&words(item).nth(1).unwrap_or_default());
            let ends: &[char] = if is_field { &[',', '\n'] } else { &['{', ';'] };
            found.push(until(text, ends).to_owned());
        } else if item.starts_with("impl") && item.contains(" for ") {
            let head = until(text, &['{']);
            let of = head.rsplit(" for ").next().unwrap();
            let of = words(of).next().unwrap_or_default();
            let is_private = code.contains(&format!("pub(crate) struct {of}"))
                || code.contains(&format!("\nstruct {of}"))
                || code.contains(&format!("\nenum {of}"))
                || code.contains(&format!("pub(crate) enum {of}"));
            if !is_private && above != "#[doc(hidden)]" {
                found.push(head.to_owned());
            }
        }
        if !item.is_empty() {
            above = item;
        }
    }
    found
}

#[test]
fn no_public_signature_names_a_hidden_library() {
    for of in PUBLIC {
        for source in sources(of) {
            let hidden = hidden_names(&source.code);
            for text in public(&source.code) {
                let name = words(&text).find(|word| hidden.contains(*word));
                assert!(
                    name.is_none(),
                    "crates/{of}/src/{}: `{}` names {}, of a library that nobody should have to \
                     know: wrap it, or box it as a source of an error",
                    source.name,
                    text.trim(),
                    name.unwrap()
                );
            }
        }
    }
}

/// Crates that are compiled for pages; of `web` the part for spaces.
const IN_PAGES: [&str; 4] = ["groups", "encryption", "spaces", "web"];

/// The path of a map or set of `std` in this code.
fn map_of_std(code: &str) -> Option<Vec<String>> {
    paths(code, "std").into_iter().find(|path| {
        let [first, second, ..] = path.as_slice() else {
            return false;
        };
        first == "collections" && second.to_ascii_lowercase().starts_with("btree")
    })
}

#[test]
fn what_pages_need_takes_its_maps_from_core() {
    for of in IN_PAGES {
        let sources = sources(of).into_iter();
        for source in sources.filter(|source| of != "web" || source.name.starts_with("spaces")) {
            let map = map_of_std(&source.code);
            assert!(
                map.is_none(),
                "crates/{of}/src/{}: std::{} is another type in a page: use \
                 p2panda_core::ordered (docs/decisions/0425-sorted-vectors-in-pages.md)",
                source.name,
                map.unwrap().join("::")
            );
        }
    }
    assert!(map_of_std("use std::collections::{HashMap, BTreeSet};").is_some());
    assert!(map_of_std("use std::collections::btree_map::Entry;").is_some());
    assert!(map_of_std("use std::collections::{HashMap, VecDeque};").is_none());
}

#[test]
fn the_sources_are_read_as_they_are_meant() {
    let code =
        "use crate::a::{self, b::{C, D}, e};\nfn f() { crate::g::h() }\nuse other::crate_::x;";
    let found: Vec<String> = paths(code, "crate")
        .iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(found, ["a::self", "a::b::C", "a::b::D", "a::e", "g::h"]);

    for leak in [
        "use rusqlite::{Connection, Row};\npub fn f(\n    row: &Row<'_>,\n) {}",
        "pub enum E {\n    /// A.\n    A(#[from] rusqlite::Error),\n}",
        "pub struct S {\n    pub a: iroh_base::EndpointId,\n}",
        "pub struct S(#[from] rusqlite::Error);",
        "pub struct S;\nimpl From<rusqlite::Error> for S {}",
        "use rusqlite::Row;\npub trait T: Into<Row> {}",
        "pub use cbor_core::Value;",
    ] {
        let hidden = hidden_names(leak);
        let is_named = |text: &String| words(text).any(|word| hidden.contains(word));
        assert!(public(leak).iter().any(is_named), "{leak}");
    }
    for fine in [
        "use rusqlite::Row;\npub(crate) fn f(row: &Row<'_>) {}",
        "use rusqlite::Connection;\npub struct S {\n    pub(crate) a: Connection,\n}",
        "pub(crate) struct S;\nimpl From<rusqlite::Error> for S {}",
        "pub struct S;\n#[doc(hidden)]\nimpl From<rusqlite::Error> for S {}",
        "use rusqlite::Row;\npub fn f() {\n    let row: Row<'_>;\n}",
    ] {
        let hidden = hidden_names(fine);
        let is_named = |text: &String| words(text).any(|word| hidden.contains(word));
        assert!(!public(fine).iter().any(is_named), "{fine}");
    }
}
