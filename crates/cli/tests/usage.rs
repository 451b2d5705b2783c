//! Help texts and mistakes on the command line, as they are printed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::process::Command;

/// One command of a recording with what it prints and its exit code.
#[derive(Default)]
struct Case {
    command: String,
    code: i32,
    output: String,
}

#[test]
fn help_and_usage_errors_are_as_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let mut cases = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        for case in cases_of(&std::fs::read_to_string(&path).unwrap()) {
            run(&case, &path);
            cases += 1;
        }
    }
    assert!(cases > 0, "no recordings");
}

fn run(case: &Case, path: &Path) {
    let args = case.command.split_whitespace().skip(1);
    let output = Command::new(env!("CARGO_BIN_EXE_panda"))
        .args(args)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    let lines = |text: &str| -> Vec<String> {
        text.trim_end()
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    };
    let place = format!("{}: {}", path.display(), case.command);
    assert_eq!(lines(&text), lines(&case.output), "{place}");
    assert_eq!(output.status.code(), Some(case.code), "{place}");
}

/// Reads the fenced blocks of a recording: `$ command`, `? exit code` unless 0, output.
fn cases_of(recording: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut inside = false;
    for line in recording.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            cases.push(Case {
                command: command.to_owned(),
                ..Case::default()
            });
        } else if let (true, Some(case)) = (inside, cases.last_mut()) {
            match line.strip_prefix("? ") {
                Some(code) => case.code = code.parse().unwrap(),
                None => case.output.push_str(&format!("{line}\n")),
            }
        }
    }
    cases
}
