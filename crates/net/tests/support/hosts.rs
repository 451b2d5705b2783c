//! Two machines on one local network, made of network namespaces: a test runs itself again in
//! each of them.

use std::env;
use std::process::{Command, Stdio};

/// Set to the name of the machine in the processes that run there.
const MACHINE: &str = "P2PANDA_MACHINE";

/// Connects `lan` of the left machine with `lan` of the right one, and runs the test on both. The
/// one on the right lives as long as the one on the left.
const TWO: &str = r#"
    ip link set lo up
    ip link add name lan type veth peer name far || exit 99
    P2PANDA_MACHINE=right unshare -n sh -c '
        until ip link show far >/dev/null 2>&1; do sleep 0.02; done
        ip link set lo up && ip link set far name lan || exit 99
        eval "$RIGHT" || exit 99
        exec "$@"' sh "$@" &
    right=$!
    trap 'kill $right 2>/dev/null' EXIT
    until [ "$(readlink /proc/$right/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do
        sleep 0.02
    done
    ip link set far netns $right || exit 99
    eval "$LEFT" || exit 99
    P2PANDA_MACHINE=left "$@"
"#;

/// A machine of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Left,
    Right,
}

/// The machine that this process runs on; none if it has to start them first.
fn machine() -> Option<Machine> {
    match env::var(MACHINE).ok()?.as_str() {
        "left" => Some(Machine::Left),
        "right" => Some(Machine::Right),
        _ => None,
    }
}

/// Answers on which machine the test runs, or runs it on both, whose networks `left` and `right`
/// set up, and answers with nothing.
pub fn on_two(test: &str, left: &str, right: &str) -> Option<Machine> {
    if let Some(machine) = machine() {
        return Some(machine);
    }
    let Some(flags) = namespace() else {
        eprintln!("skipped: 1 test, because no network namespace can be made here: {test}");
        return None;
    };
    let status = Command::new("unshare")
        .args([flags, "--", "sh", "-c", TWO, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env("LEFT", left)
        .env("RIGHT", right)
        .status()
        .unwrap();
    assert!(status.success(), "on the machines: {status}");
    None
}

/// Returns the options of `unshare` to make namespaces here: some containers allow root one but
/// nobody a user namespace.
fn namespace() -> Option<&'static str> {
    const PROBE: &str = "ip link add name lan type veth peer name far && unshare -n true";
    ["-n", "-rn"].into_iter().find(|flags| {
        let mut probe = Command::new("unshare");
        probe.args([flags, "--", "sh", "-c", PROBE]);
        let ended = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
        ended.is_ok_and(|status| status.success())
    })
}
