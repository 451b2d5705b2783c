//! Replays every corpus, and alters each input a little. Runs without the fuzzing engine.

use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_fuzz::{encryption, link, mdns, ranges, seeds, space_messages, spaces, ticket};

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 13] = [
    ("encryption_decoders", encryption::decoders),
    ("encryption_two_party", encryption::two_party),
    ("encryption_group", encryption::group),
    ("mdns_packet", mdns::packet),
    ("ranges_decoder", ranges::decoder),
    ("ranges_machine", ranges::machine),
    ("link_decoders", link::decoders),
    ("link_control", link::control),
    ("spaces_decoder", spaces::decoder),
    ("spaces_machine", spaces::machine),
    ("spaces_bodies", space_messages::decoders),
    ("spaces_messages", space_messages::machine),
    ("ticket_text", ticket::text),
];

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).expect("a corpus");
    let paths = files.map(|file| file.expect("a file").path());
    let mut inputs: Vec<_> = paths
        .map(|path| std::fs::read(path).expect("bytes"))
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn every_corpus_is_replayed() {
    for (name, target) in TARGETS {
        let seeds = seeds();
        let seeds = seeds.iter().find(|(target, _)| *target == name);
        let inputs = corpus(name).into_iter();
        for input in inputs.chain(seeds.expect("seeds").1.clone()) {
            target(&input);
        }
    }
}

/// `FUZZ_SECONDS` per target, a few by default.
#[test]
fn altered_inputs_break_no_promise() {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(3);
    for (name, target) in TARGETS {
        let seeds = seeds();
        let seeds = seeds.iter().find(|(target, _)| *target == name);
        let mut inputs = seeds.expect("seeds").1.clone();
        inputs.extend(corpus(name));
        let mut rng = ChaCha20Rng::from_seed([9; 32]);
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut runs = 0_u64;
        while Instant::now() < end {
            let mut input = inputs[rng.next_u32() as usize % inputs.len()].clone();
            for _ in 0..1 + rng.next_u32() % 4 {
                alter(&mut input, &mut rng);
            }
            target(&input);
            runs += 1;
        }
        println!("{name}: {runs} runs");
    }
}

fn alter(input: &mut Vec<u8>, rng: &mut ChaCha20Rng) {
    if input.is_empty() {
        input.push(rng.next_u32() as u8);
    }
    let at = rng.next_u32() as usize % input.len();
    match rng.next_u32() % 5 {
        0 => input[at] ^= 1 << (rng.next_u32() % 8),
        1 => input[at] = rng.next_u32() as u8,
        2 => drop(input.remove(at)),
        3 => input.insert(at, rng.next_u32() as u8),
        _ => input.truncate(at + 1),
    }
}
