"""discovery.md: messages, salted hashes and the intersection."""

from . import keys, network
from .check import unhex
from .postcard import Invalid, Reader, frame, listed, string

HASHES_MAX, RECORDS_MAX = 4096, 4096


def decode(payload):
    reader = Reader(payload)
    tag = reader.tag()
    if tag == 0:
        out = "salt", reader.raw(32)
    elif tag == 1:
        out = "salt and hashes", reader.raw(32), hashes(reader)
    elif tag == 2:
        out = "hashes", hashes(reader)
    elif tag == 3:
        out = "nodes", nodes(reader)
    else:
        raise Invalid("Tag")
    reader.finish()
    return out


def hashes(reader):
    """2.2: any order, duplicates are one."""
    found = reader.list(lambda: reader.sized(32), 33)
    if len(found) > HASHES_MAX:
        raise Invalid("Limit")
    return set(found)


def nodes(reader):
    """2.3: any order; a repeated node counts as several records."""
    found = reader.list(lambda: (reader.sized(32), network.read_record(reader)), 101)
    if len(found) > RECORDS_MAX:
        raise Invalid("Limit")
    return found


def encode_hashes(found):
    return listed(string(one) for one in sorted(found))


def encode_nodes(found):
    return b"\3" + listed(string(node) + network.encode_record(one) for node, one in sorted(found, key=lambda pair: pair[0]))


def salted(topic, alice, bob, sender):
    return keys.digest(topic + alice + bob + bytes([sender]))


def read(check):
    file = check.file("network-discovery.json")
    fixed, name = file["fixed"], "network-discovery"
    halves = unhex(fixed["alice_half"]), unhex(fixed["bob_half"])
    for one in fixed["hashes"]:
        topic = unhex(one["topic"])
        for sender, key in enumerate(("sent_by_alice", "sent_by_bob")):
            check.equal(salted(topic, *halves, sender).hex(), one[key], name)
    for key, one in file["messages_with_fixed_values"].items():
        payload = unhex(one["postcard"])
        check.equal(frame(payload).hex(), one["framed"], name, key)
        message = decode(payload)
        again = {
            "salt": lambda: b"\0" + message[1],
            "salt and hashes": lambda: b"\1" + message[1] + encode_hashes(message[2]),
            "hashes": lambda: b"\2" + encode_hashes(message[1]),
            "nodes": lambda: encode_nodes(message[1]),
        }[message[0]]()
        check.equal(again, payload, name, key)
    read_session(check, file["captured_session_upstream_alice"], name)
    frames = check.file("network-live-sessions.json")["discovery_initiator_empty_topics"]["frames"]
    kinds = [decode(unhex(one["framed"])[4:])[0] for one in frames]
    check.equal(kinds, ["salt", "salt and hashes", "hashes", "nodes", "nodes"], "network-live-sessions")


def read_session(check, session, name):
    halves = unhex(session["alice_half"]), unhex(session["bob_half"])
    topics = {side: [unhex(one) for one in session[f"{side}_topics"]] for side in ("alice", "bob")}
    sent = sorted(salted(one, *halves, 0).hex() for one in topics["alice"])
    check.equal(sent, session["alice_sent_hashes_sorted"], name)
    from_bob = {salted(one, *halves, 1) for one in topics["bob"]}
    check.equal([one.hex() for one in from_bob], [session["bob_sent_hash"]], name)
    # 3.2: Alice hashes her own topics with Bob's byte.
    common = [one.hex() for one in topics["alice"] if salted(one, *halves, 1) in from_bob]
    check.equal(common, session["alice_result_topics"], name)
    found = decode(unhex(session["alice_nodes_message_postcard"]))[1]
    for node, record in found:
        check.equal(network.judge(record, node, record.timestamp), "ok", name)
