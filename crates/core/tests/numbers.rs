//! `docs/protocol/numbers.md` against the sources: limits with their values, contexts and protocol ids.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use p2panda_core::limits::*;

#[allow(dead_code)]
#[path = "support/sources.rs"]
mod sources;

/// The constants of these names, as numbers.
macro_rules! numbers {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), $name as u64)),*]
    };
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol/numbers.md");
    std::fs::read_to_string(path).unwrap()
}

fn constants() -> BTreeMap<&'static str, u64> {
    let all = numbers![
        HEADER_BYTES_MAX,
        HEADER_LENGTH_MAX,
        HEADER_DEPTH_MAX,
        VALUE_LENGTH_MAX,
        VALUE_DEPTH_MAX,
        DEPENDENCIES_MAX,
        LOG_NAME_BYTES_MAX,
        OPERATION_BYTES_MAX_DEFAULT,
        OPERATION_BYTES_MAX,
        OPERATION_FRAME_OVERHEAD_BYTES,
        EPHEMERAL_BYTES_MAX,
        GOSSIP_PAYLOAD_BYTES_MAX,
        FRAME_BYTES_MAX,
        HAVE_BYTES_MAX,
        CONTROL_BYTES_MAX,
        DIGEST_BYTES_MAX,
        SESSION_INVALID_MAX,
        SESSIONS_PER_TOPIC_MAX,
        SESSIONS_PER_PEER_MAX,
        BODIES_ASKED_MAX,
        RANGES_FRAME_BYTES_MAX,
        RANGE_LIST_MAX,
        RANGE_SPLIT_BITS_MAX,
        RANGES_ASKED_MAX,
        RANGES_ASKED_AHEAD_MAX,
        RANGES_BEHIND_MAX,
        LINK_FRAME_BYTES_MAX,
        LINK_OPENING_BYTES_MAX,
        LINK_TAGS_MAX,
        LINK_MEMBERS_MAX,
        LINK_STREAMS_PER_TOPIC_MAX,
        ANNOUNCED_MAX,
        PREFERRED_AUTHORS_MAX,
        LINK_RECEIPTS_PER_MINUTE_MAX,
        LINK_RECEIPT_LOGS_MAX,
        LINK_BLOCKED_LOGS_MAX,
        LINK_BLOCKED_ENTRIES_MAX,
        LINK_BLOCKED_PER_MINUTE_MAX,
        DISCOVERY_BYTES_MAX,
        DISCOVERY_HASHES_MAX,
        DISCOVERY_RECORDS_MAX,
        DISCOVERY_ADDRESSES_MAX,
        RECORD_BYTES_MAX,
        RECORD_ADDRESSES_MAX,
        RECORD_ADDRESS_BYTES_MAX,
        MDNS_PACKET_BYTES_MAX,
        GOSSIP_MESSAGE_BYTES_MAX_DEFAULT,
        GOSSIP_NODES_MAX,
        DEVICE_LINK_FRAME_BYTES_MAX,
        DEVICE_LINK_PART_BYTES_MAX,
        DEVICE_LINK_PARTS_MAX,
        GROUP_DEPENDENCIES_MAX,
        GROUP_MEMBERS_MAX,
        GROUP_NESTING_MAX,
    ];
    all.into_iter().collect()
}

#[test]
fn the_limits_on_the_page_are_those_of_the_code() {
    let (page, mut constants) = (page(), constants());
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = match cells.get(1).and_then(|cell| cell.strip_prefix('`')) {
            Some(name) if cells.len() == 5 => name.trim_end_matches('`'),
            _ => continue,
        };
        if let Ok(value) = cells[2].parse::<u64>() {
            assert_eq!(constants.remove(name), Some(value), "{name}");
        }
    }
    assert!(constants.is_empty(), "not on the page: {constants:?}");
}

/// Finds the strings that a source uses as a context, a label or a protocol id.
fn names(code: &str) -> impl Iterator<Item = &str> {
    let texts = code.split('"').skip(1).step_by(2);
    texts.filter(|text| {
        let is_context = text.starts_with("p2panda ") && !text.contains("address book");
        is_context || (text.starts_with("p2panda/") && text.ends_with("/v1"))
    })
}

#[test]
fn every_context_and_protocol_id_is_on_the_page() {
    let page = page();
    for source in sources::sources() {
        let wire = [
            "core/",
            "protocol/",
            "net/",
            "groups/",
            "encryption/",
            "spaces/",
        ];
        if wire.iter().any(|name| source.name.starts_with(name)) {
            for name in names(&source.code) {
                assert!(
                    page.contains(&format!("`{name}`")),
                    "{}: {name}",
                    source.name
                );
            }
        }
    }
}
