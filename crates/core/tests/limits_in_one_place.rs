//! Every bound is in `core::limits`, and what is there is used: read from the sources.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;

#[path = "support/sources.rs"]
mod sources;

use sources::{Source, sources, without_tests, words};

/// Crates whose bounds are in `core::limits`.
const CRATES: [&str; 11] = [
    "core",
    "protocol",
    "groups",
    "encryption",
    "spaces",
    "engine",
    "store",
    "net",
    "node",
    "rpc",
    "web",
];

/// Limits that nothing uses, and why they are there.
const UNUSED: [(&str, &str); 1] = [(
    "GOSSIP_OVERLAYS_PUBLISHED_MAX",
    "network 6.5 is not implemented: issue on the network",
)];

/// Constants outside of `core::limits` that have the name of a limit, and why they are none.
const NO_LIMITS: [(&str, &str, &str); 4] = [
    (
        "core/src/header.rs",
        "FIELDS_BYTES_MAX",
        "the length of an encoding, from its layout",
    ),
    (
        "protocol/src/sync/have.rs",
        "LOG_BYTES_MAX",
        "the length of an encoding, from its layout",
    ),
    (
        "protocol/src/sync/have.rs",
        "START_BYTES_MAX",
        "the length of an encoding, from its layout",
    ),
    (
        "protocol/src/sync/session/opening.rs",
        "LOG_HEIGHT_BYTES_MAX",
        "the length of an encoding, from its layout",
    ),
];

/// Endings of the names of limits, without a unit behind.
const ENDINGS: [&str; 8] = [
    "MAX",
    "TIMEOUT",
    "WAIT",
    "PATIENCE",
    "INTERVAL",
    "DELAY",
    "RATE",
    "PER_SECOND",
];

/// A constant: its name and the expression of its value.
struct Constant {
    name: String,
    value: String,
}

fn is_limits(source: &Source) -> bool {
    source.name == "core/src/limits.rs" || source.name.starts_with("core/src/limits/")
}

/// All constants of a file, those within functions and implementations included.
fn constants(code: &str) -> Vec<Constant> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("const ") {
        let begins = rest[..at].ends_with([' ', '\n']) || at == 0;
        rest = &rest[at + "const ".len()..];
        let Some((name, behind)) = rest.split_once(':') else {
            break;
        };
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !begins || name.is_empty() || !name.chars().all(is_name) {
            continue;
        }
        if let Some((_, behind)) = behind.split_once('=') {
            found.push(Constant {
                name: name.to_owned(),
                value: behind.split(';').next().unwrap().trim().to_owned(),
            });
        }
    }
    found
}

/// The names of all limits.
fn limits(sources: &[Source]) -> BTreeSet<&str> {
    let files = sources.iter().filter(|source| is_limits(source));
    let lines = files.flat_map(|source| source.code.lines());
    let all = lines.filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let limits: BTreeSet<&str> = all.collect();
    assert!(limits.len() > 100, "the limits are not where they were");
    limits
}

/// Returns `true` if a constant is named like a limit: `X_MAX`, `X_WAIT_MS`, ...
fn is_called_like_a_limit(name: &str) -> bool {
    let name = name.strip_suffix("_MS").unwrap_or(name);
    let name = name.strip_suffix("_US").unwrap_or(name);
    ENDINGS.iter().any(|ending| {
        let front = name.strip_suffix(ending);
        front.is_some_and(|front| front.is_empty() || front.ends_with('_'))
    })
}

fn is_exception(file: &str, name: &str) -> bool {
    let mut all = NO_LIMITS.iter();
    all.any(|(of, no_limit, _)| *of == file && *no_limit == name)
}

#[test]
fn every_limit_is_used() {
    let sources = sources();
    let limits = limits(&sources);
    let users = sources.iter().filter(|source| !is_limits(source));
    let used: BTreeSet<&str> = users.flat_map(|source| words(&source.code)).collect();
    for limit in &limits {
        let is_exception = UNUSED.iter().any(|(name, _)| name == limit);
        assert!(
            used.contains(limit) || is_exception,
            "core::limits::{limit} is used nowhere: use it where the bound is kept, in place of a \
             number or a constant there, or delete it"
        );
        assert!(
            !used.contains(limit) || !is_exception,
            "core::limits::{limit} is used: take it off the list UNUSED of {}",
            file!()
        );
    }
    for (name, _) in UNUSED {
        assert!(
            limits.contains(name),
            "{name} is no limit: take it off UNUSED"
        );
    }
}

#[test]
fn no_crate_keeps_a_limit_to_itself() {
    let sources = sources();
    let limits = limits(&sources);
    let mut excepted = BTreeSet::new();
    let here = |source: &&Source| {
        let of = source.name.split('/').next().unwrap();
        CRATES.contains(&of) && !is_limits(source)
    };
    for source in sources.iter().filter(here) {
        for Constant { name, value } in constants(&source.code) {
            if is_exception(&source.name, &name) {
                excepted.insert((source.name.clone(), name));
                continue;
            }
            let is_derived =
                value.contains("limits::") || words(&value).any(|word| limits.contains(word));
            assert!(
                is_derived || !is_called_like_a_limit(&name),
                "crates/{}: `const {name}` is a limit: put it into crates/core/src/limits/ with its \
                 unit, its meaning and the rule of its page, and use that here. If it is none, give \
                 it another name, or a line with the reason in NO_LIMITS of {}",
                source.name,
                file!()
            );
        }
    }
    for (file, name, _) in NO_LIMITS {
        assert!(
            excepted.contains(&(file.to_owned(), name.to_owned())),
            "crates/{file} has no `const {name}`: take it off the list NO_LIMITS"
        );
    }
}

#[test]
fn the_sources_are_read_as_they_are_meant() {
    let code = without_tests(
        "// const A_MAX: u8 = 1;\npub(crate) const B_MAX: [u8; 2] =\n    [1, 2];\n\
         impl C {\n    const D_WAIT_MS: u64 = limits::E.as_millis() as u64;\n    \
         const fn f() {}\n}\n#[cfg(test)]\nmod tests {\n    const G_MAX: u8 = 1;\n}\n",
    );
    let found = constants(&code);
    let found: Vec<_> = found
        .iter()
        .map(|constant| (constant.name.as_str(), constant.value.as_str()))
        .collect();
    let derived = "limits::E.as_millis() as u64";
    assert_eq!(found, [("B_MAX", "[1, 2]"), ("D_WAIT_MS", derived)]);
    for name in ["A_MAX", "A_WAIT_US", "A_MS_MAX", "A_PER_SECOND", "TIMEOUT"] {
        assert!(is_called_like_a_limit(name), "{name}");
    }
    for name in ["CLIMAX", "AWAIT", "A_MIN", "WAITS", "A_BYTES"] {
        assert!(!is_called_like_a_limit(name), "{name}");
    }
}
