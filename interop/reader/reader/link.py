"""link.md 2 to 4, 10 and 12: names under a link secret, control messages, openings, receipts, blocked logs."""

from . import discovery, keys, network
from .check import unhex
from .postcard import Invalid, Reader, frame, listed, only_frame, option, string, varint

GOSSIP_BYTES_MAX, OPENING_BYTES_MAX, WAIT_SECONDS_MAX = 4096, 64, 300
BLOCKED_ENTRIES_MAX = 256


class Limit(Invalid):
    """More than is allowed, which ends the link with another code."""


def name(secret, what, side, topic):
    return keys.keyed(secret, what + (bytes([side]) if side is not None else b"") + topic)


def tags(reader):
    return reader.list(lambda: reader.raw(16), 16)


def blocked(reader):
    """12.1: an entry."""
    label = lambda: reader.option(lambda: reader.raw(32))
    return reader.raw(32), label(), reader.option(lambda: (reader.u32(), reader.u32()))


def control(payload):
    """3.2: a control message; `skipped` for an unknown tag from 17 on."""
    reader = Reader(payload)
    tag = reader.tag()
    if tag >= 17:
        return ("skipped",)
    if tag == 0:
        out = "hello", reader.u32(), reader.raw(16), reader.option(lambda: network.read_record(reader))
        if out[1] == 0:
            raise Invalid("Version")
    elif tag == 1:
        out = "interest", reader.bool(), tags(reader), tags(reader)
    elif tag == 2:
        out = ("ask",)
    elif tag == 3:
        more = reader.bool()
        records = reader.list(lambda: (reader.sized(32), network.read_record(reader)), 101)
        member = lambda: (reader.raw(16), reader.list(reader.u32))
        out = "nodes", more, records, reader.list(member, 17)
    elif tag == 4:
        out = "gossip", reader.raw(16), reader.bytes()
        if len(out[2]) > GOSSIP_BYTES_MAX:
            raise Limit("Gossip")
    elif tag == 5:
        out = "farewell", reader.u32()
    elif tag == 6:
        out = "confirm", reader.raw(16), reader.option(lambda: reader.raw(32)), reader.u32()
    elif tag == 7:
        out = "stored", reader.raw(16), reader.option(lambda: reader.raw(32)), reader.u32(), reader.raw(8)
    elif tag == 16:
        out = "blocked", reader.raw(16), reader.list(lambda: blocked(reader), 34)
        if len(out[2]) > BLOCKED_ENTRIES_MAX:
            raise Limit("Blocked")
    else:
        raise Invalid("Reserved")
    reader.finish()
    return out


def encode(kind, *fields):
    if kind == "hello":
        record = fields[2] and network.encode_record(fields[2])
        return b"\0" + varint(fields[0]) + fields[1] + option(record)
    if kind == "interest":
        return b"\1" + bytes([fields[0]]) + listed(fields[1]) + listed(fields[2])
    if kind == "ask":
        return b"\2"
    if kind == "nodes":
        members = listed(tag + listed(map(varint, places)) for tag, places in fields[2])
        return b"\3" + bytes([fields[0]]) + discovery.encode_nodes(fields[1])[1:] + members
    if kind == "gossip":
        return b"\4" + fields[0] + string(fields[1])
    if kind == "farewell":
        return b"\5" + varint(fields[0])
    if kind == "confirm":
        return b"\6" + fields[0] + option(fields[1]) + varint(fields[2])
    if kind == "blocked":
        block = lambda at: option(at and varint(at[0]) + varint(at[1]))
        return b"\x10" + fields[0] + listed(who + option(label) + block(at) for who, label, at in fields[1])
    return b"\7" + fields[0] + option(fields[1]) + varint(fields[2]) + fields[3]


def opening(payload):
    """4.1 and 4.5."""
    reader = Reader(payload)
    tag = reader.tag()
    if tag == 0:
        out = "open", reader.raw(16), reader.raw(32)
    elif tag == 1:
        out = "accept", reader.raw(32)
    elif tag == 2:
        reason, wait = reader.u32(), reader.u32()
        out = "refuse", reason if reason < 3 else 1, min(wait, WAIT_SECONDS_MAX)
    else:
        raise Invalid("Tag")
    reader.finish()
    return out


def encode_opening(kind, *fields):
    if kind == "refuse":
        return b"\2" + varint(fields[0]) + varint(fields[1])
    return (b"\0" if kind == "open" else b"\1") + b"".join(fields)


class Receipts:
    """10.3: what the side that is asked does."""

    def __init__(self):
        self.wanted, self.told, self.looking = None, None, False

    def confirm(self, height):
        if self.told is not None and height <= self.told:
            return []
        self.wanted = height
        if self.looking:
            return []
        self.looking = True
        return [{"want": self.told}]

    def found(self, height):
        self.looking = False
        if height is None:
            self.wanted = None
            return []
        out, self.told = [{"stored": height}], height
        if height < self.wanted:
            self.looking = True
            out.append({"want": height})
        return out


def read(check):
    file = check.file("link.json")
    for one in file["alpn"]:
        got = keys.digest(one["protocol_id_utf8"].encode() + unhex(one["network_id"]))
        check.equal(got.hex(), one["alpn"], "link")
    for v in file["names"]:
        secret, topic = unhex(v["secret"]), unhex(v["id"])
        for side, key in enumerate(("dialler", "acceptor")):
            check.equal(name(secret, b"interest", side, topic)[:16].hex(), v[key]["tag"], "link", v["name"])
            check.equal(name(secret, b"topic", side, topic).hex(), v[key]["proof"], "link", v["name"])
        check.equal(name(secret, b"ranges", None, topic).hex(), v["binding"], "link", v["name"])
    for v in file["control"]:
        read_control(check, v, "link")
    judge(check, file["control_payloads"], control, "link")
    for v in file["opening"]:
        payload, kind = only_frame(unhex(v["frame"])), v["message"]
        numbers = [v["reason"], v["wait_seconds"]] if kind == "refuse" else []
        fields = numbers or [unhex(v[key]) for key in ("tag", "proof") if key in v]
        check.equal(opening(payload), (kind, *fields), "link", v["name"])
        check.equal(encode_opening(kind, *fields), payload, "link", v["name"])
    judge(check, file["opening_payloads"], opening, "link")
    for v in file["opening_lengths"]:
        length = int.from_bytes(unhex(v["length"]), "big")
        got = "payload" if 0 < length <= OPENING_BYTES_MAX else "invalid"
        check.equal(got, v["verdict"], "link", v["length"])
    file = check.file("receipts.json")
    for v in file["messages"]:
        read_control(check, v, "receipts")
    judge(check, file["payloads"], control, "receipts")
    for v in file["exchanges"]:
        side = Receipts()
        for step in v["steps"]:
            (kind, height), = step["give"].items()
            got = side.confirm(height) if kind == "confirm" else side.found(height)
            check.equal(got, step["out"], "receipts", v["name"])


    file = check.file("blocked.json")
    for v in file["messages"]:
        read_control(check, v, "blocked")
    judge(check, file["payloads"], control, "blocked")


def judge(check, payloads, decode, name):
    for v in payloads:
        try:
            got = decode(unhex(v["payload"]))
            if "reason" in v:
                check.equal(list(got[1:]), [v["reason"], v["wait_seconds"]], name, v["name"])
            got = got[0]
        except Invalid:
            got = "invalid"
        check.equal(got, v["verdict"], name, v["name"])


def read_control(check, v, name):
    payload, kind = only_frame(unhex(v["frame"])), v["message"]
    message = control(payload)
    check.equal(message[0], kind, name, v["name"])
    check.equal(encode(*message), payload, name, v["name"])
    check.equal(frame(payload).hex(), v["frame"], name, v["name"])
    if kind == "hello":
        record = message[3] and network.encode_record(message[3]).hex()
        check.equal([message[1], message[2].hex(), record], [v["version"], v["instance"], v["record"]], name)
    elif kind == "interest":
        got = [message[1], [one.hex() for one in message[2]], [one.hex() for one in message[3]]]
        check.equal(got, [v["more"], v["begun"], v["ended"]], name, v["name"])
    elif kind == "nodes":
        records = [{"node": n.hex(), "record": network.encode_record(r).hex()} for n, r in message[2]]
        members = [{"tag": tag.hex(), "places": places} for tag, places in message[3]]
        check.equal([message[1], records, members], [v["more"], v["records"], v["members"]], name, v["name"])
    elif kind == "gossip":
        check.equal([one.hex() for one in message[1:]], [v["overlay"], v["bytes"]], name, v["name"])
    elif kind == "farewell":
        check.equal(message[1], v["reason"], name, v["name"])
    elif kind in ("confirm", "stored"):
        label = unhex(v["label"]) if "label" in v else None
        wanted = [unhex(v["overlay"]), label, v["height"]] + ([unhex(v["check"])] if kind == "stored" else [])
        check.equal(list(message[1:]), wanted, name, v["name"])
    elif kind == "blocked":
        entries = [{"author": who.hex(), "label": label and label.hex(), "at": at and list(at)} for who, label, at in message[2]]
        check.equal([message[1].hex(), entries], [v["overlay"], v["entries"]], name, v["name"])
