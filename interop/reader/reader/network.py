"""network.md and discovery.md: derivations, records, multicast DNS and discovery."""

import base64
import ipaddress

from . import cbor, keys, sync
from .check import unhex
from .postcard import Invalid, Reader, frame, listed, only_frame, string, varint

MIX = bytes.fromhex("fd06fbd9ade4d7f482b5968edcf431db235ea3c5e55d8fe3613d26ca3ffa1ae9")
AHEAD_MICROS = 10 * 60 * 1_000_000
RECORD_BYTES_MAX, ADDRESSES_MAX, ADDRESS_BYTES_MAX = 2048, 64, 512


class Record:
    """network.md 4: timestamp, counter, signature, endpoint id or none, addresses in order."""

    def __init__(self, timestamp, counter, signature, endpoint, addresses):
        self.timestamp, self.counter, self.signature = timestamp, counter, signature
        self.endpoint, self.addresses = endpoint, addresses
        self.entries, self.size = int(endpoint is not None), 0

    def key(self):
        return self.timestamp, self.counter


def order(address):
    """4.2: relays, IPv4, IPv6, custom; then by value."""
    kind = {"relay": 0, "v4": 1, "v6": 2, "custom": 3}[address[0]]
    if address[0] == "custom":
        return kind, address[1], len(address[2]) > 30, len(address[2]) if len(address[2]) <= 30 else 0, address[2]
    return (kind,) + address[1:]


def socket(text):
    host, _, port = text.rpartition(":")
    ip = ipaddress.ip_address(host.strip("[]"))
    return f"v{ip.version}", ip.packed, int(port)


def read_address(reader):
    tag = reader.tag()
    if tag == 0:
        try:
            return "relay", reader.bytes().decode()
        except UnicodeDecodeError:
            raise Invalid("Utf8") from None
    if tag == 1:
        version = reader.tag()
        if version > 1:
            raise Invalid("Tag")
        return ("v4", reader.raw(4), reader.u16()) if version == 0 else ("v6", reader.raw(16), reader.u16())
    if tag == 2:
        return "custom", reader.u64(), reader.bytes()
    raise Invalid("Tag")


def read_record(reader):
    begin = reader.at
    timestamp, counter, signature = reader.u64(), reader.u64(), reader.sized(64)

    def entry():
        if reader.tag() != 0:
            raise Invalid("Tag")
        return reader.raw(32), reader.list(lambda: read_address(reader))

    entries = reader.list(entry, 34)
    endpoint, addresses = entries[0] if entries else (None, [])
    # A set: repeated addresses count once, in any order.
    record = Record(timestamp, counter, signature, endpoint, sorted(set(addresses), key=order))
    record.entries, record.size, record.given = len(entries), reader.at - begin, addresses
    return record


def encode_address(address):
    kind, *rest = address
    if kind == "relay":
        return b"\0" + string(rest[0].encode())
    if kind == "custom":
        return b"\2" + varint(rest[0]) + string(rest[1])
    return b"\1" + (b"\0" if kind == "v4" else b"\1") + rest[0] + varint(rest[1])


def encode_record(record):
    out = varint(record.timestamp) + varint(record.counter) + string(record.signature)
    if record.endpoint is None:
        return out + b"\0"
    return out + b"\1\0" + record.endpoint + listed(map(encode_address, record.addresses))


def signed_address(address):
    kind, *rest = address
    if kind == "relay":
        return {"Relay": rest[0]}
    if kind == "custom":
        return {"Custom": {"id": rest[0], "data": rest[1]}}
    return {"Ip": {kind.upper(): [list(rest[0]), rest[1]]}}


def signed_record(record):
    """4.3."""
    entries = []
    if record.endpoint is not None:
        addresses = [signed_address(one) for one in record.addresses]
        entries = [{"Iroh": {"id": list(record.endpoint), "addrs": addresses}}]
    return cbor.encode({"addresses": entries, "timestamp": [record.timestamp, record.counter]})


def judge(record, node, now, any_time=False):
    """4.6 and 4.8: `ok`, or why a record is refused; the signature last."""
    lengths = [len(one[1].encode()) if one[0] == "relay" else len(one[2]) for one in record.addresses
               if one[0] in ("relay", "custom")]
    beyond = record.size > RECORD_BYTES_MAX or len(record.given) > ADDRESSES_MAX or record.entries > 1
    if beyond or any(one > ADDRESS_BYTES_MAX for one in lengths):
        return "TooLarge"
    if record.endpoint not in (None, node):
        return "ForeignEndpoint"
    if not any_time and record.timestamp > now + AHEAD_MICROS:
        return "Future"
    return "ok" if keys.verify(node, signed_record(record), record.signature) else "InvalidSignature"


def contest(stored, taken_at, record, node, handed, began, now):
    """4.7 and 4.10: whether a record replaces the stored one."""
    later = stored is None or record.key() > stored.key()
    if not later and (not handed or began < taken_at):
        return "kept"
    data = encode_record(record)
    verdict = judge(whole_record(data), node, now, handed)
    return "taken" if verdict == "ok" else verdict


def user_data(record, relay):
    text = f"{record.signature.hex()}|{record.timestamp}/{record.counter}"
    return text + (f"|{relay}" if relay else "")


def read(check):
    file = check.file("network-derivations.json")
    for network in file["alpn"]:
        for one in network["alpns"]:
            got = keys.digest(one["protocol_id_utf8"].encode() + unhex(network["network_id"]))
            check.equal(got.hex(), one["alpn"], "network-derivations", one["name"])
    check.equal(MIX.hex(), file["sync_gossip_mix_value"], "network-derivations")
    for one in file["gossip_topics"]:
        topic = unhex(one["topic"])
        check.equal(one["ephemeral_gossip_topic"], topic.hex(), "network-derivations")
        check.equal(keys.digest(topic + MIX).hex(), one["sync_membership_gossip_topic"], "network-derivations")
    read_records(check)
    read_mdns(check)
    read_live_sessions(check)
    read_made(check)


def whole_record(data):
    reader = Reader(data)
    record = read_record(reader)
    reader.finish()
    return record


def read_records(check):
    file = check.file("network-transport-info.json")
    for v in file["cases"]:
        name, node = v["name"], unhex(v["node_id"])
        data = unhex(v["authenticated_postcard"])
        record = whole_record(data)
        check.equal(encode_record(record), data, "network-transport-info", name)
        check.equal(signed_record(record).hex(), v["signed_payload_cbor"], "network-transport-info", name)
        check.equal(judge(record, node, record.timestamp), "ok", "network-transport-info", name)
        check.equal(record.signature.hex(), v["signature"], "network-transport-info", name)
        given = sorted(map(socket, v["ip_addrs_given"]), key=order)
        relays = [("relay", v["relay_url_normalised"])] if v["relay_url_normalised"] else []
        check.equal(record.addresses, relays + given, "network-transport-info", name)
        if v.get("mdns_user_data"):
            relay = v["relay_url_normalised"]
            check.equal(user_data(record, relay), v["mdns_user_data"], "network-transport-info", name)
    foreign = file["foreign_endpoint_id"]
    got = judge(whole_record(unhex(foreign["postcard"])), unhex(foreign["signer"]), 5)
    check.equal(got, "ForeignEndpoint", "network-transport-info")  # 10.2
    custom = file["transport_address_custom_postcard"]
    data = unhex(custom if isinstance(custom, str) else custom.get("postcard"))
    reader = Reader(data)
    check.equal(encode_address(read_address(reader)), data, "network-transport-info")


def read_made(check):
    file, name = check.file("network-records.json"), "network-records"
    for v in file["vectors"]:
        record = whole_record(unhex(v["record"]))
        got = judge(record, unhex(v["node"]), v["now"], v["handed_over"])
        check.equal(got, v["verdict"], name, v["name"])
        kept = encode_record(record).hex() if got == "ok" else None
        check.equal(kept, v["kept"], name, v["name"])
    for v in file["contests"]:
        stored, taken_at = None, 0
        for step in v["steps"]:
            record, handed = whole_record(unhex(step["record"])), step["how"] == "handed"
            got = contest(stored, taken_at, record, unhex(v["node"]), handed, step["began"], v["now"])
            check.equal(got, step["outcome"], name, v["name"])
            if got == "taken":
                stored, taken_at = record, step["at"]
        check.equal(list(stored.key()), v["stored"], name, v["name"])


class Packet:
    """A packet of multicast DNS (5.3)."""

    def __init__(self, data):
        self.data, self.at = data, 12
        numbers = [int.from_bytes(data[i : i + 2], "big") for i in range(0, 12, 2)]
        self.id, self.flags, questions, *counts = numbers
        self.questions = [(self.name(), self.number(), self.number()) for _ in range(questions)]
        self.sections = [[self.record() for _ in range(count)] for count in counts]

    def number(self, size=2):
        self.at += size
        if self.at > len(self.data):
            raise Invalid("Eof")
        return int.from_bytes(self.data[self.at - size : self.at], "big")

    def name(self):
        """Pointers lead to an earlier place only; at most 255 bytes."""
        labels, place, behind, size = [], self.at, None, 1
        while True:
            if place >= len(self.data):
                raise Invalid("Eof")
            count = self.data[place]
            if count >= 192:
                target = int.from_bytes(self.data[place : place + 2], "big") & 0x3FFF
                behind = place + 2 if behind is None else behind
                if target >= place:
                    raise Invalid("Pointer")
                place = target
                continue
            size += count + 1
            if size > 256 or place + 1 + count > len(self.data):
                raise Invalid("Name")
            place += 1 + count
            if count == 0:
                self.at = place if behind is None else behind
                return ".".join(labels).lower()
            labels.append(self.data[place - count : place].decode("latin-1"))

    def record(self):
        name, kind, _, _, size = self.name(), self.number(), self.number(), self.number(4), self.number()
        end = self.at + size
        if kind == 33:  # SRV
            value = self.number(), self.number(), self.number(), self.name()
        elif kind == 12:  # PTR
            value = self.name()
        else:
            value = self.data[self.at : end]
        self.at = end
        return name, kind, value


SERVICE = "_p2pandav1._udp.local"


def announcement(packet):
    """5.3 and 5.4: the node and its record, rebuilt from the packet."""
    answers, _, additional = packet.sections
    label = next(value for name, kind, value in answers if kind == 12 and name == SERVICE).split(".")[0]
    node = base64.b32decode(label.upper() + "=" * (-len(label) % 8))
    instance = f"{label}.{SERVICE}"
    addresses, texts = [], []
    for name, kind, value in answers:
        if name == instance and kind == 33:
            for target, type_, raw in additional:
                if target == value[3] and type_ in (1, 28):
                    addresses.append(("v4" if type_ == 1 else "v6", raw, value[2]))
        elif name == instance and kind == 16:
            while value:
                texts.append(value[1 : 1 + value[0]].decode())
                value = value[1 + value[0] :]
    data = next(text for text in texts if text.startswith("user-data=")).removeprefix("user-data=")
    signature, time, *relay = data.split("|")
    micros, counter = map(int, time.split("/"))
    addresses += [("relay", url) for url in relay]
    addresses.sort(key=order)
    return node, Record(micros, counter, unhex(signature), node if addresses else None, addresses), texts


def read_mdns(check):
    file = check.file("network-mdns.json")
    for data in file["query"]:
        packet = Packet(unhex(data))
        check.equal((packet.id, packet.flags), (0, 0), "network-mdns")
        check.equal(packet.questions, [(SERVICE, 12, 1)], "network-mdns")
    for place, data in enumerate(file["responses"]):
        packet = Packet(unhex(data))
        check.equal((packet.id, packet.flags), (0, 0x8400), "network-mdns")
        node, record, texts = announcement(packet)
        check.equal(keys.verify(node, signed_record(record), record.signature), True, "network-mdns")
        if place == 0:
            wanted = file["response_1"]
            check.equal(node.hex(), wanted["node_id"], "network-mdns")
            check.equal(record.addresses, sorted(map(socket, wanted["addresses"]), key=order), "network-mdns")
            check.equal(texts, wanted["txt"], "network-mdns")
            check.equal(len(unhex(data)), wanted["packet_length"], "network-mdns")


def read_live_sessions(check):
    """Frames of a live 0.7.1 node: each decodes, and encodes to the same bytes."""
    file = check.file("network-live-sessions.json")
    session = file["log_sync_session_topic_0505"]
    for key in session["stream_1_handshake"], file["log_sync_unknown_topic_7777"]["frames"]:
        names = [sync.handshake(only_frame(unhex(one["framed"])))[0] for one in key]
        check.equal(names, ["topic", "done", "done"], "network-live-sessions")
    for one in session["stream_2_sync"]:
        payload = only_frame(unhex(one["framed"]))
        check.equal(sync.encode(*sync.decode(payload)), payload, "network-live-sessions")
    names = [sync.decode(only_frame(unhex(one["framed"])))[0] for one in session["stream_2_sync"]]
    check.equal(names[-1], "close", "network-live-sessions")
    check.equal(names.count("done"), 2, "network-live-sessions")
    for one in file["discovery_initiator_empty_topics"]["frames"]:
        payload = only_frame(unhex(one["framed"]))
        check.equal(frame(payload).hex(), one["framed"], "network-live-sessions")
