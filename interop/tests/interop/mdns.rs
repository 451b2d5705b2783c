//! Both sides find each other on a local network by multicast alone.

use std::env;
use std::process::{Command, Stdio};

use interop::{Ours, Published, driver};

use crate::case::{Case, PATIENCE, assert_same};

/// Set for the part of the case that runs inside the namespace.
const INSIDE: &str = "INTEROP_INSIDE_NAMESPACE";

/// A loopback device with multicast, which is all that the namespace has.
const NETWORK: &str = "ip link set lo up && ip link set lo multicast on \
    && ip route add 224.0.0.0/4 dev lo && exec \"$@\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_and_a_published_node_find_each_other_by_multicast() {
    if env::var_os(INSIDE).is_some() {
        meet_by_multicast().await;
        return;
    }
    let driver = driver::path().await.unwrap();
    // As root first: some containers allow root a namespace but nobody a user namespace.
    let made = ["-n", "-rn"].into_iter().find(|flags| {
        let mut probe = Command::new("unshare");
        probe.args([flags, "--", "sh", "-c", NETWORK, "sh", "true"]);
        probe.stderr(Stdio::null()).status().unwrap().success()
    });
    let flags = made.expect("a network namespace, with root or with unshare -rn, and ip in it");
    let status = Command::new("unshare")
        .args([flags, "--", "sh", "-c", NETWORK, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("mdns::ours_and_a_published_node_find_each_other_by_multicast")
        .env(INSIDE, "1")
        .env(driver::DRIVER_VARIABLE, driver)
        .status()
        .unwrap();
    assert!(status.success(), "inside the namespace");
}

async fn meet_by_multicast() {
    let case = Case::new("multicast");
    let mut options = case.options("ours");
    options.mdns = true;
    let mut setup = case.setup();
    setup.mdns = true;
    let ours = Ours::open(options).await.unwrap();
    let published = Published::start(setup).await.unwrap();
    ours.subscribe(case.topic).await.unwrap();
    let stream = published.stream(case.topic).await.unwrap();

    ours.publish_text(case.topic, "ours").await.unwrap();
    stream.publish("theirs").await.unwrap();
    stream.wait_operations(2, PATIENCE).await.unwrap();
    ours.wait_messages(case.topic, 2, PATIENCE).await.unwrap();
    let held = ours.dump(case.topic).await.unwrap();
    assert_eq!(held.len(), 2);
    assert_same(&held, &published.dump(case.topic).await.unwrap());
    assert_eq!(stream.refused(), []);
}
