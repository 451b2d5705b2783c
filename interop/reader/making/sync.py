"""Negative transcripts: reactions of sync.md 5.6 and 6, digest.md 4.6, and frame limits of sync.md 2.2."""

from reader import cbor, keys, operations, session, sync
from reader.postcard import frame, varint

from .operations import MICROS, TOPIC, head, parts

NODE, PEER = keys.public(b"\1" * 32), keys.public(b"\2" * 32)


def log(count):
    past, out = None, []
    for seq in range(count):
        extensions = operations.encode_extensions(keys.digest(TOPIC), MICROS + seq)
        _, _, header = operations.build_header(b"\1" * 32, b"\x63xxx", seq, past, extensions)
        past = keys.digest(header)
        out.append((header, b"\x63xxx"))
    return out


def reactions():
    stored = log(2)
    entries = [session.entry(*one) for one in stored]
    heights = {NODE: {keys.digest(TOPIC): 1}}
    header, body = stored[0]
    message = lambda *fields: frame(sync.encode(*fields))
    have, done, close = message("have", {}), message("done"), message("close")
    operation, live = message("operation", header, body), message("live", header, body)
    presync = message("presync", 1, 200)
    garbage = message("operation", b"no header", None)
    cases = []

    def put(name, description, *steps, stored=0, digests=False):
        steps = [("bytes", one) if isinstance(one, bytes) else (one, None) for one in steps]
        sent, outcome = session.run(digests, NODE, PEER, entries[:stored], steps)
        written = [{"bytes": parts(data, bytes(64))} if kind == "bytes" else {"do": kind} for kind, data in steps]
        protocol = "p2panda/digest_sync/v1" if digests else "p2panda/log_sync/v1"
        cases.append({"name": name, "description": description, "protocol": protocol, "stored": stored,
                      "steps": written, "sent": sent, "outcome": outcome})

    put("nothing", "The peer says nothing")
    put("two_empty", "Both have nothing", have, done)
    put("peer_brings_one", "The peer brings an operation", have, presync, operation, done)
    put("node_brings_two", "The node brings two", have, done, stored=2)
    put("peer_has_the_same", "The heights are the same", message("have", heights), done, stored=2)
    put("totals_are_not_held", "PreSync promises one and none comes", have, presync, done)
    for name, bytes_ in (("presync", presync), ("operation", operation), ("done", done), ("live", live), ("close", close)):
        put(f"{name}_before_have", "ReceiveHave: anything but Have", bytes_)
    for name, bytes_ in (("have", have), ("operation", operation), ("live", live), ("close", close)):
        put(f"{name}_before_presync", "ReceivePreSync: anything but PreSync and Done", have, bytes_)
    for name, bytes_ in (("have", have), ("presync", presync), ("live", live), ("close", close)):
        put(f"{name}_in_transfer", "Transfer: only Operation and Done", have, presync, bytes_)
    put("operation_after_done", "The peer has said Done", have, done, operation)
    put("operation_after_done_of_transfer", "The peer has said Done", have, presync, operation, done, operation)
    put("done_twice", "Done again is ignored", have, done, done)
    put("done_twice_in_transfer", "Done again is ignored", have, presync, done, done)
    put("live_after_done", "Live mode", have, done, live)
    for name, bytes_ in (("have", have), ("presync", presync), ("operation", operation)):
        put(f"{name}_in_live_mode", "A Sync message in live mode", have, done, live, bytes_)
    put("done_in_live_mode", "Done again is ignored", have, done, live, done)
    put("close_in_live_mode", "The peer ends in order", have, done, close)
    put("invalid_operation", "One that is invalid in itself ends nothing", have, presync, garbage, done)
    put("end_before_have", "End of stream in catch-up", "end")
    put("end_before_presync", "End of stream in catch-up", have, "end")
    put("end_in_transfer", "End of stream in catch-up", have, presync, "end")
    put("end_in_live_mode", "End of stream without Close", have, done, "end")
    put("end_after_own_close", "The node has sent Close", have, done, "stop", "end")
    put("live_after_own_close", "The node goes on reading", have, done, "stop", live, "end")
    put("close_after_own_close", "Both have sent Close", have, done, "stop", close)
    put("unknown_outer_tag", "An unknown tag", frame(b"\3"))
    put("unknown_inner_tag", "An unknown tag", have, frame(b"\0\7"))
    put("trailing", "A byte behind the message", have, frame(b"\0\3\0"))
    put("long_varints", "Numbers that are written longer than needed", frame(b"\x80\0\x80\0\x80\0"), frame(b"\0\x83\0"))
    put("count_of_ten_bytes", "A count has up to 10 bytes", frame(b"\0\0" + b"\x80" * 9 + b"\0"), done)
    put("count_of_eleven_bytes", "No varint has more", frame(b"\0\0" + b"\x80" * 10 + b"\0"))
    put("tag_of_six_bytes", "A tag is a u32: at most 5 bytes", frame(b"\0\0\0"), frame(b"\x80" * 5 + b"\0\3"))
    put("option_2", "Neither 0 nor 1", have, presync, frame(b"\0\2\1\0\2"))
    put("empty_frame", "A frame without payload", b"\0\0\0\0")
    for name, own in (("wanted", message("wanted", [])), ("announce", message("announce", [])), ("large", message("large", 5))):
        put(f"{name}_on_log_sync", "A message of another protocol", have, done, own)
    # Limits: 2.2.
    begins = lambda size, payload: size.to_bytes(4, "big") + payload
    # A node may keep up to 64 KiB before it acts.
    above = lambda size, payload: begins(size, payload + bytes(min(size, 1 << 16) - len(payload)))
    put("any_128_mib", "The largest frame, of which nothing has come", begins(1 << 27, b""))
    put("any_above_128_mib", "Four bytes are enough", begins((1 << 27) + 1, b""))
    put("have_8_mib", "Waits for the rest", begins(1 << 23, b"\0\0" + bytes(18)))
    put("have_above_8_mib", "Above the limit of its kind", above((1 << 23) + 1, b"\0\0" + bytes(18)))
    put("have_long_tags", "The kind is looked at in the first 20 bytes", above((1 << 23) + 1, b"\x80\x80\0\x80\x80\0" + bytes(14)))
    put("control_64_kib", "Waits for the rest", have, begins(1 << 16, b"\0\3" + bytes(18)))
    put("control_above_64_kib", "Above the limit of its kind", have, above((1 << 16) + 1, b"\0\3" + bytes(18)))
    put("unknown_above_64_kib", "What has no kind is control", have, above((1 << 16) + 1, b"\7" + bytes(19)))
    large = lambda length, head_bytes: begins(length, b"\0\2" + varint(head_bytes) + bytes(18 - len(varint(head_bytes))))
    put("operation_16_mib", "Waits for the rest", have, presync, large(1 << 24, 200))
    put("operation_above_16_mib", "Is read over; the session goes on", have, presync, large((1 << 24) + 1, 200))
    rest = bytes(HEADER_MIB + 1 - 20)
    put("header_1_mib", "Waits for the rest", have, presync, large((1 << 20) + 9, 1 << 20))
    put("header_above_1_mib", "The frame is read over, and what follows counts", have, presync,
        large((1 << 20) + 9, (1 << 20) + 1), rest + bytes(8), done)
    put("operation_above_16_mib_too_early", "No operation may come here", large((1 << 24) + 1, 200) + bytes((1 << 16) - 20))
    put("live_above_16_mib", "Is read over", have, done, begins((1 << 24) + 1, b"\1" + varint(200) + bytes(17)))
    # digest.md 4
    same = frame(sync.digest_payload(PEER, sync.state(cbor.encode({}))))
    ours = frame(sync.digest_payload(NODE, sync.state(cbor.encode({}))))
    other = frame(sync.digest_payload(PEER, sync.state(cbor.encode(heights))))
    digest = lambda name, description, *steps, **more: put(f"digest_{name}", description, *steps, digests=True, **more)
    digest("nothing", "The peer says nothing")
    digest("equal", "Both have nothing: live at once", same)
    digest("equal_live", "Live mode", same, live)
    digest("equal_done", "Done is ignored here as well", same, done)
    digest("equal_close", "The peer ends in order", same, close)
    for name, bytes_ in (("have", have), ("presync", presync), ("operation", operation), ("digest", same)):
        digest(f"equal_{name}", "A Sync message in live mode", same, bytes_)
    digest("reflected", "The node's own digest does not make two states equal", ours)
    digest("different", "The heights follow", other)
    digest("different_two_empty", "What follows is log sync", other, have, done)
    digest("different_brings_two", "What follows is log sync", same, have, done, stored=2)
    digest("different_digest", "A second digest", other, other)
    digest("later_version", "Differs from every other", frame(b"\0\4\2\xff\xff"), have, done)
    for name, bytes_ in (("have", have), ("done", done), ("live", live), ("close", close)):
        digest(f"{name}_first", "Anything but Digest", bytes_)
    digest("end", "End of stream before the digest", "end")
    digest("1_kib", "Waits for the rest", begins(1 << 10, b"\0\4\1" + bytes(17)))
    digest("above_1_kib", "Above the limit", above((1 << 10) + 1, b"\0\4\1" + bytes(17)))
    digest("wanted", "Bodies are asked for in live mode", same, message("wanted", []))
    digest("wanted_in_catch_up", "Not before", other, message("wanted", []))
    digest("absent_without_question", "Nothing was asked", same, message("absent", []))
    digest("announce", "A message of links", same, message("announce", []))
    described = [{"header": h.hex(), "body": b.hex()} for h, b in stored]
    return head("One side of a session (sync.md 5 and 6, digest.md 4) of the node `node`, which has the first `stored` of "
                "`operations`, with the peer `peer`, which dialled. `steps`: bytes of the peer on stream 2, in parts, each as "
                "often as the number behind it says; `end`, the end of its stream; `stop`, the application leaves. The node does "
                "all it can between two steps. `sent`: the messages that it has sent at the end. `outcome`: `catch-up` or `live` "
                "while the session goes on, else the close code by its name in network.md 8.2, `completed` for 0",
                "sync.md", cases, node=NODE.hex(), peer=PEER.hex(), topic=TOPIC.hex(), operations=described)


HEADER_MIB = 1 << 20
FILES = {"sync-reactions.json": reactions}
