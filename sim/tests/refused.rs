//! Promises about operations that cannot be read: a row says so, and nothing honest is held up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use p2panda_core::limits::REJECTED_HEADER_BYTES_MAX;
use p2panda_core::{Hash, Topic};
use p2panda_sim::{Fault, NodeId, OVERSIZE_HEADER, Sim, UNDECODABLE_HEADER};
use p2panda_store::RejectReason;

/// Reads the rows: id, reason, peer and the beginning of the header.
fn rows(sim: &Sim, node: NodeId, topic: Topic) -> Vec<(Hash, RejectReason, NodeId, Vec<u8>)> {
    let rows = sim.rejected(node, topic).into_iter().map(|row| {
        let peer = sim.node_of(row.peer.unwrap());
        (row.id, row.reason.unwrap(), peer, row.header.to_vec())
    });
    rows.collect()
}

fn beginning(header: &[u8]) -> Vec<u8> {
    header[..REJECTED_HEADER_BYTES_MAX].to_vec()
}

#[test]
fn what_is_refused_is_a_row_and_the_honest_converge() {
    for seed in 0..12 {
        let mut sim = Sim::new(seed);
        let topic = sim.topic();
        let [garbler, inflater, honest, far] = [sim.node(), sim.node(), sim.node(), sim.node()];
        let all = [garbler, inflater, honest, far];
        for node in all {
            sim.subscribe(node, topic);
            sim.publish(node, topic, "before");
        }
        sim.set_fault(garbler, Some(Fault::Undecodable));
        sim.set_fault(inflater, Some(Fault::Oversize));
        sim.connect(garbler, honest, topic);
        sim.connect(inflater, honest, topic);
        sim.connect(honest, far, topic);
        sim.settle();
        // In catch-up, and in live mode.
        for node in all {
            sim.publish(node, topic, "after");
            sim.run_for(Duration::from_secs(2));
        }
        sim.settle();

        for node in all {
            assert_eq!(sim.texts(node, topic).len(), 8, "seed {seed}");
        }
        // Of each, however often it came, one row: without a header there is no other id.
        let undecodable = Hash::digest(UNDECODABLE_HEADER);
        let kept = beginning(OVERSIZE_HEADER);
        let len = (OVERSIZE_HEADER.len() as u64).to_be_bytes();
        let too_large = Hash::digest_parts(&[&kept, &len]);
        let mut found = rows(&sim, honest, topic);
        found.sort_by_key(|(_, _, peer, _)| *peer);
        let garbled = beginning(UNDECODABLE_HEADER);
        let expected = [
            (undecodable, RejectReason::Undecodable, garbler, garbled),
            (too_large, RejectReason::TooLarge, inflater, kept),
        ];
        assert_eq!(found, expected, "seed {seed}");
        // What is refused goes nowhere.
        for node in [garbler, inflater, far] {
            assert_eq!(rows(&sim, node, topic), [], "seed {seed}");
        }
    }
}
