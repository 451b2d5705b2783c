"""Vectors of operations.md for which 0.7.1 has no verdict or another one."""

from reader import cbor, keys, network, operations
from reader.keys import L, P

from reader import curve

SEED, OTHER = b"\x01" * 32, b"\x02" * 32
TOPIC = b"\x07" * 32
MICROS = 1_780_572_316_919_000
MADE = "interop/reader/make.py, from docs/protocol/"


def scalar(name):
    return int.from_bytes(keys.digest(name.encode()), "little") % L


def fill(number):
    return number.to_bytes(32, "little")


def signature_case(name, description, key, message, signature):
    plain = curve.plain(key, message, signature) if curve.decompress(key) else False
    return {
        "name": name, "description": description, "verifying_key": key.hex(), "message": message.hex(),
        "signature": signature.hex(), "key_parses": keys.is_point(key),
        "valid": keys.verify(key, message, signature),
        "plain": plain, "cofactored": curve.cofactored(key, message, signature),
    }


def search(make, fits):
    """The first message of a row for which the challenge fits."""
    for n in range(1000):
        message = b"cofactor%d" % n
        r, key = make(message)
        if fits(curve.challenge(r, key, message)):
            return message, r, key
    raise ValueError


def signatures():
    """operations.md 1.2: what strict is, where readings of RFC 8032 differ."""
    points = curve.torsion()
    a, r = scalar("key"), scalar("nonce")
    honest = curve.times(a, curve.BASE)
    key, nonce = curve.compress(honest), curve.times(r, curve.BASE)
    cases = []

    def signed(name, description, key, big_r, message, s):
        cases.append(signature_case(name, description, key, message, big_r + fill(s % L)))

    mixed = curve.compress(curve.add(honest, points[1]))
    for name, rest, says in (("refused", False, "no multiple of 8"), ("accepted", True, "a multiple of 8")):
        message, big_r, one = search(lambda _: (curve.compress(nonce), mixed), lambda k: (k % 8 == 0) == rest)
        s = r + curve.challenge(big_r, one, message) * a
        signed(f"mixed_key_{name}", f"A key with a part of order 8; the challenge is {says}", one, big_r, message, s)
    big_r = curve.compress(curve.add(nonce, points[1]))
    s = r + curve.challenge(big_r, key, b"panda") * a
    signed("mixed_r", "R has a part of order 8", key, big_r, b"panda", s)
    message, big_r, one = search(lambda _: (big_r, mixed), lambda k: k % 8 == 7)
    s = r + curve.challenge(big_r, one, message) * a
    signed("mixed_both", "Key and R have parts of order 8 that cancel out", one, big_r, message, s)
    for n, point in enumerate(points):
        big_r = curve.compress(point)
        s = curve.challenge(big_r, key, b"panda") * a
        signed(f"small_r_{n}", f"R is {n} times a point of order 8", key, big_r, b"panda", s)
    for n, point in enumerate(points):
        one = curve.compress(point)
        message, big_r, one = search(lambda _: (curve.compress(nonce), one), lambda k: k % 8 == 0)
        signed(f"small_key_{n}", f"The key is {n} times a point of order 8", one, big_r, message, r)
    message, big_r, one = search(lambda _: (fill(P + 1), key), lambda k: True)
    s = curve.challenge(big_r, one, message) * a
    signed("r_identity_not_canonical", "R is the neutral element, written as y = p + 1", one, big_r, message, s)
    for y in (P, P + 1, P + 1 | 1 << 255, P - 1 | 1 << 255):
        one = fill(y)
        signed(f"key_{one[:1].hex()}_{one[31:].hex()}", "A key of small order in an encoding that is not canonical",
               one, curve.compress(nonce), b"panda", r)
    y = next(y for y in range(2, 19) if curve.decompress(fill(y)))
    one = fill(P + y)
    signed("key_not_canonical", f"A key of large order with y = p + {y}: it parses", one, curve.compress(nonce), b"panda", r)
    good = keys.sign(SEED, b"panda")
    for name, s in (("s_plus_l", int.from_bytes(good[32:], "little") + L), ("s_all_ones", 2**256 - 1)):
        cases.append(signature_case(name, "S is not below L", keys.public(SEED), b"panda", good[:32] + fill(s)))
    cases.append(signature_case("honest", "An ordinary signature", keys.public(SEED), b"panda", good))
    return head("operations.md 1.2 and 1.3. `valid` is the verdict of the page. `plain` is that of the equation "
                "SB = R + kA without any refusal but with R compared as bytes, `cofactored` that of 8SB = 8R + 8kA "
                "with S of any size; neither is a verdict", "operations.md", cases)


def head(description, page, cases, key="vectors", **more):
    return {"format": 1, "description": description, "generator": MADE + page} | more | {key: cases}


def read_as(signed, signature):
    """The verdict of a receiver that takes these signed bytes for another kind."""
    out = {"operation": "no", "ephemeral": "no", "record": "no"}
    if len(signed) >= 36 and signed[0] >> 5 == 4 and signed[0] & 31 < 23:
        message = bytes([signed[0] + 1]) + signed[1:36] + cbor.encode(signature) + signed[36:]
        out["operation"] = operations.outcome(operations.decode_header, message)
        out["ephemeral"] = operations.outcome(operations.open_ephemeral, message)
    try:
        value = cbor.decode(signed)
        if isinstance(value, cbor.Map) and [name for name, _ in value.pairs] == ["addresses", "timestamp"]:
            out["record"] = "ok"
    except cbor.Invalid:
        pass
    return out


def signed_bytes():
    """operations.md 1.8: no kind of signed bytes reads as another."""
    cases = []

    def put(kind, name, description, signed, seed=SEED):
        signature = keys.sign(seed, signed)
        cases.append({"name": name, "kind": kind, "description": description, "signing_key": seed.hex(),
                      "signed_bytes": signed.hex(), "signature": signature.hex(),
                      "reads_as": read_as(signed, signature)})

    node = operations.encode_extensions(keys.digest(TOPIC), MICROS)
    shapes = [("", b"", None), ("_extensions", b"", node), ("_integer_extensions", b"", b"\x07"),
              ("_body", b"\x61", None), ("_body_extensions", b"\x61", node)]
    for seq in (0, 5):
        for name, body, extensions in shapes:
            backlink = b"\x03" * 32 if seq else None
            signed, _, _ = operations.build_header(SEED, body, seq, backlink, extensions)
            put("operation", f"operation_seq_{seq}{name}", "The header of an operation", signed)
    signed, _, _ = operations.build_header(SEED, b"", 0, b"\x02" * 32, None)
    put("operation", "operation_seq_0_backlink", "Decodes as a header whose extensions are 32 bytes", signed)
    for micros in (0, 1, 2**32 - 1, 2**32, MICROS):
        for counter in (0, 2**32):
            for name, body in (("text", cbor.encode("hello")), ("hash", cbor.encode(b"\x03" * 32))):
                _, signed, _ = operations.seal_ephemeral(SEED, micros, counter, body)
                put("ephemeral", f"ephemeral_{micros}_{counter}_{name}",
                    "An ephemeral message; nobody signs one with timestamp 0" if micros == 0
                    else "An ephemeral message", signed)
    for name, addresses in (("empty", []), ("one", [("v4", bytes([127, 0, 0, 1]), 4001)])):
        record = network.Record(MICROS, 0, b"", keys.public(SEED) if addresses else None, addresses)
        put("record", f"record_{name}", "An address record, and its announcement by multicast DNS",
            network.signed_record(record))
    for side in ("client", "server"):
        signed = b" " * 64 + f"TLS 1.3, {side} CertificateVerify".encode() + b"\0" + keys.digest(b"transcript")
        put("tls", f"tls_{side}", "CertificateVerify of TLS 1.3 (RFC 8446, 4.4.3)", signed)
    arguments = cbor.encode({"action": {"Remove": {"member": {"Individual": keys.public(OTHER)}}},
                             "dependencies": [], "group_id": keys.public(b"\3" * 32)})
    put("group_operation", "group_operation", "An operation on a group inside a sealed space",
        b"p2panda group operation v1" + keys.public(SEED) + arguments)
    login = ("p2panda rpc login 1", f"node: {keys.public(OTHER).hex()}", "authority: localhost:7070", f"client: {b'c'.hex() * 32}",
             f"server: {b's'.hex() * 32}", "expires: 1780572316", "")
    put("login", "rpc_login", "The login of a program at an RPC, by a key that may sign operations as well", "\n".join(login).encode())
    put("request", "space_request", "A request of somebody who has an invite, by a key that is no node's",
        b"p2panda space request v1" + keys.digest(b"space") + keys.public(SEED) + keys.digest(b"bundle"), OTHER)
    prekey, xwing = keys.digest(b"pre-key"), keys.digest(b"x-wing") * 38
    put("pre_key", "pre_key", "The 32 bytes that XEdDSA signs in a key bundle, by a key that is no node's",
        prekey, OTHER)
    hybrid = b"p2panda hybrid bundle" + prekey + prekey + xwing + bytes(16) + b"\1\2"
    put("pre_key", "hybrid_bundle", "What XEdDSA signs in a bundle of suite 2, by a key that is no node's",
        hybrid, OTHER)
    return head("operations.md 1.8. Each entry has bytes that somebody signs, and what a receiver says that reads "
                "bytes and signature as those of an operation (the signature put behind the key), of an ephemeral "
                "message (the same) or of a record (`ok`: a map of addresses and timestamp; `no`: not of the form)",
                "operations.md", cases)


def dependencies():
    """operations.md 7.8 and 7.9."""
    log, named = keys.digest(TOPIC), keys.derive_key("p2panda named log id v1", TOPIC + keys.digest(b"photos"))
    name = keys.digest(b"photos")
    authors = sorted(keys.public(bytes([n]) * 32) for n in range(1, 19))
    entry = lambda n, log_id=None: (authors[n], log_id, n * 300, keys.digest(b"operation %d" % n))
    neutral = lambda deps: [{"author": a.hex(), "log_id": l and l.hex(), "seq": s, "id": i.hex()} for a, l, s, i in deps]
    cases = []

    def good(title, description, deps, of_log=None):
        item = operations.encode_extensions(named if of_log else log, MICROS, False, deps, of_log)
        cases.append({"name": title, "description": description, "extensions": item.hex(),
                      "dependencies": neutral(deps), "log_name": of_log and of_log.hex(), "written": True})

    def other(title, description, item):
        read = operations.decode_extensions(cbor.decode(item, cbor.HEADER))
        cases.append({"name": title, "description": description, "extensions": item.hex(),
                      "dependencies": neutral(read.deps), "log_name": read.name and read.name.hex(),
                      "written": item == operations.encode_extensions(
                          read.log_id, read.timestamp, read.prune, read.deps, read.name)})

    good("none", "No dependency: the element is left out", [])
    good("one", "One head of another author", [entry(0)])
    good("sixteen", "As many as there may be", [entry(n) for n in range(16)])
    good("named_log", "The log that is named has a name", [entry(0), entry(0, named), entry(1)])
    good("in_a_named_log", "The operation is of a log with a name", [entry(0)], name)
    good("named_without_dependencies", "null stands in the place of the dependencies", [], name)
    whole = lambda *more: cbor.encode([1, 0, log, MICROS, False, *more])
    deps = lambda *entries: {"deps": list(entries)}
    first, second = ([a, s, i] for a, _, s, i in (entry(0), entry(1)))
    for title, description, element in (
        ("null", "No list", None), ("empty_list", "At least one entry", deps()),
        ("seventeen", "At most sixteen", deps(*([a, s, i] for a, _, s, i in map(entry, range(17))))),
        ("not_sorted", "The second author is the smaller one", deps(second, first)),
        ("same_log_twice", "One entry per log", deps(first, first)),
        ("same_log_other_seq", "One entry per log", deps(first, [first[0], 1, first[2]])),
        ("named_before_first", "The first log of an author comes first", deps(first + [named], first)),
        ("second_key", "Nothing beside deps", {"deps": [first], "x": 1}),
        ("other_key", "Another key", {"dep": [first]}), ("list_only", "No map", [first]),
        ("entry_too_short", "No id", deps(first[:2])), ("entry_too_long", "Five elements", deps(first + [named, 1])),
        ("author_31_bytes", "", deps([first[0][:31], *first[1:]])), ("id_33_bytes", "", deps(first[:2] + [b"\1" * 33])),
        ("log_id_31_bytes", "", deps(first + [named[:31]])), ("seq_beyond_u32", "", deps([first[0], 2**32, first[2]])),
        ("seq_negative", "", deps([first[0], -1, first[2]])), ("tag_on_entry", "", deps(cbor.Tag(1, first))),
        ("tag_on_seq", "", deps([first[0], cbor.Tag(1, 0), first[2]])),
    ):
        other(f"ignored_{title}", description or "Any other shape counts as absent", whole(element))
    other("author_no_key", "An author is not checked to be a point", whole(deps([b"\2" + bytes(31), 0, first[2]])))
    other("tag_on_element", "A tag on the element itself is passed over", whole(cbor.Tag(1, deps(first))))
    other("name_31_bytes", "Any other shape of element 7 counts as absent", whole(None, name[:31]))
    other("name_text", "Any other shape of element 7 counts as absent", whole(None, "photos"))
    other("name_without_null", "Whatever element 6 is, element 7 is read", whole(0, name))
    other("element_8", "Elements behind the known ones are passed over", whole(deps(first), None, {"later": [1]}))
    verdicts = []
    for title, item in (
        ("version_2", [2]), ("version_2_other_shape", [2, "x"]), ("version_2_variant_7", [2, 7, None]),
        ("variant_1", [1, 1]), ("variant_beyond_u16", [1, 65536]), ("version_only", [1]), ("empty", []),
        ("version_beyond_u16", [65536, 0]), ("version_text", ["1", 0]), ("variant_null", [1, None]),
        ("tag_on_item", cbor.Tag(1, [1, 0, log, 0, False])), ("tag_on_log_id", [1, 0, cbor.Tag(1, log), 0, False]),
        ("log_id_31_bytes", [1, 0, log[:31], 0, False]), ("prune_zero", [1, 0, log, 0, 0]),
        ("four_elements", [1, 0, log, 0]),
    ):
        encoded = cbor.encode(item)
        got = operations.outcome(operations.decode_extensions, cbor.decode(encoded, cbor.HEADER))
        verdicts.append({"name": title, "extensions": encoded.hex(), "verdict": got})
    ids = [{"name": text, "topic": TOPIC.hex(), "name_hash": keys.digest(text.encode()).hex(),
            "log_id": keys.derive_key("p2panda named log id v1", TOPIC + keys.digest(text.encode())).hex(),
            "author": authors[0].hex(),
            "label": keys.derive_key("p2panda log label v1", authors[0] + keys.derive_key(
                "p2panda named log id v1", TOPIC + keys.digest(text.encode()))).hex()}
           for text in ("a", "photos", "x" * 128)]
    return head("operations.md 7.2 to 7.9 and 4.3. `vectors`: the node extensions as one CBOR item, the dependencies "
                "and the hash of the log's name that a reader finds, and whether a writer makes exactly these bytes. "
                "`verdicts`: other items, with `ok` or the name of the failure. `named_logs`: names, log ids and labels",
                "operations.md", cases) | {"verdicts": verdicts, "named_logs": ids}


def parts(data, unit):
    """Run-length form of bytes in which a unit repeats."""
    out, at = [], 0
    while at < len(data):
        found = data.find(unit, at) if unit else -1
        if found < 0:
            out.append([data[at:].hex(), 1])
            break
        count = 0
        while data[found + count * len(unit) : found + (count + 1) * len(unit)] == unit:
            count += 1
        if found > at:
            out.append([data[at:found].hex(), 1])
        out.append([unit.hex(), count])
        at = found + count * len(unit)
    return out


def limits():
    """operations.md 2.1, 2.2 and 3.2.2."""
    cases = []

    def put(name, description, extensions, unit=b""):
        _, _, header = operations.build_header(SEED, None, 0, None, extensions)
        cases.append({"name": name, "description": description, "header_parts": parts(header, unit),
                      "header_bytes": len(header), "verdict": operations.outcome(operations.decode_header, header)})

    for count in (512, 513):
        pairs = {n: 0 for n in range(count)}
        put(f"map_{count}", f"A map of {count} pairs", cbor.encode(pairs))
        put(f"text_{count}", f"A text of {count} bytes", cbor.encode("x" * count), b"x" * 64)
        put(f"array_{count}", f"An array of {count} items", cbor.encode([0] * count), bytes(64))
        put(f"bytes_{count}", f"A byte string of {count} bytes", cbor.encode(bytes(count)), bytes(64))
    for levels in (63, 64):
        put(f"arrays_{levels}", f"{levels} arrays in each other, in the header's own", b"\x81" * levels + b"\0")
        put(f"tags_{levels}", f"{levels} tags in each other: a tag is a level", b"\xc1" * levels + b"\0")
        put(f"maps_{levels}", f"{levels} maps in each other", b"\xa1\0" * levels + b"\0")
    for total in (1 << 20, (1 << 20) + 1):
        put(f"header_{total}", f"A header of {total} bytes in all", filled(total), cbor.encode(bytes(512)))
    put("tag_on_extensions", "A tag on the extensions item is part of it", cbor.encode(cbor.Tag(1, 0)))
    put("tag_inside_extensions", "So is one inside", cbor.encode([cbor.Tag(1, 0)]))
    for name, description, item in (
        ("bignum_65_bits", "A bignum above 64 bits", b"\xc2\x49" + b"\1" + bytes(8)),
        ("bignum_64_bits", "One that fits 64 bits", b"\xc2\x48" + b"\xff" * 8),
        ("bignum_leading_zero", "One with a leading zero", b"\xc2\x49" + bytes(1) + b"\xff" * 8),
        ("negative_bignum", "A negative bignum", b"\xc3\x49" + b"\1" + bytes(8)),
        ("nan", "NaN", b"\xf9\x7e\0"), ("nan_32", "NaN in 32 bits", b"\xfa\x7f\xc0\0\0"),
        ("nan_payload", "NaN with another payload keeps it", b"\xf9\x7e\1"),
        ("nan_negative", "And its sign", b"\xf9\xfe\0"),
        ("nan_64_payload", "A payload that needs 64 bits", b"\xfb\x7f\xf8" + bytes(5) + b"\1"),
        ("nan_64_shorter", "One that needs 32", b"\xfb\x7f\xf8\0\0\x20\0\0\0"),
        ("float_32_shorter", "1.5 in 32 bits", b"\xfa\x3f\xc0\0\0"), ("float_32", "0.1 in 32 bits", b"\xfa\x3d\xcc\xcc\xcd"),
        ("float_64_shorter", "1.5 in 64 bits", b"\xfb\x3f\xf8" + bytes(6)),
        ("simple_31", "A simple value below 32 in two bytes", b"\xf8\x1f"),
        ("simple_32", "One of 32", b"\xf8\x20"), ("simple_19", "One of 19 in one byte", b"\xf3"),
        ("break_alone", "A break without anything to break", b"\xff"),
        ("reserved_low_bits", "Low bits 28 are reserved", b"\x1c"),
        ("keys_not_sorted", "Text keys out of order", b"\xa2\x61b\0\x61a\0"),
        ("keys_by_length", "Shorter keys first", b"\xa2\x61b\0\x62aa\0"),
        ("keys_alphabetical", "Not by the alphabet", b"\xa2\x62aa\0\x61b\0"),
    ):
        put(name, description, item)
    tagged = []
    whole = operations.build_header(SEED, b"\x61", 5, b"\3" * 32, b"\7")[2]
    fields = cbor.decode(whole)
    names = ["version", "verifying_key", "signature", "payload_size", "payload_hash", "seq_num", "backlink", "extensions"]
    for place, name in enumerate(names):
        changed = cbor.encode(fields[:place] + [cbor.Tag(1, fields[place])] + fields[place + 1 :])
        tagged.append({"name": f"tag_on_{name}", "header": changed.hex(),
                       "verdict": operations.outcome(operations.decode_header, changed)})
    for name, data in (("tag_on_header", b"\xc1" + whole), ("two_tags_on_header", b"\xc1\xc1" + whole),
                       ("tag_on_no_array", b"\xc1\0"), ("empty", b""), ("trailing", whole + b"\0"),
                       ("cut", whole[:-1]), ("key_no_point", b"\x85" + cbor.encode(1) + cbor.encode(b"\2" + bytes(31))
                                            + whole[36:102] + b"\0\0")):
        tagged.append({"name": name, "header": data.hex(),
                       "verdict": operations.outcome(operations.decode_header, data)})
    return head("operations.md 2.1, 2.2, 3.2. The signature of each header in `vectors` is valid: the limit decides. Its "
                "bytes are given in parts, each as often as the number behind it says. `verdict` is `ok` or the name "
                "of the failure by 3.2.1; where the form decides first, the signature is not looked at", "operations.md",
                cases) | {"headers": tagged}


def filled(total):
    """Extensions that give a header this many bytes: arrays of byte strings of 512."""
    string, rest = cbor.encode(bytes(512)), 0
    base = len(operations.build_header(SEED, None, 0, None, b"\0")[2]) - 1
    room = total - base
    rows, row = [], cbor.write_head(4, 512) + string * 512
    while room - 3 - sum(map(len, rows)) > len(row) + 2000:
        rows.append(row)
    left = room - sum(map(len, rows)) - 1
    count = (left - 3 - 600) // len(string)
    last = left - 3 - count * len(string)
    pieces = [bytes(min(last - 3, 512))]
    last -= len(cbor.encode(pieces[0]))
    items = [string] * count + [cbor.encode(pieces[0])]
    if last > 0:
        items.append(cbor.encode(bytes(last - (1 if last <= 24 else 2 if last <= 257 else 3))))
    out = cbor.write_head(4, len(rows) + 1) + b"".join(rows) + cbor.write_head(4, len(items)) + b"".join(items)
    assert base + len(out) == total, (base + len(out), total, rest)
    return out


def ephemeral():
    """operations.md 8.3 to 8.5."""
    key, body = keys.public(SEED), cbor.encode("hello")
    good = operations.seal_ephemeral(SEED, MICROS, 2, body)[2]
    cases = []

    def put(name, description, message, unit=b""):
        cases.append({"name": name, "description": description, "message_parts": parts(message, unit),
                      "verdict": operations.outcome(operations.open_ephemeral, message)})

    put("good", "As it should be", good)
    put("timestamp_0", "What is signed reads as the header of an operation", operations.seal_ephemeral(SEED, 0, 2, body)[2])
    put("timestamp_1", "The lowest", operations.seal_ephemeral(SEED, 1, 0, body)[2])
    put("timestamp_max", "The highest", operations.seal_ephemeral(SEED, 2**64 - 1, 2**64 - 1, body)[2])
    header = operations.build_header(SEED, None, 0, None, operations.encode_extensions(keys.digest(TOPIC), 0))[2]
    put("operation_header", "The header of an operation without a body, with extensions", header)
    header = operations.build_header(SEED, None, 7, b"\3" * 32, None)[2]
    put("operation_header_backlink", "The header of a later operation, without extensions", header)
    put("version_2", "Another version", b"\x86\2" + good[2:])
    put("version_0", "Another version", b"\x86\0" + good[2:])
    put("trailing", "A byte behind the message", good + b"\0")
    put("cut", "The last byte is missing", good[:-1])
    put("five_elements", "No body", b"\x85" + good[1 : -len(body)])
    put("seven_elements", "One element more", b"\x87" + good[1:] + b"\0")
    put("empty_array", "No element", b"\x80")
    put("not_an_array", "A map", b"\xa0")
    put("tag", "A tag on the message", b"\xc1" + good)
    put("tag_on_timestamp", "A tag on the timestamp", good[:102] + b"\xc1" + good[102:])
    put("timestamp_not_shortest", "A number that is written longer than needed", good[:102] + b"\x1b" + bytes(7) + b"\1\0" + body)
    put("body_changed", "The signature is that of another body", good[:-1] + b"p")
    put("author_changed", "The signature is that of another author", good[:4] + keys.public(OTHER) + good[36:])
    put("author_no_point", "The author is no point", good[:4] + b"\2" + bytes(31) + good[36:])
    put("author_31_bytes", "The author has 31 bytes", b"\x86\1\x58\x1f" + key[:31] + good[36:])
    put("signature_63_bytes", "The signature has 63 bytes", good[:37] + b"\x3f" + good[38:101] + good[102:])
    identity = b"\1" + bytes(31)
    forged = b"\x86\1" + cbor.encode(identity) + cbor.encode(identity + bytes(32)) + good[102:]
    put("author_small_order", "Whoever checks loosely accepts this for every body", forged)
    for total in (4057, 4096, 4097):
        size = total - len(good) + len(body) - 3
        put(f"size_{total}", f"A message of {total} bytes", operations.seal_ephemeral(SEED, MICROS, 2, cbor.encode(bytes(size)))[2], bytes(64))
    return head("operations.md 8: messages with `ok` or the name of the failure (8.6). Bytes are given in parts, each as often as "
                "the number behind it says", "operations.md", cases)


FILES = {
    "operations-signatures.json": signatures,
    "operations-signed-bytes.json": signed_bytes,
    "operations-dependencies.json": dependencies,
    "operations-limits.json": limits,
    "ephemeral-invalid.json": ephemeral,
}
