//! No two files of a crate import each other, directly or through others; locks are of one kind.
//! Read from the sources.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[path = "support/sources.rs"]
mod sources;

use sources::{Source, sources, without_tests, words};

/// Crates whose files import each other in one direction only.
const WITHOUT_CIRCLES: [&str; 3] = ["engine", "net", "store"];

/// Crates that take the locks of `parking_lot`.
const WITHOUT_STD_LOCKS: [&str; 2] = ["net", "node"];

const STD_LOCKS: [&str; 8] = [
    "Condvar",
    "LockResult",
    "Mutex",
    "MutexGuard",
    "PoisonError",
    "RwLock",
    "RwLockReadGuard",
    "RwLockWriteGuard",
];

/// The way to a module or an item from the root of its crate; empty: the root.
type Path = Vec<String>;

/// The files of a crate.
#[derive(Default)]
struct Files {
    /// By the module that they are.
    files: BTreeMap<Path, File>,
}

#[derive(Default)]
struct File {
    /// Names that are imported, or used by their whole path.
    imports: BTreeSet<Path>,
    /// Items that can be reached under another name: the name, and the item.
    exports: BTreeMap<String, Path>,
}

/// A path as it is written.
struct Written {
    segments: Vec<String>,
    /// It is in a `pub use`, `pub(crate) use`, ...
    is_export: bool,
}

fn path(text: &str) -> Path {
    let segments = text.split("::").filter(|segment| !segment.is_empty());
    segments.map(str::to_owned).collect()
}

/// Words, `::`, and all other characters one by one.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = match first {
            _ if rest.starts_with("::") => 2,
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(len);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

/// All paths that begin with one of these words.
fn paths(tokens: &[&str], firsts: &[&str]) -> Vec<Written> {
    let mut found = Vec::new();
    let mut is_export = false;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| tokens[before]);
        match *token {
            "use" => is_export = matches!(before, Some("pub" | ")")),
            ";" => is_export = false,
            _ => {}
        }
        let is_path = tokens.get(at + 1) == Some(&"::");
        let is_first = firsts.contains(token) && !matches!(before, Some("::" | "."));
        let is_within = before == Some("{") || before == Some(",");
        // Not the `name` of `use other::{name::..}`.
        if !is_path || !is_first || (is_within && in_braces_of_use(&tokens[..at])) {
            continue;
        }
        let mut leaves = Vec::new();
        leaves_of(&tokens[at..], Vec::new(), &mut leaves);
        found.extend(leaves.into_iter().map(|segments| Written {
            segments,
            is_export,
        }));
    }
    found
}

/// Returns `true` if the end of these tokens is within `use ..{`.
fn in_braces_of_use(tokens: &[&str]) -> bool {
    let statement = tokens.iter().rev().take_while(|token| **token != ";");
    let statement: Vec<_> = statement.collect();
    let depth = |brace: &str| statement.iter().filter(|token| **token == &brace).count();
    statement.contains(&&"use") && depth("{") > depth("}")
}

/// The paths of a tree such as `a::{b, c::{self, D}}`. Returns how many tokens it has.
fn leaves_of(tokens: &[&str], mut prefix: Vec<String>, leaves: &mut Vec<Vec<String>>) -> usize {
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at += leaves_of(&tokens[at..], prefix.clone(), leaves).max(1);
                    // A name of its own, and the comma.
                    while at < tokens.len() && !matches!(tokens[at], "," | "}") {
                        at += 1;
                    }
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some(word) if words(word).any(|part| !part.is_empty()) => {
                if *word != "self" || prefix.is_empty() {
                    prefix.push((*word).to_owned());
                }
                at += 1;
                let goes_on = tokens.get(at) == Some(&"::");
                let next = tokens.get(at + 1);
                let is_path = next.is_some_and(|next| *next != "<");
                if goes_on && is_path {
                    at += 1;
                    continue;
                }
            }
            Some(&"*") => at += 1,
            _ => {}
        }
        leaves.push(prefix);
        return at;
    }
}

impl Files {
    fn of(name: &str, sources: &[Source]) -> Self {
        let root = format!("{name}/src/");
        let sources = sources
            .iter()
            .filter_map(|source| Some((source.name.strip_prefix(&root)?, source.code.as_str())));
        let files: Vec<_> = sources.collect();
        assert!(!files.is_empty(), "{name} is not where it was");
        Self::read(&files)
    }

    /// Reads files with their names below `src/`.
    fn read(files: &[(&str, &str)]) -> Self {
        let mut all = Self::default();
        for (name, code) in files {
            let module = name.trim_end_matches(".rs").replace('/', "::");
            let module = path(module.trim_start_matches("lib").trim_start_matches("main"));
            all.files.insert(module.clone(), File::read(&module, code));
        }
        all
    }

    /// Returns the file that an item is in.
    fn home(&self, item: &[String], depth: usize) -> Path {
        let mut module: Path = Vec::new();
        for (at, segment) in item.iter().enumerate() {
            let mut inner = module.clone();
            inner.push(segment.clone());
            if self.files.contains_key(&inner) {
                module = inner;
                continue;
            }
            let exports = self.files.get(&module).map(|file| &file.exports);
            if let Some(exported) = exports.and_then(|exports| exports.get(segment))
                && depth > 0
            {
                let rest = &item[at + 1..];
                return self.home(&[exported.as_slice(), rest].concat(), depth - 1);
            }
            break;
        }
        module
    }

    /// The files that a file imports.
    fn imported(&self, module: &Path) -> BTreeSet<Path> {
        let imports = self.files[module].imports.iter();
        let homes = imports.map(|import| self.home(import, 8));
        homes.filter(|home| home != module).collect()
    }

    /// The shortest way on which a file imports itself.
    fn circle(&self) -> Option<Vec<String>> {
        for start in self.files.keys() {
            let mut ways = VecDeque::from([vec![start.clone()]]);
            let mut seen = BTreeSet::new();
            while let Some(way) = ways.pop_front() {
                for next in self.imported(way.last().unwrap()) {
                    let way = [way.as_slice(), std::slice::from_ref(&next)].concat();
                    if next == *start {
                        return Some(way.iter().map(|module| module.join("::")).collect());
                    }
                    if seen.insert(next) {
                        ways.push_back(way);
                    }
                }
            }
        }
        None
    }
}

impl File {
    fn read(module: &Path, code: &str) -> Self {
        let tokens = tokens(code);
        let mut file = Self::default();
        let declared = tokens.windows(3).filter(|three| three[0] == "mod");
        let children: Vec<&str> = declared
            .filter(|three| three[2] == ";")
            .map(|three| three[1])
            .collect();
        let firsts = [&["crate", "self", "super"], children.as_slice()].concat();
        for written in paths(&tokens, &firsts) {
            let item = absolute(module, &written.segments);
            let is_child = item.strip_prefix(module.as_slice());
            let is_child = is_child
                .and_then(|inner| inner.first())
                .is_some_and(|first| children.contains(&first.as_str()));
            if written.is_export {
                let name = item.last().cloned().unwrap_or_default();
                file.exports.insert(name, item.clone());
            }
            // To hand on what a file of its own folder has is not an import.
            if !(written.is_export && is_child) {
                file.imports.insert(item);
            }
        }
        file
    }
}

/// From the root of the crate.
fn absolute(module: &Path, written: &[String]) -> Path {
    let mut item = module.clone();
    let mut rest = written;
    while let Some((first, behind)) = rest.split_first() {
        match first.as_str() {
            "crate" => item.clear(),
            "self" => {}
            "super" => drop(item.pop()),
            _ => break,
        }
        rest = behind;
    }
    item.extend_from_slice(rest);
    item
}

fn is_of(source: &Source, crates: &[&str]) -> bool {
    crates.contains(&source.name.split('/').next().unwrap())
}

#[test]
fn no_file_imports_itself_through_others() {
    let sources = sources();
    for name in WITHOUT_CIRCLES {
        let circle = Files::of(name, &sources).circle();
        assert!(
            circle.is_none(),
            "crates/{name}: these files import each other: {}. Put what they share into a file of \
             its own",
            circle.unwrap_or_default().join(" -> ")
        );
    }
}

#[test]
fn net_and_node_take_no_lock_that_can_be_poisoned() {
    let sources = sources();
    for source in sources.iter().filter(|one| is_of(one, &WITHOUT_STD_LOCKS)) {
        for written in paths(&tokens(&source.code), &["std"]) {
            let is_lock = written.segments.iter().any(|segment| {
                let of_sync = written
                    .segments
                    .get(1)
                    .is_some_and(|module| module == "sync");
                of_sync && STD_LOCKS.contains(&segment.as_str())
            });
            assert!(
                !is_lock,
                "crates/{}: take the locks of parking_lot instead of {}",
                source.name,
                written.segments.join("::")
            );
        }
    }
}

#[test]
fn nobody_panics_because_somebody_else_did() {
    for source in sources() {
        let tokens = tokens(&source.code);
        for take in ["lock", "read", "write"] {
            for end in ["expect", "unwrap"] {
                let panics = [take, "(", ")", ".", end];
                assert!(
                    !tokens.windows(panics.len()).any(|some| some == panics),
                    "crates/{}: `{take}().{end}(..)` spreads a panic: go on with what the lock \
                     holds (CONTRIBUTING.md)",
                    source.name
                );
            }
        }
    }
}

#[test]
fn no_file_with_public_items_of_net_names_iroh() {
    let sources = sources();
    let public = |source: &&Source| {
        let root = sources
            .iter()
            .find(|source| source.name == "net/src/lib.rs");
        let written = paths(&tokens(&root.unwrap().code), &["self", "crate"]);
        assert!(written.is_empty(), "the root of net names its files alone");
        let name = source.name.strip_prefix("net/src/");
        let name = name.and_then(|name| name.strip_suffix(".rs"));
        name.is_some_and(|name| root.unwrap().code.contains(&format!("pub use {name}::")))
    };
    let public: Vec<_> = sources.iter().filter(public).collect();
    assert!(
        public.len() >= 5,
        "the public items are not where they were"
    );
    for source in public {
        let named = words(&source.code).find(|word| word.starts_with("iroh"));
        assert_eq!(
            named, None,
            "crates/{}: nothing that others may use has a type of iroh in it",
            source.name
        );
    }
}

#[test]
fn imports_are_read_as_they_are_meant() {
    let files = |a: &str, b: &str| {
        let root = "mod a;\nmod b;\nmod c;\npub use c::Third;\n";
        let code = [("lib.rs", root), ("a.rs", a), ("b.rs", b), ("c.rs", "")];
        Files::read(&code.map(|(name, code)| (name, code)))
    };
    let a_to_b = |a: &str| files(a, "").imported(&path("a")).contains(&path("b"));
    assert!(a_to_b("use crate::b::B;"));
    assert!(a_to_b("use crate::b;"));
    assert!(a_to_b("use crate::{c, b as other};"));
    assert!(a_to_b("use crate::{c::{self, C}, b::{B, D}};"));
    assert!(a_to_b("fn f() { crate::b::g() }"));
    assert!(a_to_b("fn f(b: super::b::B<u8>) {}"));
    assert!(!a_to_b("use std::b::B; use crate::c::b;"));
    assert!(!a_to_b(&without_tests(
        "// crate::b\n#[cfg(test)]\nmod tests {\n use crate::b;\n}"
    )));
    let through_root = files("use crate::Third;", "").imported(&path("a"));
    assert_eq!(through_root, BTreeSet::from([path("c")]));

    let circle = files("use crate::b;", "use crate::{c, a::{A, D}};").circle();
    assert_eq!(circle.unwrap(), ["a", "b", "a"]);
    assert_eq!(files("use crate::{b, c};", "use crate::c;").circle(), None);

    let folder = |parent: &str| {
        let inner = ("a/inner.rs", "use super::A;");
        Files::read(&[("lib.rs", "mod a;"), ("a.rs", parent), inner]).circle()
    };
    assert_eq!(folder("mod inner;\npub(crate) use inner::Inner;"), None);
    assert!(folder("mod inner;\nuse inner::Inner;").is_some());
    assert!(folder("mod inner;\nfn f() { self::inner::g() }").is_some());
}
