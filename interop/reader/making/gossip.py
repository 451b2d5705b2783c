"""Gossip messages of network.md 6.2."""

from reader import gossip, keys
from reader.postcard import frame

from .operations import head

NODES = [keys.public(bytes([n]) * 32) for n in range(1, 35)]
CONTENT = b"abc"
ID = keys.digest(CONTENT)
NO_KEY = bytes([2]) + bytes(31)


def messages():
    assert not keys.is_point(NO_KEY)
    cases = []

    def put(name, description, payload):
        payload = payload if isinstance(payload, bytes) else gossip.encode(payload)
        found = gossip.outcome(payload)
        written = "message" in found and gossip.encode(gossip.decode(payload)) == payload
        cases.append({"name": name, "description": description, "payload": payload.hex(), "is_written_so": written} | found)

    one, two = (NODES[0], b"z"), (NODES[1], None)
    put("join", "Without addresses", ("join", None))
    put("join_addresses", "With addresses", ("join", b"xy"))
    put("join_addresses_512", "The longest", ("join", b"a" * 512))
    put("join_addresses_513", "One byte more: they are left out", ("join", b"a" * 513))
    put("forward_join", "A node that joined elsewhere", ("forward_join", one, 6))
    put("shuffle", "Nodes with and without addresses", ("shuffle", NODES[0], [two, (NODES[2], b"")], 300))
    put("shuffle_nobody", "An empty list", ("shuffle", NODES[0], [], 0))
    put("shuffle_reply", "", ("shuffle_reply", [two]))
    put("shuffle_reply_32", "As many nodes as a message names", ("shuffle_reply", [(key, None) for key in NODES[:32]]))
    put("shuffle_reply_33", "One more", ("shuffle_reply", [(key, None) for key in NODES[:33]]))
    put("neighbour_high", "", ("neighbour", "high", None))
    put("neighbour_low", "", ("neighbour", "low", b"xy"))
    put("disconnect_alive", "", ("disconnect", True))
    put("disconnect", "", ("disconnect", False))
    put("disconnect_second_flag", "The second flag is not used", b"\0\5\1\1")
    put("broadcast", "For everyone, after 7 hops", ("broadcast", ID, CONTENT, 7))
    put("broadcast_neighbours", "For neighbours only", ("broadcast", ID, CONTENT, None))
    put("broadcast_hops_max", "The most hops", ("broadcast", ID, CONTENT, 65535))
    put("broadcast_empty", "No content", ("broadcast", keys.digest(b""), b"", 0))
    put("prune", "", ("prune",))
    put("graft", "With an id", ("graft", ID, 2))
    put("graft_nothing", "Without", ("graft", None, 2))
    put("announcement", "", ("announcement", [(ID, 128)]))
    put("announcement_nothing", "", ("announcement", []))
    put("hops_not_shortest", "A varint that is longer than it must be", b"\1\2\0\x82\0")
    put("other_id", "The id is not the hash of the content", ("broadcast", b"\5" * 32, CONTENT, 7))
    put("no_key", "A node id that is no key", ("shuffle_reply", [(NO_KEY, None)]))
    put("origin_no_key", "An origin that is no key", ("shuffle", NO_KEY, [], 0))
    put("unknown_protocol", "A third kind", b"\2\0\0")
    put("unknown_membership", "A seventh message of the membership", b"\0\6\0")
    put("unknown_broadcast", "A fifth message of the tree", b"\1\4\0")
    put("unknown_priority", "", b"\0\4\2\0")
    put("unknown_scope", "", b"\1\0" + ID + b"\3abc\2")
    put("option_2", "An option is 0 or 1", b"\0\0\2")
    put("hops_65536", "Beyond a u16", b"\1\2\0\x80\x80\4")
    put("list_longer_than_the_message", "A length that cannot be true", b"\0\3\xff\xff\xff\xff\x0f")
    put("cut", "The last byte is missing", gossip.encode(("broadcast", ID, CONTENT, 7))[:-1])
    put("trailing", "A byte more", gossip.encode(("prune",)) + b"\0")
    put("empty", "Nothing", b"")
    sockets = [["v6", (bytes(15) + b"\1").hex(), 300], ["v4", bytes([1, 2, 3, 4]).hex(), 5]]
    told = [{"relay": relay, "sockets": found,
             "bytes": gossip.encode_addresses(relay, [(v, bytes.fromhex(ip), port) for v, ip, port in found]).hex()}
            for relay, found in (("r/", sockets), (None, []), (None, sockets + sockets[:1]))]
    topic = b"\x09" * 32
    return head("network.md 6.2 and 6.13: payloads of frames, with the message in words or why there is none. `is_written_so`: the "
                "message is written with these bytes. `addresses`: what a node tells of itself, from relay URL and sockets in any "
                "order. `stream`: the first frame of a stream", "network.md", cases, addresses=told,
                stream={"topic": topic.hex(), "first_frame": frame(topic).hex()})


FILES = {"network-gossip.json": messages}
