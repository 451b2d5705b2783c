"""Gossip messages (network.md 6.2 and 6.13)."""

from . import keys
from .check import unhex
from .postcard import Invalid, Reader, frame, listed, option, string, varint

NODES_MAX, ADDRESSES_BYTES_MAX = 32, 512


def node(reader):
    key = reader.raw(32)
    if not keys.is_point(key):
        raise Invalid("Key")
    return key


def addresses(reader):
    """Leaves out longer ones."""
    found = reader.option(reader.bytes)
    return found if found is None or len(found) <= ADDRESSES_BYTES_MAX else None


def named(reader):
    return node(reader), addresses(reader)


def all_named(reader):
    count = reader.length()
    if count * 33 > reader.left():
        raise Invalid("Eof")
    if count > NODES_MAX:
        raise Invalid("Nodes")
    return [named(reader) for _ in range(count)]


def tag(reader, *known):
    found = reader.tag()
    if found >= len(known):
        raise Invalid("Tag")
    return known[found]


def decode(payload):
    """The name of a message and its fields in order."""
    reader = Reader(payload)
    if tag(reader, "membership", "broadcast") == "membership":
        message = membership(reader)
    else:
        message = broadcast(reader)
    reader.finish()
    return message


def membership(reader):
    kind = tag(reader, "join", "forward_join", "shuffle", "shuffle_reply", "neighbour", "disconnect")
    if kind == "join":
        return kind, addresses(reader)
    if kind == "forward_join":
        return kind, named(reader), reader.u16()
    if kind == "shuffle":
        return kind, node(reader), all_named(reader), reader.u16()
    if kind == "shuffle_reply":
        return kind, all_named(reader)
    if kind == "neighbour":
        return kind, tag(reader, "high", "low"), addresses(reader)
    alive, _ = reader.bool(), reader.bool()
    return kind, alive


def broadcast(reader):
    kind = tag(reader, "broadcast", "prune", "graft", "announcement")
    if kind == "broadcast":
        id_, content = reader.raw(32), reader.bytes()
        if keys.digest(content) != id_:
            raise Invalid("Id")
        hops = reader.u16() if tag(reader, "everyone", "neighbours") == "everyone" else None
        return kind, id_, content, hops
    if kind == "prune":
        return (kind,)
    if kind == "graft":
        return kind, reader.option(lambda: reader.raw(32)), reader.u16()
    return kind, reader.list(lambda: (reader.raw(32), reader.u16()), 33)


def write_named(one):
    return one[0] + option(None if one[1] is None else string(one[1]))


def encode(message):
    """The payload of a frame."""
    kind, *fields = message
    told = lambda found: option(None if found is None else string(found))
    if kind == "join":
        return b"\0\0" + told(fields[0])
    if kind == "forward_join":
        return b"\0\1" + write_named(fields[0]) + varint(fields[1])
    if kind == "shuffle":
        return b"\0\2" + fields[0] + listed(map(write_named, fields[1])) + varint(fields[2])
    if kind == "shuffle_reply":
        return b"\0\3" + listed(map(write_named, fields[0]))
    if kind == "neighbour":
        return b"\0\4" + bytes([fields[0] == "low"]) + told(fields[1])
    if kind == "disconnect":
        return b"\0\5" + bytes([fields[0], 0])
    if kind == "broadcast":
        id_, content, hops = fields
        return b"\1\0" + id_ + string(content) + (b"\1" if hops is None else b"\0" + varint(hops))
    if kind == "prune":
        return b"\1\1"
    if kind == "graft":
        return b"\1\2" + option(fields[0]) + varint(fields[1])
    return b"\1\3" + listed(id_ + varint(hops) for id_, hops in fields[0])


def encode_addresses(relay, sockets):
    """A node's own addresses: `sockets` are (version, bytes, port)."""
    found = [bytes([version == "v6"]) + ip + varint(port) for version, ip, port in sorted(set(sockets))]
    return option(None if relay is None else string(relay.encode())) + listed(found)


# ---- neutral form of the vectors ----

FIELDS = {"join": ["addresses"], "forward_join": ["joined", "hops"], "shuffle": ["origin", "nodes", "hops"],
          "shuffle_reply": ["nodes"], "neighbour": ["priority", "addresses"], "disconnect": ["alive"],
          "broadcast": ["id", "content", "hops"], "prune": [], "graft": ["id", "hops"], "announcement": ["announced"]}


def neutral(value):
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (list, tuple)):
        return [neutral(one) for one in value]
    return value


def described(message):
    return {"kind": message[0]} | dict(zip(FIELDS[message[0]], map(neutral, message[1:])))


def outcome(payload):
    try:
        return {"message": described(decode(payload))}
    except Invalid as reason:
        return {"error": str(reason)}


def read(check):
    file = check.file("network-gossip.json")
    for v in file["vectors"]:
        payload = unhex(v["payload"])
        got = outcome(payload)
        check.equal(got, {name: v[name] for name in ("message", "error") if name in v}, "network-gossip", v["name"])
        if v.get("is_written_so"):
            check.equal(encode(decode(payload)), payload, "network-gossip", v["name"], "written")
    for v in file["addresses"]:
        sockets = [(one[0], unhex(one[1]), one[2]) for one in v["sockets"]]
        check.equal(encode_addresses(v["relay"], sockets).hex(), v["bytes"], "network-gossip", "addresses")
    overlay = unhex(file["stream"]["topic"])
    check.equal(frame(overlay).hex(), file["stream"]["first_frame"], "network-gossip", "first frame")
