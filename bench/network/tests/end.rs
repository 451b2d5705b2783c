//! The end of the rig ends all that it started.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

/// A node that says that it runs, and does nothing.
const SILENT_NODE: &str = "#!/bin/sh\necho started >&2\nexec sleep 1000\n";

fn rig() -> Command {
    Command::new(env!("CARGO_BIN_EXE_p2panda-network-rig"))
}

/// Starts a scenario with a node that never answers, and ends the rig. All that was started holds
/// the rig's standard error open.
fn all_end_when(end: fn(&mut Child)) {
    let dir = tempfile::tempdir().unwrap();
    let driver = dir.path().join("driver");
    fs::write(&driver, SILENT_NODE).unwrap();
    fs::set_permissions(&driver, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = rig();
    command.arg("--driver").arg(&driver).arg("mesh");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut rig = command.spawn().unwrap();
    let mut stderr = BufReader::new(rig.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    if line.is_empty() {
        let output = rig.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("skipped: 1 scenario"), "{said}");
        println!("{said}");
        return;
    }
    assert_eq!(line, "started\n");
    end(&mut rig);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(!rig.wait().unwrap().success());
}

#[test]
fn nothing_outlives_a_rig_that_is_killed() {
    all_end_when(|rig| rig.kill().unwrap());
}

#[test]
fn nothing_outlives_a_rig_that_is_interrupted() {
    all_end_when(|rig| {
        let process = rig.id().to_string();
        let sent = Command::new("kill").args(["-INT", &process]).status();
        assert!(sent.unwrap().success());
    });
}

#[test]
fn scenarios_without_namespaces_are_skipped_and_counted() {
    for (command, skipped) in [("mesh", "skipped: 1 scenario"), ("small", "skipped: 1")] {
        let output = rig().arg(command).env("PATH", "").output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(skipped), "{said}");
    }
}
