//! Habits that CONTRIBUTING.md asks for, read from the files of the workspace.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file has no more lines than that.
const LINES_MAX: usize = 800;

/// A name of a test is a promise that fits one line.
const NAME_MAX: usize = 60;

/// Words that the documentation does not use, with what to write instead.
const WORDS: [(&str, &str); 9] = [
    ("whoever", "anyone who, the peer that"),
    ("anew", "again, restarts"),
    ("whatever", "any, regardless of"),
    ("beside", "next to, in addition to, concurrent with"),
    ("at hand", "in memory, here"),
    ("for ever", "forever, permanently"),
    ("tells of", "reports"),
    ("came of", "became of"),
    ("the house", "the layout"),
];

/// Names that say nothing, and files of such names.
const NAMES: [&str; 6] = ["Manager", "Handler", "Helper", "Util", "Utils", "Impl"];
const FILES: [&str; 6] = [
    "mod.rs",
    "utils.rs",
    "util.rs",
    "types.rs",
    "common.rs",
    "helpers.rs",
];

/// Tests that sleep, and how often: to look again for what no event reports, as the slowness that is
/// tested, or under a clock that is paused. A new one says which.
const SLEEPS: [(&str, usize); 7] = [
    ("crates/cli/tests/process.rs", 1),
    ("crates/net/tests/net/need.rs", 1),
    ("crates/net/tests/net/recovery.rs", 1),
    ("crates/node/src/inner/new_logs.rs", 2),
    ("crates/node/tests/promises/nodes.rs", 1),
    ("crates/node/tests/promises/space_uses.rs", 1),
    ("crates/node/tests/promises/views.rs", 2),
];

/// Folders of what was built or installed, which is not ours to write.
const FOREIGN: [&str; 4] = ["target", "node_modules", "dist", "wasm"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files below some folders that end so, by their path from the root, with their text.
fn files(folders: &[&str], ending: &str) -> BTreeMap<String, String> {
    let root = root();
    let mut found = BTreeMap::new();
    let mut left: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_ours = !FOREIGN.contains(&name);
            let entries = std::fs::read_dir(&path).unwrap();
            left.extend(
                entries
                    .filter(|_| is_ours)
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let name = name.replace('\\', "/");
        if name.ends_with(ending) {
            let text = std::fs::read_to_string(&path).unwrap();
            found.insert(name, text);
        }
    }
    found
}

fn sources() -> BTreeMap<String, String> {
    let folders = ["crates", "sim", "hostile", "bench", "fuzz", "interop"];
    let sources = files(&folders, ".rs");
    assert!(sources.len() > 500, "the sources are not where they were");
    sources
}

/// The sources for browsers and their tests.
fn scripts() -> BTreeMap<String, String> {
    let mut scripts = BTreeMap::new();
    for ending in [".ts", ".js", ".mjs", ".html"] {
        scripts.extend(files(&["packages", "examples"], ending));
    }
    assert!(scripts.len() > 60, "the scripts are not where they were");
    scripts
}

/// Reads the documents for people. Only tables of measurements stay as they were written.
fn documents() -> BTreeMap<String, String> {
    let folders = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "RELEASING.md",
        "CHANGELOG.md",
        "docs",
        "crates",
        "examples",
        "fuzz",
        "interop",
        "packages",
        "vectors",
    ];
    let documents = files(&folders, ".md");
    assert!(
        documents.len() > 240,
        "the documents are not where they were"
    );
    documents
}

/// Returns `true` if a text has these words, as words.
fn has(text: &str, words: &str) -> bool {
    let text = text.to_lowercase();
    let is_letter = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(words).any(|(at, _)| {
        let end = at + words.len();
        !text[..at].ends_with(is_letter) && !text[end..].starts_with(is_letter)
    })
}

/// The line without what stands in it as code or as the target of a link.
fn prose(line: &str) -> String {
    let mut text = String::new();
    for (place, part) in line.split('`').enumerate() {
        text.push_str(if place % 2 == 0 { part } else { " " });
    }
    let mut out = String::new();
    for (place, part) in text.split("](").enumerate() {
        let rest = part.split_once(')').map_or(part, |(_, rest)| rest);
        out.push_str(if place == 0 { part } else { rest });
    }
    out
}

#[test]
fn no_file_is_longer_than_a_reader_keeps_in_mind() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines");
    }
}

#[test]
fn no_type_and_no_file_has_an_empty_name() {
    for (name, text) in sources() {
        let file = name.rsplit('/').next().unwrap();
        assert!(!FILES.contains(&file), "{name}: name it by what is in it");
        if name.contains("/tests/") {
            continue;
        }
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            if ["struct", "enum", "trait"].contains(&word) {
                let name_of = words.next().unwrap_or_default();
                let name_of = name_of
                    .split(|c: char| !c.is_alphanumeric())
                    .next()
                    .unwrap();
                let ends = NAMES.iter().any(|one| name_of.ends_with(one));
                assert!(!ends, "{name}: {name_of} says nothing");
            }
        }
    }
}

#[test]
fn documents_use_the_words_of_the_field() {
    let mut found = Vec::new();
    for (name, text) in documents() {
        let is_measured = name.starts_with("docs/performance");
        for (number, line) in text.lines().enumerate() {
            if is_measured && line.starts_with('|') {
                continue;
            }
            let line = prose(line);
            let words = WORDS.iter().filter(|(word, _)| has(&line, word));
            found.extend(
                words.map(|(word, better)| format!("{name}:{}: \"{word}\" ({better})", number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The text of a comment, or nothing.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("//")?;
    Some(line.trim_start_matches(['/', '!']))
}

#[test]
fn comments_use_the_words_of_the_field() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let line = comment(line).map(prose).unwrap_or_default();
            let words = WORDS.iter().filter(|(word, _)| has(&line, word));
            found.extend(
                words.map(|(word, better)| format!("{name}:{}: \"{word}\" ({better})", number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Texts for people stand between the code, so that each line counts as a whole.
#[test]
fn scripts_and_their_texts_use_the_words_of_the_field() {
    let mut found = Vec::new();
    for (name, text) in scripts() {
        for (number, line) in text.lines().enumerate() {
            let words = WORDS.iter().filter(|(word, _)| has(line, word));
            found.extend(
                words.map(|(word, better)| format!("{name}:{}: \"{word}\" ({better})", number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn all_crates_name_the_same_oldest_compiler() {
    let folders = [
        "crates",
        "sim",
        "hostile",
        "bench/Cargo.toml",
        "bench/instructions",
        "bench/network",
        "packages",
    ];
    let of_workspace = files(&["Cargo.toml"], "Cargo.toml");
    let is_named = |line: &&str| line.starts_with("rust-version");
    let version = of_workspace["Cargo.toml"].lines().find(is_named).unwrap();
    let manifests = files(&folders, "Cargo.toml");
    assert!(manifests.len() > 15, "the crates are not where they were");
    for (name, text) in manifests {
        let named = text.lines().find(is_named).unwrap_or_default();
        let is_same = named == "rust-version.workspace = true" || named == version;
        assert!(is_same, "{name} does not name {version}");
    }
}

#[test]
fn the_hosted_run_calls_every_step_of_the_gate() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let (gate, hosted) = (read(".ci/run"), read(".github/workflows/gate.yml"));
    let mut lines = gate.lines();
    let steps = lines.find_map(|line| line.strip_prefix("steps=(")).unwrap();
    let steps: BTreeSet<&str> = steps.trim_end_matches(')').split(' ').collect();
    let (_, matrix) = hosted.split_once("steps:\n").unwrap();
    let called = matrix
        .lines()
        .map_while(|line| line.trim().strip_prefix("- "));
    let called: BTreeSet<&str> = called.flat_map(|line| line.split(' ')).collect();
    assert_eq!(called, steps);
}

#[test]
fn a_test_name_fits_one_line() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, rest)) = line.split_once("fn ")
                && std::mem::take(&mut is_test)
            {
                let (test, _) = rest.split_once('(').unwrap();
                if test.len() > NAME_MAX {
                    found.push(format!("{name}: {test}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "one promise each:\n{}", found.join("\n"));
}

/// The names of the tests of a script: the first argument of `test(` and `t.test(`, if it is a text.
fn tests_named(script: &str) -> impl Iterator<Item = &str> {
    script.split("test(").skip(1).filter_map(|rest| {
        let rest = rest.trim_start();
        let quote = rest.chars().next().filter(|c| ['"', '`'].contains(c))?;
        rest[1..].split(quote).next()
    })
}

#[test]
fn a_test_name_of_a_script_fits_one_line() {
    let (mut count, mut found) = (0, Vec::new());
    for (name, text) in scripts() {
        if !name.contains(".test.") {
            continue;
        }
        for test in tests_named(&text) {
            count += 1;
            if test.chars().count() > NAME_MAX {
                found.push(format!("{name}: {test}"));
            }
        }
    }
    assert!(count > 60, "{count} tests: they are not where they were");
    assert!(found.is_empty(), "one promise each:\n{}", found.join("\n"));
}

#[test]
fn no_test_sleeps_to_wait() {
    let allowed: BTreeMap<&str, usize> = SLEEPS.into_iter().collect();
    for (name, text) in sources() {
        let is_of_tests = name.contains("/tests/") || name.ends_with("tests.rs");
        let tests = match is_of_tests {
            true => text.as_str(),
            false => text
                .split_once("#[cfg(test)]")
                .map_or("", |(_, tests)| tests),
        };
        let sleeps = tests.replace("std::time::", "");
        let sleeps = sleeps.matches(concat!("sleep(", "Duration")).count();
        let most = allowed.get(name.as_str()).copied().unwrap_or(0);
        assert!(
            sleeps <= most,
            "{name} sleeps {sleeps} times: wait for an event"
        );
    }
}

/// `1.10-1.14` as numbers of rules; a section stands for itself.
fn rules_of(list: &str) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for one in list.split(", ") {
        let (first, last) = one.split_once(" to ").unwrap_or((one, one));
        let Some((section, from)) = first.rsplit_once('.') else {
            rules.insert(first.to_owned());
            continue;
        };
        let to = last.rsplit_once('.').map_or(from, |(_, to)| to);
        let (from, to): (u32, u32) = (from.parse().unwrap(), to.parse().unwrap());
        rules.extend((from..=to).map(|rule| format!("{section}.{rule}")));
    }
    rules
}

/// The rules and sections of a page that say "(local)", and all rules that it has.
fn marked(page: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut local, mut all) = (BTreeSet::new(), BTreeSet::new());
    for line in page.lines() {
        let number = match (line.strip_prefix("**"), line.strip_prefix("## ")) {
            (Some(rule), _) => rule.split("**").next(),
            (_, Some(title)) => title.split(". ").next(),
            _ => None,
        };
        let number = number.map(|number| number.split(' ').next().unwrap().to_owned());
        let Some(number) = number.filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
        else {
            continue;
        };
        if line.contains("(local)") || line.contains("(local,") {
            local.insert(number.clone());
        }
        all.insert(number);
    }
    (local, all)
}

#[test]
fn local_rules_are_marked_as_the_page_of_numbers_lists_them() {
    let pages = files(&["docs/protocol"], ".md");
    let numbers = &pages["docs/protocol/numbers.md"];
    let numbers = numbers.replace('\n', " ");
    let (_, list) = numbers.split_once("*Local* rules are: ").unwrap();
    let (list, _) = list.split_once(". Another").unwrap();
    let mut count = 0;
    for of_page in list.split("; ").skip(1) {
        let (page, rules) = of_page.split_once(' ').unwrap();
        let (local, all) = marked(&pages[&format!("docs/protocol/{page}.md")]);
        let mut listed = rules_of(rules);
        listed.retain(|rule| all.contains(rule));
        assert_eq!(local, listed, "{page}.md");
        count += listed.len();
    }
    assert!(count > 50, "{count} rules: the list is not where it was");
}

/// The sections and rules of protocol pages that a line names: the page, `#` for a section or a space
/// for a rule, and the number.
fn sections_named(line: &str) -> impl Iterator<Item = (&str, char, &str)> {
    line.split("docs/protocol/").skip(1).filter_map(|rest| {
        let (page, rest) = rest.split_once(".md")?;
        let kind = rest.chars().next().filter(|c| ['#', ' '].contains(c))?;
        let is_number = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let number = rest[1..].split(|c| !is_number(c)).next()?;
        let number = number.trim_end_matches('.');
        let is_rule = number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('.');
        (kind == '#' || is_rule).then_some((page, kind, number))
    })
}

#[test]
fn every_section_that_a_source_names_is_on_its_page() {
    let pages = files(&["docs/protocol"], ".md");
    let mut sources = sources();
    for ending in [".ts", ".js", ".py"] {
        sources.extend(files(
            &["packages/p2panda/src", "packages/python/src"],
            ending,
        ));
    }
    let (mut count, mut found) = (0, Vec::new());
    for (name, text) in sources {
        for (at, line) in text.lines().enumerate() {
            for (page, kind, number) in sections_named(line) {
                let text = pages.get(&format!("docs/protocol/{page}.md"));
                let is_there = text.is_some_and(|text| match kind {
                    '#' => text.contains(&format!("<a id=\"{number}\">")),
                    _ => marked(text).1.contains(number),
                });
                if !is_there {
                    found.push(format!("{name}:{}: {page}.md{kind}{number}", at + 1));
                }
                count += 1;
            }
        }
    }
    assert!(count > 1000, "{count}: the comments are not as they were");
    assert!(
        found.is_empty(),
        "not on the page; a section is `PAGE.md#5`, a rule `PAGE.md 5.3`:\n{}",
        found.join("\n")
    );
}
