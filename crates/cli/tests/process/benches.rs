//! The output of measurements.

use serde_json::Value;

use super::world::*;

#[test]
fn a_measurement_counts_all_messages_and_leaves_nothing_behind() {
    let world = World::new();
    for test in ["pub", "sub", "pubsub"] {
        let args = ["bench", test, "--messages", "50", "--bytes", "64", "--json"];
        let printed = world.panda(&args).output().unwrap();
        assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
        let measured: Value = serde_json::from_str(stdout(&printed).trim()).unwrap();
        assert_eq!(measured["test"], test);
        assert_eq!(measured["messages"], 50);
        assert!(measured["messages_per_second"].as_f64().unwrap() > 0.0);
        assert_eq!(measured.get("latency_p99_us").is_some(), test != "sub");
    }
    let args = [
        "bench",
        "rpc",
        "--messages",
        "50",
        "--bytes",
        "64",
        "--json",
    ];
    let printed = world.panda(&args).output().unwrap();
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    let measured: Value = serde_json::from_str(stdout(&printed).trim()).unwrap();
    for number in [
        "unix_p50_us",
        "tcp_p50_us",
        "stream_messages_per_second",
        "publish_ratio",
        "ready_ms",
        "idle_resident_kib",
        "ended_ms",
    ] {
        assert!(
            measured[number].as_f64().unwrap() > 0.0,
            "{number}: {measured}"
        );
    }
    assert!(is_empty(&world.path("tmp")));
    let wrong = world
        .panda(&["bench", "pub", "--messages", "0"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert_eq!(stderr(&wrong).lines().count(), 1, "{}", stderr(&wrong));
}
