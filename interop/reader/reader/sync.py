"""sync.md, digest.md and link.md 9 and 11: the messages of a session."""

import ast
import re

from . import keys, operations
from .check import unhex
from .postcard import Invalid, Reader, frame, frames, listed, only_frame, option, string, varint

FRAME_BYTES_MAX = 1 << 27
REASONS = {"lacking": 0, "dropped": 1}  # digest.md 5.1


def log_key(reader):
    return reader.sized(32)


def heights(reader):
    """2.7: a repeated author replaces what was said of it before."""
    def logs():
        return dict(reader.list(lambda: (log_key(reader), reader.u32()), 34))

    return dict(reader.list(lambda: (log_key(reader), logs()), 34))


def span(reader, *more):
    first, last = reader.u32(), reader.u32()
    if last < first:
        raise Invalid("Range")
    return (first, last) + tuple(read() for read in more)


def raw_span(reader, *more):
    return (reader.raw(32),) + span(reader, *more)


def operation(reader):
    return reader.bytes(), reader.option(reader.bytes)


def prefer(reader):
    rest = reader.option(reader.bool)
    names = lambda: reader.list(lambda: reader.raw(32), 32)
    return rest, names(), names()


def decode(payload):
    """A message of stream 2 as (name, fields); raises Invalid."""
    reader = Reader(payload)
    outer = reader.tag()
    if outer == 1:
        out = ("live", *operation(reader))
    elif outer == 2:
        out = ("close",)
    elif outer == 0:
        out = inner(reader)
    else:
        raise Invalid("Tag")
    reader.finish()
    return out


def inner(reader):
    tag = reader.tag()
    if tag == 0:
        return "have", heights(reader)
    if tag == 1:
        return "presync", reader.u32(), reader.u32()
    if tag == 2:
        return "operation", *operation(reader)
    if tag == 3:
        return ("done",)
    if tag in (5, 6):  # digest.md 5.1
        more = [reader.u32] if tag == 6 else []
        ranges = reader.list(lambda: (log_key(reader), log_key(reader)) + span(reader, *more), 68)
        return ("wanted" if tag == 5 else "absent"), ranges
    if tag == 16:  # link.md 9.1
        return "announce", reader.list(lambda: raw_span(reader, lambda: reader.raw(8)), 42)
    if tag == 17:
        return "fetch", reader.list(lambda: raw_span(reader), 34)
    if tag == 18:
        return "prefer", *prefer(reader)
    if tag == 19:  # link.md 11.1
        return "large", reader.u32()
    if tag == 20:
        if not reader.left():
            raise Invalid("Eof")
        return "piece", reader.rest()
    raise Invalid("Tag")


def encode_heights(value):
    logs = lambda one: listed(string(log) + varint(seq) for log, seq in sorted(one.items()))
    return listed(string(author) + logs(one) for author, one in sorted(value.items()))


def encode(name, *fields):
    if name == "have":
        return b"\0\0" + encode_heights(fields[0])
    if name == "presync":
        return b"\0\1" + varint(fields[0]) + varint(fields[1])
    if name in ("operation", "live"):
        tag = b"\0\2" if name == "operation" else b"\1"
        body = None if fields[1] is None else string(fields[1])
        return tag + string(fields[0]) + option(body)
    if name in ("wanted", "absent"):
        ranges = (string(a) + string(l) + b"".join(map(varint, rest)) for a, l, *rest in fields[0])
        return (b"\0\5" if name == "wanted" else b"\0\6") + listed(ranges)
    if name == "announce":
        return b"\0\x10" + listed(a + varint(f) + varint(l) + c for a, f, l, c in fields[0])
    if name == "fetch":
        return b"\0\x11" + listed(a + varint(f) + varint(l) for a, f, l in fields[0])
    if name == "prefer":
        rest = None if fields[0] is None else bytes([fields[0]])
        return b"\0\x12" + option(rest) + listed(fields[1]) + listed(fields[2])
    if name == "large":
        return b"\0\x13" + varint(fields[0])
    if name == "piece":
        return b"\0\x14" + fields[0]
    return {"done": b"\0\3", "close": b"\2"}[name]


def handshake(payload):
    reader = Reader(payload)
    tag = reader.tag()
    if tag > 1:
        raise Invalid("Tag")
    out = ("topic", log_key(reader)) if tag == 0 else ("done",)
    reader.finish()
    return out


def digest(payload):
    """digest.md 3: the digest, or none of an unknown version."""
    reader = Reader(payload)
    if reader.tag() != 0 or reader.tag() != 4:
        raise Invalid("Tag")
    if reader.u32() != 1:
        return None
    out = log_key(reader)
    reader.finish()
    return out


def digest_payload(node, state):
    return b"\0\4\1" + string(keys.digest(node + state))


def state(value):
    return keys.digest(b"p2panda/state_digest/v1" + value)


def read(check):
    read_messages(check)
    read_exchange(check)
    read_digests(check)
    file = check.file("bodies.json")
    for v in file["messages"]:
        ranges = [
            (unhex(one["author"]), unhex(one["log_id"]), one["first"], one["last"])
            + ((REASONS[one["reason"]],) if "reason" in one else ())
            for one in v["ranges"]
        ]
        both_ways(check, v, (v["message"], ranges), "bodies")
    verdicts(check, file, "bodies")
    read_announcements(check)
    read_pieces(check)


def both_ways(check, v, message, file):
    payload = only_frame(unhex(v["frame"]))
    check.equal(encode(*message), payload, file, v["name"])
    check.equal(decode(payload), message, file, v["name"])


def verdicts(check, file, name, decode=decode):
    for v in file["payloads"]:
        try:
            got = decode(unhex(v["payload"]))[0]
        except Invalid:
            got = "invalid"
        check.equal(got, v["verdict"], name, v["name"])


def described(v):
    """The message of a case of sync_messages.json: its kind begins the name."""
    inputs, kind = v["inputs"], v["name"].split("_")[0]
    if kind == "have":
        authors = inputs.get("authors") or [inputs["author"]] if inputs.get("have") is None else []
        seqs = inputs.get("seq_nums") or [inputs.get("seq_num")]
        log = unhex(inputs.get("log_id"))
        return "have", {unhex(author): {log: seq} for author, seq in zip(authors, seqs)}
    if kind == "presync":
        return "presync", inputs["total_operations"], inputs["total_bytes"]
    if kind in ("operation", "live"):
        return kind, unhex(inputs["header"]), unhex(inputs["body"])
    return (kind,)


def recorded_have(text):
    """A Have as 0.7.1 prints it, in neutral form."""
    text = re.sub(r"(VerifyingKey|LogId|Hash)\(", "(", text.removeprefix("message Sync(Have(").removesuffix("))"))
    text = text.replace("[", "(").replace("]", ")")
    flat = lambda key: bytes(key)
    value = ast.literal_eval(text)
    return {flat(a): {flat(log): seq for log, seq in logs.items()} for a, logs in value.items()}


def read_messages(check):
    for v in check.file("sync_messages.json")["vectors"]:
        inputs, expected, name = v["inputs"], v["expected"], v["name"]
        if "stream" in inputs:
            read_stream(check, unhex(inputs["stream"]), expected, name)
            continue
        payload = only_frame(unhex(expected["frame"]))
        if name.startswith("handshake"):
            wanted = ("topic", unhex(inputs["topic"])) if inputs else ("done",)
            check.equal(handshake(payload), wanted, "sync_messages", name)
        else:
            check.equal(decode(payload), described(v), "sync_messages", name)
            check.equal(encode(*described(v)), payload, "sync_messages", name)


def read_stream(check, stream, expected, name):
    kind, _, text = expected["result"].partition(" ")
    length = int.from_bytes(stream[:4], "big")
    if len(stream) < 4 or (len(stream) < 4 + length and length <= FRAME_BYTES_MAX):
        got = "need"
    elif length == 0 or length > FRAME_BYTES_MAX:
        got = "error"
    else:
        try:
            got = decode(stream[4 : 4 + length])
        except Invalid as error:
            # 10.2: bytes behind the message are an error here and were none in 0.7.1.
            got = "message" if str(error) == "Trailing" and kind == "message" else "error"
    if isinstance(got, tuple):
        if got[0] == "have" and any(not keys.is_point(author) for author in got[1]):
            got = "error"  # 2.4: an author that is no key may also be read over
        elif got[0] == "have":
            return check.equal(got[1], recorded_have(expected["result"]), "sync_messages", name)
        else:
            got = "message"
    check.equal(got, kind, "sync_messages", name)


def read_exchange(check):
    for v in check.file("sync_exchange.json")["vectors"]:
        known = {}
        for one in v["inputs"]["a_operations"] + v["inputs"]["b_operations"]:
            header = operations.decode_header(unhex(one["header"]))
            check.equal(header.id.hex(), one["operation_id"], "sync_exchange")
            check.equal(operations.check_body(header, unhex(one["body"])), "ok", "sync_exchange")
            known[header.bytes] = header
        kinds = {"have": "Sync/Have", "presync": "Sync/PreSync", "operation": "Sync/Operation"}
        kinds |= {"done": "Sync/Done", "live": "Live", "close": "Close"}
        for sent in v["expected"]["messages"]:
            payload = only_frame(unhex(sent["frame"]))
            message = decode(payload)
            check.equal(kinds[message[0]], sent["message"], "sync_exchange")
            check.equal(encode(*message), payload, "sync_exchange")
            if message[0] in ("operation", "live"):
                check.equal(operations.outcome(operations.decode_header, message[1]), "ok", "sync_exchange")


def read_digests(check):
    file = check.file("digest.json")
    for one in file["alpn"]:
        got = keys.digest(one["protocol_id_utf8"].encode() + unhex(one["network_id"]))
        check.equal(got.hex(), one["alpn"], "digest")
    for v in file["states"]:
        value = {unhex(a): {unhex(l): s for l, s in logs.items()} for a, logs in v["inputs"]["heights"].items()}
        encoded = operations.cbor.encode(value)
        check.equal(encoded.hex(), v["expected"]["heights_cbor"], "digest", v["name"])
        check.equal(state(encoded).hex(), v["expected"]["state"], "digest", v["name"])
        for sender, wanted in v["expected"]["frame_by_sender"].items():
            payload = digest_payload(unhex(sender), state(encoded))
            check.equal(frame(payload).hex(), wanted, "digest", v["name"])
            check.equal(digest(payload), payload[4:], "digest", v["name"])
    verdicts(check, file, "digest", lambda payload: ["unknown" if digest(payload) is None else "known"])


def read_announcements(check):
    file = check.file("announcements.json")
    for v in file["messages"]:
        if v["message"] == "prefer":
            message = "prefer", v["rest"], *([unhex(one) for one in v[key]] for key in ("begin", "end"))
        else:
            more = ["check"] if v["message"] == "announce" else []
            entries = [
                (unhex(one["author"]), one["first"], one["last"]) + tuple(unhex(one[key]) for key in more)
                for one in v["entries"]
            ]
            message = v["message"], entries
        both_ways(check, v, message, "announcements")
    verdicts(check, file, "announcements")


def read_pieces(check):
    file = check.file("pieces.json")
    for v in file["messages"]:
        field = v["length"] if v["message"] == "large" else unhex(v["bytes"])
        both_ways(check, v, (v["message"], field), "pieces")
    verdicts(check, file, "pieces")
    for v in file["operations"]:
        messages = [decode(payload) for payload in frames(unhex(v["stream"]))]
        check.equal(messages[0], ("large", v["length"]), "pieces", v["name"])
        check.equal({name for name, *_ in messages[1:]}, {"piece"}, "pieces", v["name"])
        whole = b"".join(one[1] for one in messages[1:])
        check.equal(len(whole), v["length"], "pieces", v["name"])
        body = bytes(i % 251 for i in range(v["body_bytes"]))
        check.equal(decode(whole), ("live", unhex(v["header"]), body), "pieces", v["name"])
