//! A case that runs again in a network namespace of its own.

use std::env;
use std::process::{Command, Stdio};

use interop::driver;

/// Set for the part of a case that runs inside the namespace.
const INSIDE: &str = "INTEROP_INSIDE_NAMESPACE";

/// Whether this process is the one inside the namespace. Outside, runs the case of this name inside
/// one that `network`, commands of the shell, has set up.
pub async fn entered(case: &str, network: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let driver = driver::path().await.unwrap();
    let network = format!("{network} && exec \"$@\"");
    // As root first: some containers allow root a namespace but nobody a user namespace.
    let made = ["-n", "-rn"].into_iter().find(|flags| {
        let mut probe = Command::new("unshare");
        probe.args([flags, "--", "sh", "-c", &network, "sh", "true"]);
        probe.stderr(Stdio::null()).status().unwrap().success()
    });
    let flags = made.expect("a network namespace, with root or with unshare -rn, and ip in it");
    let status = Command::new("unshare")
        .args([flags, "--", "sh", "-c", &network, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", case])
        .env(INSIDE, "1")
        .env(driver::DRIVER_VARIABLE, driver)
        .status()
        .unwrap();
    assert!(status.success(), "inside the namespace");
    false
}
