//! The lines of recorded runs: `tests/transcripts/`, written by the process as it was before its
//! requests, answers and events became types. What was said then is said now.
//!
//! `> ` is a line that went in, `< ` one that came out; a letter before tells processes apart.
//! Lines are compared as values: the order of fields in an object is no promise.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use p2panda_rpc::wire::{Call, Output};
use serde_json::Value;

const ONE_NODE: &str = include_str!("transcripts/one_node.txt");
const THREE_NODES: &str = include_str!("transcripts/three_nodes.txt");

/// A line, and whether it went in.
struct Line<'a> {
    is_request: bool,
    text: &'a str,
}

fn lines(transcript: &str) -> Vec<Line<'_>> {
    transcript
        .lines()
        .map(|line| {
            let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
            match mark.chars().last().unwrap() {
                '>' => Line {
                    is_request: true,
                    text,
                },
                '<' => Line {
                    is_request: false,
                    text,
                },
                _ => panic!("{line}"),
            }
        })
        .collect()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_recorded_output_comes_back_as_it_was() {
    let recorded = [lines(ONE_NODE), lines(THREE_NODES)];
    let outputs = recorded.iter().flatten().filter(|line| !line.is_request);
    let mut count = 0;
    for Line { text, .. } in outputs {
        let output: Output = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
        assert_eq!(serde_json::to_value(&output).unwrap(), value(text));
        count += 1;
    }
    assert!(count > 100);
}

#[test]
fn every_recorded_request_comes_back_as_it_was() {
    let recorded = [lines(ONE_NODE), lines(THREE_NODES)];
    let requests = recorded.iter().flatten().filter(|line| line.is_request);
    let mut count = 0;
    for Line { text, .. } in requests {
        // Others are mistakes on purpose.
        let Ok(call) = serde_json::from_str::<Call>(text) else {
            continue;
        };
        let written = serde_json::to_value(&call).unwrap();
        for (field, was) in value(text).as_object().unwrap() {
            match field.as_str() {
                // A dump can be imported, with more than an import needs.
                "operations" if was.is_array() => {
                    assert_eq!(length(&written[field]), length(was), "{text}");
                }
                "unknown" => assert!(written[field].is_null()),
                _ => assert_eq!(&written[field], was, "{field} of {text}"),
            }
        }
        count += 1;
    }
    assert!(count > 60);
}

fn length(value: &Value) -> usize {
    value.as_array().unwrap().len()
}

/// The process; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Removes the state of dials from an answer, which is not the same each time.
fn forget_contacts(answer: &mut Value) {
    let peers = answer
        .pointer_mut("/ok/peers")
        .and_then(Value::as_array_mut);
    for peer in peers.into_iter().flatten().filter_map(Value::as_object_mut) {
        peer.remove("contact");
    }
}

#[test]
fn the_process_answers_the_recorded_requests_as_it_did() {
    let mut process = Process(
        Command::new(env!("CARGO_BIN_EXE_p2panda-driver"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut requests = process.0.stdin.take().unwrap();
    let mut said = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let (mut before, mut now) = (Said::default(), Said::default());
    for line in lines(ONE_NODE) {
        if !line.is_request {
            before.add(value(line.text));
            continue;
        }
        // Answers and what requests bring are said by different tasks.
        while !now.has_as_much_as(&before) {
            now.add(value(&said.next().expect("another line").unwrap()));
        }
        writeln!(requests, "{}", line.text).unwrap();
    }
    drop(requests);
    said.for_each(|line| now.add(value(&line.unwrap())));
    assert!(process.0.wait().unwrap().success());
    for (now, before) in now.answers.iter_mut().zip(&mut before.answers) {
        forget_contacts(now);
        forget_contacts(before);
        assert_eq!(now, before);
    }
    assert_eq!(now.answers.len(), before.answers.len());
    assert_eq!(now.events, before.events);
}

/// Transcript without what differs from run to run.
#[derive(Default)]
struct Said {
    answers: Vec<Value>,
    events: Vec<Value>,
}

impl Said {
    fn has_as_much_as(&self, other: &Said) -> bool {
        self.answers.len() >= other.answers.len() && self.events.len() >= other.events.len()
    }

    fn add(&mut self, mut line: Value) {
        if line.get("event").is_some() {
            return self.events.push(line);
        }
        // Ports, the ids of what is published with the time of day, and bytes on the wire.
        for field in ["addrs", "id", "sent_bytes", "received_bytes"] {
            if let Some(value) = line.get_mut("ok").and_then(|ok| ok.get_mut(field)) {
                *value = Value::Null;
            }
        }
        self.answers.push(line);
    }
}
