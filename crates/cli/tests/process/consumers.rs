//! Named consumers on the command line.

use super::world::*;

/// Returns the output of a command that succeeds.
fn says(world: &World, args: &[&str]) -> String {
    let output = world.at("home", args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

#[test]
fn a_consumer_is_read_with_looked_at_moved_and_deleted() {
    let world = World::new();
    world.publish("home", &lines(0..4), &["--wait", "0"]);
    let (topic, first) = (world.topic.as_str(), ["consumer", "next", "jobs"]);
    let made = says(
        &world,
        &[&first[..], &["--topic", topic, "--count", "2"]].concat(),
    );
    assert_eq!(made, "0\n1\n");
    let held = says(&world, &[&first[..], &["--no-ack", "--json"]].concat());
    let held: serde_json::Value = serde_json::from_str(&held).unwrap();
    assert_eq!(held["text"].as_str(), Some("2"));
    let offset = held["offset"].to_string();
    let acked = says(
        &world,
        &["consumer", "ack", "jobs", topic, &offset, "--json"],
    );
    let acked: serde_json::Value = serde_json::from_str(&acked).unwrap();
    let expected = serde_json::json!({
        "done": "ack", "name": "jobs", "topic": topic, "offset": held["offset"]
    });
    assert_eq!(acked, expected);
    assert_eq!(says(&world, &first), "3\n");
    let info = says(&world, &["consumer", "info", "jobs", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(
        (info["lag"].as_u64(), info["dead"].as_u64()),
        (Some(0), Some(0))
    );
    assert!(says(&world, &["consumer", "ls"]).starts_with("jobs  1 topic,"));
    let status = says(&world, &["topic", "status", topic]);
    assert!(
        status.contains("consumer jobs: has settled everything"),
        "{status}"
    );
    assert_eq!(says(&world, &["topic", "ls"]), format!("{topic}\n"));
    assert_eq!(
        says(&world, &["topic", "ls", "--json"]),
        format!("{{\"topic\":\"{topic}\"}}\n")
    );
    says(&world, &["consumer", "seek", "jobs", "start"]);
    says(&world, &["consumer", "pause", "jobs"]);
    assert_eq!(says(&world, &first), "");
    says(&world, &["consumer", "resume", "jobs"]);
    assert_eq!(says(&world, &first), "0\n");
    assert_eq!(says(&world, &["consumer", "dead", "ls", "jobs"]), "");
    says(&world, &["consumer", "dead", "redrive", "jobs"]);
    for (args, done) in [
        (&["consumer", "seek", "jobs", "now"][..], "seek"),
        (&["consumer", "pause", "jobs"], "pause"),
        (&["consumer", "resume", "jobs"], "resume"),
        (&["consumer", "dead", "redrive", "jobs"], "redrive"),
        (&["consumer", "dead", "drop", "jobs"], "drop"),
        (&["consumer", "rm", "jobs"], "rm"),
    ] {
        let said = says(&world, &[args, &["--json"]].concat());
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (said["done"].as_str(), said["name"].as_str()),
            (Some(done), Some("jobs"))
        );
        assert_eq!(said["count"].as_u64(), (done == "redrive").then_some(0));
    }
    assert_eq!(says(&world, &["consumer", "ls"]), "");
    let unknown = world.at("home", &["consumer", "info", "jobs"]);
    let unknown = { unknown }.output().unwrap();
    assert_eq!(unknown.status.code(), Some(23), "{}", stderr(&unknown));
    let said = "panda: no consumer has this name; `panda consumer ls` lists them\n";
    assert_eq!(stderr(&unknown), said);
}

#[test]
fn asking_in_an_empty_home_makes_nothing() {
    let world = World::new();
    for args in [
        &["consumer", "info", "jobs"][..],
        &["consumer", "pause", "jobs"],
        &["consumer", "next", "jobs"],
        &["consumer", "dead", "ls", "jobs"],
        &["view", "rm", "notes"],
    ] {
        let output = { world.at("nobody", args) }.output().unwrap();
        assert_ne!(output.status.code(), Some(0));
        assert_eq!(stdout(&output), "");
        assert!(
            !world.path("nobody").exists(),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_consumer_has_a_threshold_and_droppable_dead_letters() {
    let world = World::new();
    world.publish("home", &lines(0..1), &["--wait", "0"]);
    let topic = world.topic.as_str();
    let next = ["consumer", "next", "jobs", "--topic", topic];
    says(&world, &[&next[..], &["--inactive", "30"]].concat());
    let info = says(&world, &["consumer", "info", "jobs", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["inactive"].as_f64(), Some(2_592_000.0));
    assert_eq!(info["full_of_dead"].as_bool(), Some(false));
    says(&world, &["consumer", "dead", "drop", "jobs"]);
    let unknown = world.at("home", &["consumer", "dead", "drop", "jobs", "7"]);
    let unknown = { unknown }.output().unwrap();
    assert_eq!(unknown.status.code(), Some(23), "{}", stderr(&unknown));
    // There are no views, and none is lost by asking.
    assert_eq!(says(&world, &["view", "ls"]), "");
    for args in [
        &["view", "info", "notes"][..],
        &["view", "rm", "notes"],
        &["view", "accept-loss", "notes"],
    ] {
        let unknown = { world.at("home", args) }.output().unwrap();
        assert_eq!(unknown.status.code(), Some(23), "{}", stderr(&unknown));
        assert!(stderr(&unknown).contains("`panda view ls` lists them"));
    }
}

#[test]
fn a_killed_process_loses_nothing_and_repeats_only_unacked() {
    let world = World::new();
    world.publish("home", &lines(0..40), &["--wait", "0"]);
    let next = |more: &[&str]| {
        let args = ["consumer", "next", "jobs", "--topic", &world.topic];
        world.at("home", &[&args[..], more].concat())
    };
    let number = |line: &str| line.parse::<usize>().unwrap();
    let mut seen: Vec<usize> = Vec::new();
    for _ in 0..4 {
        let reader = Running::start(&mut next(&["--count", "1000", "--wait", "60"]));
        let mut got = reader.lines(5);
        reader.signal("-KILL");
        // What it had printed by then, to the end of its output.
        while let Ok(line) = reader.out.recv_timeout(PATIENCE) {
            got.push(line);
        }
        // A line is printed once the one before is acked.
        if let (Some(last), Some(first)) = (seen.last(), got.first()) {
            assert!(
                [*last, last + 1].contains(&number(first)),
                "{seen:?} {got:?}"
            );
        }
        seen.extend(got.iter().map(|line| number(line)));
        if seen.last() == Some(&39) {
            break;
        }
    }
    let rest = next(&["--count", "1000", "--wait", "1"]).output().unwrap();
    assert_eq!(rest.status.code(), Some(0), "{}", stderr(&rest));
    seen.extend(stdout(&rest).lines().map(number));
    seen.dedup();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}
