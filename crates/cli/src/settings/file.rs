//! Reads the file and the environment, and says where an unknown key is.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::config::{self, Key};
use super::{ENVIRONMENT, Origin, SettingsError};

/// Smallest similarity at which a known name is suggested for an unknown one.
const SIMILARITY_MIN: f64 = 0.7;

/// What a key of the same section counts more.
const SAME_SECTION: f64 = 0.06;

/// The keys that a file sets, with their lines.
pub fn read(path: &Path) -> Result<Vec<(String, usize, Value)>, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

pub fn parse(path: &Path, text: &str) -> Result<Vec<(String, usize, Value)>, SettingsError> {
    let wrong = |at: usize, what: String| SettingsError::Wrong {
        origin: Origin::File {
            path: path.to_owned(),
            line: line(text, at),
        },
        what,
    };
    let broken = |error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        wrong(at, error.message().to_owned())
    };
    let spans = DeTable::parse(text).map_err(broken)?;
    let values: Table = toml::from_str(text).map_err(broken)?;
    let known = config::keys();
    let mut found = Vec::new();
    for (section, keys) in spans.get_ref() {
        let at = section.span().start;
        let section = section.get_ref().as_ref();
        let is_section = known.iter().any(|key| key.section == section);
        if !is_section {
            return Err(wrong(at, unknown_section(section, &known)));
        }
        let DeValue::Table(keys) = keys.get_ref() else {
            let what = format!("{section} is a section: write [{section}] on a line of its own");
            return Err(wrong(at, what));
        };
        for key in keys.keys() {
            let (at, name) = (key.span().start, key.get_ref().as_ref());
            let path = format!("{section}.{name}");
            if !known.iter().any(|key| key.path() == path) {
                return Err(wrong(at, unknown(&path, &known)));
            }
            let value = values.get(section).and_then(|keys| keys.get(name));
            found.extend(value.map(|value| (path, line(text, at), value.clone())));
        }
    }
    Ok(found)
}

/// From 1 on.
fn line(text: &str, at: usize) -> usize {
    let before = text.bytes().take(at);
    1 + before.filter(|byte| *byte == b'\n').count()
}

fn unknown_section(section: &str, known: &[Key]) -> String {
    let sections = known.iter().map(|key| key.section.as_str());
    said("section", section, nearest(section, sections))
}

/// The name may be that of another section; a key of the same section is preferred to one that is about
/// as near.
fn unknown(path: &str, known: &[Key]) -> String {
    let (section, name) = path.split_once('.').unwrap_or_default();
    // Of equals the last one counts: the first key of the file.
    let scored = known.iter().rev().map(|key| {
        let score = strsim::jaro_winkler(name, &key.name);
        let preferred = if key.section == section {
            SAME_SECTION
        } else {
            0.0
        };
        (score, score + preferred, key)
    });
    let near = scored.filter(|(score, ..)| *score >= SIMILARITY_MIN);
    let near = near.max_by(|(_, one, _), (_, other, _)| one.total_cmp(other));
    said("key", path, near.map(|(.., key)| key.path()))
}

fn said(what: &str, name: &str, near: Option<String>) -> String {
    match near {
        Some(near) => format!("unknown {what} {name}; did you mean {near}?"),
        None => format!("unknown {what} {name}; `panda config init -` prints all"),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = known.map(|one| (strsim::jaro_winkler(name, one), one));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let (score, best) = best?;
    (score >= SIMILARITY_MIN).then(|| best.to_owned())
}

/// The keys that variables of the environment set, with their names. Variables that begin with
/// `PANDA_` and no section are none of ours.
pub fn environment(
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Vec<(String, String, Value)>, SettingsError> {
    let known = config::keys();
    let mut found = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name
            .strip_prefix(ENVIRONMENT)
            .and_then(|rest| rest.strip_prefix('_'))
        else {
            continue;
        };
        let Some((section, key)) = rest.split_once('_') else {
            continue;
        };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        if !known.iter().any(|key| key.section == section) {
            continue;
        }
        let path = format!("{section}.{key}");
        let Some(key) = known.iter().find(|key| key.path() == path) else {
            let names: Vec<String> = known.iter().map(variable).collect();
            let near = nearest(&name, names.iter().map(String::as_str));
            let what = said("variable", &name, near);
            return Err(SettingsError::Wrong {
                origin: Origin::Environment(name),
                what,
            });
        };
        let value = value_of(key, &value);
        found.push((path, name, value));
    }
    Ok(found)
}

/// The variable that sets a key, for example `PANDA_NETWORK_LISTEN`.
pub fn variable(key: &Key) -> String {
    format!("{ENVIRONMENT}_{}_{}", key.section, key.name).to_ascii_uppercase()
}

/// A list is separated by commas, everything else is written as it is.
fn value_of(key: &Key, text: &str) -> Value {
    if key.value.starts_with('[') {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        return Value::Array(items.map(Value::from).collect());
    }
    match (
        key.value.starts_with('"'),
        text.parse::<i64>(),
        text.parse::<bool>(),
    ) {
        (false, Ok(number), _) => number.into(),
        (false, _, Ok(truth)) => truth.into(),
        _ => text.into(),
    }
}
