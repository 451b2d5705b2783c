//! Packets of multicast DNS.

use p2panda_protocol::mdns::{self, Packet};

/// Checks that what is read of a packet is bounded, and that an announcement that fits into a
/// packet is read as it was written.
pub fn packet(input: &[u8]) {
    let Ok(Packet::Announcement(read)) = Packet::read(input) else {
        return;
    };
    let record = read.record();
    assert!(record.addresses().count() <= p2panda_core::limits::RECORD_ADDRESSES_MAX + 1);
    if let Ok(written) = read.to_packet() {
        assert_eq!(Packet::read(&written), Ok(Packet::Announcement(read)));
    }
}

/// Inputs to start from, by target.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![("mdns_packet", vec![mdns::query()])]
}
