"""Records of network.md 4.2 to 4.10: what is refused, in which order addresses are signed, and who wins."""

from reader import keys, network
from reader.network import Record

from .operations import MICROS, head

SEED, OTHER = b"\1" * 32, b"\2" * 32
NODE = keys.public(SEED)
MINUTE = 60_000_000


def record(addresses=(), timestamp=MICROS, counter=0, seed=SEED, endpoint=NODE, signed_order=None):
    out = Record(timestamp, counter, b"", endpoint if addresses else None, list(addresses))
    out.addresses = sorted(set(addresses), key=network.order) if signed_order is None else signed_order
    out.signature = keys.sign(seed, network.signed_record(out))
    out.addresses = list(addresses)
    return out


def v4(*numbers, port=4001):
    return "v4", bytes(numbers), port


def records():
    cases = []

    def put(name, description, data, now=MICROS, handed=False):
        data = data if isinstance(data, bytes) else network.encode_record(data)
        read = network.whole_record(data)
        verdict = network.judge(read, NODE, now, handed)
        kept = network.encode_record(read).hex() if verdict == "ok" else None
        cases.append({"name": name, "description": description, "record": data.hex(), "node": NODE.hex(), "now": now,
                      "handed_over": handed, "verdict": verdict, "kept": kept})

    one, two = v4(127, 0, 0, 1), v4(10, 0, 0, 5)
    put("no_address", "The smallest record", record())
    put("one_address", "An IPv4 address", record([one]))
    for name, ahead in (("ten_minutes_ahead", 10 * MINUTE), ("a_microsecond_more", 10 * MINUTE + 1)):
        put(name, "The limit is inclusive", record([one], MICROS + ahead))
        put(f"{name}_handed_over", "From the signer itself any time counts", record([one], MICROS + ahead), handed=True)
    put("year_zero", "However old", record([one], 0))
    put("end_of_time", "The highest timestamp", record([one], 2**64 - 1, 2**64 - 1))
    put("end_of_time_handed_over", "The highest timestamp", record([one], 2**64 - 1, 2**64 - 1), handed=True)
    every = [("relay", "https://a.example/"), ("relay", "https://b.example/"), v4(9, 0, 0, 1, port=6), v4(10, 0, 0, 1, port=5),
             v4(10, 0, 0, 1, port=6), ("v6", bytes(15) + b"\1", 7), ("v6", bytes.fromhex("20010db8") + bytes(12), 1),
             ("custom", 1, b"\xff"), ("custom", 1, b"\0\0"), ("custom", 1, bytes(31)), ("custom", 300, b"")]
    put("every_kind", "All kinds in their order", record(every))
    put("reversed", "Any order on the wire; the signature is over the order of 4.2", record(every[::-1]))
    put("repeated", "A repeated address counts once", record([one, two, one]))
    put("signed_in_another_order", "A signature over another order is not valid",
        record([one, two], signed_order=[one, two]))
    put("url_not_normal", "A URL is taken as it was received", record([("relay", "HTTPS://Relay.Example:443")]))
    put("url_512", "The longest URL", record([("relay", "x" * 512)]))
    put("url_513", "One byte more", record([("relay", "x" * 513)]))
    put("custom_512", "The longest custom address", record([("custom", 7, bytes(512))]))
    put("custom_513", "One byte more", record([("custom", 7, bytes(513))]))
    many = [v4(10, 0, 0, n) for n in range(65)]
    put("addresses_64", "As many as there may be", record(many[:64]))
    put("addresses_65", "One more", record(many))
    put("addresses_65_repeated", "Repeated ones count here", record(many[:64] + many[:1]))
    for total in (2048, 2049):
        fill = [("relay", "a" * 500), ("relay", "b" * 500), ("relay", "c" * 500)]
        missing = total - len(network.encode_record(record(fill))) - 3
        put(f"bytes_{total}", f"A record of {total} bytes", record(fill + [("relay", "d" * missing)]))
    data = network.encode_record(record([one]))
    at = data.index(b"\1\0" + NODE)
    put("two_entries", "Two entries of the same transport", data[:at] + b"\2" + data[at + 1 :] * 2)
    put("foreign_endpoint", "The endpoint id of another node", record([one], endpoint=keys.public(OTHER)))
    put("foreign_signature", "Signed by another node", record([one], seed=OTHER))
    changed = bytearray(data)
    changed[-1] ^= 1
    put("port_changed", "A changed port", bytes(changed))
    other = record([one])
    other.counter = 1
    put("counter_changed", "A changed counter", other)
    return head("network.md 4.2 to 4.8 and 4.10. `vectors`: a record in the form of 4.4, with the clock of the receiver and whether "
                "the signer hands it over; `ok` or why it is refused, and the record as it is passed on. `contests`: records of one "
                "node with increasing `at` (microseconds of a run), told by others or handed over in a session that began at `began`; "
                "`taken`, `kept` (the stored one stays) or why it is refused, and the timestamp that is stored in the end",
                "network.md", cases, contests=contests())


def contests():
    out = []

    def put(name, description, *steps):
        stored, taken_at, written = None, 0, []
        for at, (how, micros, counter, *began) in enumerate(steps, 1):
            rec = record([v4(10, 0, 0, at)], micros, counter)
            began = began[0] if began else at * 1000 - 1
            outcome = network.contest(stored, taken_at, rec, NODE, how == "handed", began, MICROS)
            if outcome == "taken":
                stored, taken_at = rec, at * 1000
            written.append({"at": at * 1000, "how": how, "began": began if how == "handed" else None,
                            "record": network.encode_record(rec).hex(), "outcome": outcome})
        out.append({"name": name, "description": description, "node": NODE.hex(), "now": MICROS, "steps": written,
                    "stored": list(stored.key())})

    t = MICROS
    put("later_wins", "The strictly greater timestamp wins", ("told", t, 0), ("told", t + 1, 0), ("told", t, 5))
    put("equal_stays", "With equal timestamps the stored one stays", ("told", t, 3), ("told", t, 3), ("told", t, 2))
    put("counter_decides", "The counter is the second part", ("told", t, 3), ("told", t, 4))
    put("ahead_by_hearsay", "More than 10 minutes ahead", ("told", t, 0), ("told", t + 11 * MINUTE, 0))
    put("handed_over_older", "The signer's word replaces a later record", ("told", t + 5 * MINUTE, 0), ("handed", t - MINUTE, 0))
    put("handed_over_ahead", "Whatever its time", ("handed", t + 100 * MINUTE, 0), ("told", t + 1, 0), ("handed", t, 0))
    put("overlapping_sessions", "The stored one came after the session began: the later one wins",
        ("handed", t + 2, 0), ("handed", t + 1, 0, 500), ("handed", t + 3, 0, 500))
    return out


FILES = {"network-records.json": records}
