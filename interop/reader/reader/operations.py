"""operations.md: headers, logs, extensions, cursors and ephemeral messages."""

from . import cbor, keys
from .cbor import Invalid, Map, Tag
from .check import unhex

HEADER_BYTES_MAX = 1 << 20
EPHEMERAL_BYTES_MAX = 4096
FIELDS = ("version", "verifying_key", "signature", "payload_size", "payload_hash", "seq_num", "backlink")


class Header:
    pass


def uint(name, value, bits=32):
    if isinstance(value, Tag):
        raise Invalid("Tagged")
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise Invalid(f"Type({name})")
    return value


def fixed(name, value, size=32):
    if isinstance(value, Tag):
        raise Invalid("Tagged")
    if not isinstance(value, bytes):
        raise Invalid(f"Type({name})")
    if len(value) != size:
        raise Invalid(f"Length({name}, {size}, {len(value)})")
    return value


def decode_header(data):
    """3.2.1, step by step; raises the name of the failure."""
    if len(data) > HEADER_BYTES_MAX:
        raise Invalid("TooLarge")
    try:
        items = cbor.decode(data, cbor.HEADER)
    except Invalid as error:
        raise Invalid(f"Cbor({error})") from None
    if isinstance(items, Tag):
        raise Invalid("Tagged")
    if not isinstance(items, list):
        raise Invalid("NotAnArray")
    left = list(items)

    def take(name):
        if not left:
            raise Invalid(f"Missing({name})")
        return left.pop(0)

    header = Header()
    version = uint("version", take("version"), 16)
    if version != 1:
        raise Invalid(f"UnsupportedVersion({version}, 1)")
    header.author = fixed("verifying_key", take("verifying_key"))
    if not keys.is_point(header.author):
        raise Invalid("InvalidKey")
    header.signature = fixed("signature", take("signature"), 64)
    header.size = uint("payload_size", take("payload_size"))
    header.hash = fixed("payload_hash", take("payload_hash")) if header.size else None
    header.seq = uint("seq_num", take("seq_num"))
    header.backlink = fixed("backlink", take("backlink")) if header.seq else None
    if len(left) > 1:
        raise Invalid("ExcessiveFields")
    header.extensions = left
    header.bytes, header.id = data, keys.digest(data)
    # 3.1.2: the array without element 3, which has a fixed place.
    header.signed = bytes([data[0] - 1]) + data[1:36] + data[102:]
    if not keys.verify(header.author, header.signed, header.signature):
        raise Invalid("InvalidSignature")
    return header


def build_header(seed, body, seq, backlink, extensions, size=None, payload_hash=None):
    """3.1: signed bytes, signature and header from the fields; `extensions` are encoded already."""
    size = len(body) if body else size or 0
    payload_hash = keys.digest(body) if body else payload_hash
    fields = [1, keys.public(seed), size]
    fields += [payload_hash] if size else []
    fields += [seq] + ([backlink] if backlink is not None else [])
    count = len(fields) + (extensions is not None)
    parts = [cbor.encode(field) for field in fields] + [extensions or b""]
    signed = cbor.write_head(4, count) + b"".join(parts)
    signature = keys.sign(seed, signed)
    parts.insert(2, cbor.encode(signature))
    return signed, signature, cbor.write_head(4, count + 1) + b"".join(parts)


def bare(value):
    """Tags on an element of the node extensions are passed over (7.2)."""
    while isinstance(value, Tag):
        value = value.item
    return value


def is_uint(value, bits):
    return type(value) is int and 0 <= value < 1 << bits


class Extensions:
    pass


def node_extensions(header):
    """7.2 to 7.9; raises the name of the failure."""
    if not header.extensions:
        raise Invalid("MissingExtensions")
    return decode_extensions(header.extensions[0])


def decode_extensions(value):
    items = bare(value)
    if not isinstance(items, list) or not items:
        raise Invalid("DecodingExtensions")
    first, second = bare(items[0]), bare(items[1]) if len(items) > 1 else None
    if not is_uint(first, 16):
        raise Invalid("DecodingExtensions")
    variant = second if is_uint(second, 16) else None
    if first != 1:
        raise Invalid(f"UnknownExtensions({first}, {'none' if variant is None else variant})")
    if variant is None:
        raise Invalid("DecodingExtensions")
    if variant != 0:
        raise Invalid(f"UnknownExtensions({first}, {variant})")
    out = Extensions()
    if len(items) < 5:
        raise Invalid("DecodingExtensions")
    out.log_id, out.timestamp, out.prune = (bare(one) for one in items[2:5])
    good = isinstance(out.log_id, bytes) and len(out.log_id) == 32 and is_uint(out.timestamp, 64)
    if not good or not isinstance(out.prune, bool):
        raise Invalid("DecodingExtensions")
    out.deps = dependencies(bare(items[5])) if len(items) > 5 else []
    name = bare(items[6]) if len(items) > 6 else None
    out.name = name if isinstance(name, bytes) and len(name) == 32 else None
    return out


def dependencies(value):
    """7.8: the list of (author, log id or none, seq, id); [] for every other shape (7.9)."""
    if not isinstance(value, Map) or len(value.pairs) != 1 or value.pairs[0][0] != "deps":
        return []
    entries = value.pairs[0][1]
    if not isinstance(entries, list) or not 1 <= len(entries) <= 16:
        return []
    found = []
    for entry in entries:
        if not isinstance(entry, list) or len(entry) not in (3, 4):
            return []
        author, seq, operation, *log = entry
        names = [author, operation, *log]
        if not all(isinstance(one, bytes) and len(one) == 32 for one in names) or not is_uint(seq, 32):
            return []
        log = log[0] if log else None
        if found and (found[-1][0], found[-1][1] or b"") >= (author, log or b""):
            return []
        found.append((author, log, seq, operation))
    return found


def encode_extensions(log_id, timestamp, prune=False, deps=(), name=None):
    items = [1, 0, log_id, timestamp, prune]
    if deps:
        entries = sorted(deps, key=lambda one: (one[0], one[1] or b""))
        items.append({"deps": [[a, seq, i] + ([log] if log else []) for a, log, seq, i in entries]})
    elif name:
        items.append(None)
    return cbor.encode(items + ([name] if name else []))


def check_body(header, body):
    """3.3.1, last row."""
    if body is None:
        return "ok"
    good = header.size > 0 and len(body) == header.size and keys.digest(body) == header.hash
    return "ok" if good else "PayloadMismatch"


def strict(past, new):
    """3.4.2."""
    if past.author != new.author:
        return "TooManyAuthors"
    if past.seq == 2**32 - 1:
        return "SeqNumExhausted"
    if new.seq != past.seq + 1:
        return f"SeqNumNonIncremental({past.seq + 1}, {new.seq})"
    if new.backlink is None:
        return "BacklinkMissing"
    return "ok" if new.backlink == past.id else "BacklinkMismatch"


def append(past, new, prune):
    """3.4.3."""
    if past is None:
        return "ok" if new.seq == 0 or prune else "BacklinkMissing"
    if prune and past.author == new.author and past.seq < new.seq:
        return "ok"
    return strict(past, new)


def proves_fork(one, other):
    """3.4.6, of two headers of the same author and log that verify."""
    one, other = sorted((one, other), key=lambda header: (header.seq, header.id))
    if one.seq == other.seq:
        return one.id != other.id
    if other.seq != one.seq + 1 or node_extensions(other).prune:
        return False
    return other.backlink != one.id


def open_ephemeral(data):
    """8.1 and 8.5: author, timestamp, counter and body; raises the name of the failure."""
    if len(data) > EPHEMERAL_BYTES_MAX:
        raise Invalid("TooLarge")
    try:
        items = cbor.decode(data)
    except Invalid as error:
        raise Invalid(f"Cbor({error})") from None
    if not isinstance(items, list) or not items or not is_uint(items[0], 64):
        raise Invalid("Cbor(Type)")
    if items[0] != 1:
        raise Invalid(f"UnsupportedVersion({items[0]}, 1)")
    _, author, signature, timestamp, counter = (items + [None] * 5)[:5]
    good = len(items) == 6 and isinstance(author, bytes) and len(author) == 32
    if not good:
        raise Invalid("Cbor(Type)")
    if not keys.is_point(author):
        raise Invalid("InvalidKey")
    good = isinstance(signature, bytes) and len(signature) == 64
    if not good or not is_uint(timestamp, 64) or not is_uint(counter, 64):
        raise Invalid("Cbor(Type)")
    if timestamp == 0:
        raise Invalid("ClockZero")
    signed = b"\x85" + data[1:36] + data[102:]
    if not keys.verify(author, signed, signature):
        raise Invalid("InvalidSignature")
    start = 102 + len(cbor.encode(timestamp)) + len(cbor.encode(counter))
    return author, timestamp, counter, data[start:]


def seal_ephemeral(seed, timestamp, counter, body):
    middle = cbor.encode(1) + cbor.encode(keys.public(seed))
    after = cbor.encode(timestamp) + cbor.encode(counter) + body
    signature = keys.sign(seed, b"\x85" + middle + after)
    return signature, b"\x85" + middle + after, b"\x86" + middle + cbor.encode(signature) + after


def outcome(function, *arguments):
    try:
        function(*arguments)
        return "ok"
    except Invalid as error:
        return str(error)


# What 0.7.1 recorded, in the words of the page (10.3).
RECORDED_CBOR = {"UnexpectedEof": "Eof", "InvalidFormat": "Trailing", "LengthTooLarge": "TooLong"}
RECORDED_CBOR |= {"NestingTooDeep": "TooDeep", "InvalidUtf8": "Utf8"}


def recorded(text):
    outer, _, inner = text.partition("(")
    inner = inner.rstrip(")").replace('"', "")
    if outer == "DecodingHeader":
        return f"Cbor({RECORDED_CBOR.get(inner, inner)})"
    if outer == "UnexpectedHeaderType":
        return "NotAnArray"
    if outer == "MissingField":
        return f"Missing({inner})"
    if outer == "UnexpectedFieldType":
        return f"Type({inner.split(', ')[-1]})"
    if outer == "InvalidBytesLen":
        return f"Length({inner})"
    return outer if outer in ("DecodingExtensions",) else text


def read(check):
    read_primitives(check)
    read_headers(check)
    read_logs(check)
    read_ephemeral(check)
    read_made(check)


def read_primitives(check):
    for v in check.file("hashes.json")["vectors"]:
        got = keys.digest(unhex(v["inputs"]["data"]))
        check.equal(got.hex(), v["expected"]["hash"], "hashes", v["name"])
        check.equal(cbor.encode(got).hex(), v["expected"]["hash_cbor"], "hashes", v["name"])
    for v in check.file("keys.json")["vectors"]:
        inputs, expected = v["inputs"], v["expected"]
        if "signing_key" in inputs:
            seed = unhex(inputs["signing_key"])
            check.equal(keys.public(seed).hex(), expected["verifying_key"], "keys", v["name"])
            for one in expected["signatures"]:
                signature = keys.sign(seed, unhex(one["message"]))
                check.equal(signature.hex(), one["signature"], "keys", v["name"])
            continue
        key = unhex(inputs["verifying_key"])
        if "key_parses" in expected:
            check.equal(keys.is_point(key), expected["key_parses"], "keys", v["name"])
        if "valid" in expected:
            got = keys.verify(key, unhex(inputs["message"]), unhex(inputs["signature"]))
            check.equal(got, expected["valid"], "keys", v["name"])
    for v in check.file("topics.json")["vectors"]:
        inputs, expected = v["inputs"], v["expected"]
        if "topic" in inputs:
            topic = unhex(inputs["topic"])
            check.equal(keys.digest(topic).hex(), expected["log_id"], "topics", v["name"])
            overlay = keys.digest(topic + unhex(inputs["gossip_mix"]))
            check.equal(overlay.hex(), expected["sync_overlay_topic"], "topics", v["name"])
        else:
            got = keys.digest(unhex(inputs["protocol_name"]) + unhex(inputs["network_id"]))
            check.equal(got.hex(), v["expected"]["alpn"], "topics", v["name"])


def extensions_of(value):
    """Field 8 of a case in headers.json."""
    if value is None or (isinstance(value, dict) and "rust_type" in value):
        return None
    if isinstance(value, dict) and "nef_version" in value:
        return encode_extensions(unhex(value["log_id"]), value["timestamp"], value["prune_flag"])
    return cbor.encode(value)


def read_headers(check):
    for v in check.file("headers.json")["vectors"]:
        inputs, expected, name = v["inputs"], v["expected"], v["name"]
        body = unhex(inputs.get("body"))
        if "body_repeat" in inputs:
            body = unhex(inputs["body_repeat"]["byte"]) * inputs["body_repeat"]["count"]
        given = inputs.get("payload_size"), unhex(inputs.get("payload_hash"))
        backlink, extensions = unhex(inputs["backlink"]), extensions_of(inputs["extensions"])
        seed = unhex(inputs["signing_key"])
        built = build_header(seed, body, inputs["seq_num"], backlink, extensions, *given)
        wanted = [expected[one] for one in ("signing_bytes", "signature", "header_bytes")]
        check.equal([one.hex() for one in built], wanted, "headers", name)
        check.equal(outcome(decode_header, built[2]) == "ok", expected["decodes_any"], "headers", name)
        check.equal(keys.digest(built[2]).hex(), expected["operation_id"], "headers", name)
    for v in check.file("invalid_headers.json")["vectors"]:
        data, expected, name = unhex(v["inputs"]["header_bytes"]), v["expected"], v["name"]
        got = outcome(decode_header, data)
        if expected.get("reencodes_identically") is False:  # 10.2
            check.equal(got, "Tagged", "invalid_headers", name)
            continue
        wanted = recorded(expected["any"])
        # 0.7.1 has no name of its own for a key that is no point.
        check.equal("InvalidSignature" if got == "InvalidKey" else got, wanted, "invalid_headers", name)
        if got != "ok":
            continue
        header = decode_header(data)
        unit = "UnexpectedExtensions" if header.extensions else "ok"
        check.equal(unit, expected["typed_unit"], "invalid_headers", name)
        typed, wanted = outcome(node_extensions, header), recorded(expected["typed_node"])
        if typed.startswith("UnknownExtensions"):  # 10.2
            typed = wanted
        check.equal(typed, wanted, "invalid_headers", name)
    for v in check.file("node_extensions.json")["vectors"]:
        inputs, name = v["inputs"], v["name"]
        check.equal(keys.digest(unhex(inputs["topic"])).hex(), inputs["log_id"], "node_extensions", name)
        got = extensions_of(inputs | {"nef_version": 1})
        check.equal(got.hex(), v["expected"]["cbor"], "node_extensions", name)


def read_logs(check):
    for v in check.file("validation.json")["vectors"]:
        inputs, expected, name = v["inputs"], v["expected"], v["name"]
        header = decode_header(unhex(inputs["header"]))
        if "operation" in expected:
            got = check_body(header, unhex(inputs["body"]))
            check.equal(got, expected["operation"], "validation", name)
            continue
        past = inputs["past_header"] and decode_header(unhex(inputs["past_header"]))
        got = strict(past, header) if past else None
        check.equal(got, expected["strict_backlink"], "validation", name)
        wanted, prune = expected["prunable_backlink"], inputs["prune_flag"]
        if prune and past and header.seq <= past.seq:  # 10.2
            wanted = expected["strict_backlink"]
        check.equal(append(past, header, prune), wanted, "validation", name)
    for v in check.file("cursors.json")["vectors"]:
        inputs, expected, name = v["inputs"], v["expected"], v["name"]
        heights = lambda value: {unhex(a): {unhex(l): s for l, s in logs.items()} for a, logs in value.items()}
        if "state" in inputs:
            state = heights(inputs["state"])
            check.equal(cbor.encode([inputs["name"], state]).hex(), expected["cbor"], "cursors", name)
        elif "local" in inputs:
            got = missing(heights(inputs["local"]), heights(inputs["remote"]))
            wanted = [tuple(one.get(key) for key in ("author", "log_id", "after_exclusive", "until_inclusive"))
                      for one in expected["remote_needs"]]
            check.equal(got, wanted, "cursors", name)
        else:
            seeds = [keys.public(bytes([n]) * 32).hex() for n in range(8)]
            check.equal(sorted(seeds), expected["sorted"], "cursors", name)


def missing(local, remote):
    """4.2."""
    out = []
    for author in sorted(local):
        for log, until in sorted(local[author].items()):
            after = remote.get(author, {}).get(log)
            if after is None or after < until:
                out.append((author.hex(), log.hex(), after, until))
    return out


def read_ephemeral(check):
    for v in check.file("ephemeral.json")["vectors"]:
        inputs, expected = v["inputs"], v["expected"]
        body = cbor.encode(inputs["body"])
        check.equal(body.hex(), inputs["body_cbor"], "ephemeral", v["name"])
        sealed(check, inputs, body, expected["signature"], expected["signing_bytes"], expected["message_bytes"])
    file = check.file("network-ephemeral.json")
    for v in file["captured"] + [file["crafted"]]:
        v = v | {"timestamp": v["timestamp_micros"]}
        sealed(check, v, cbor.encode(v["body_text"]), v["signature"], v["signed_payload"], v["message"])


def sealed(check, inputs, body, *wanted):
    time = inputs["timestamp"], inputs["lamport"]
    got = seal_ephemeral(unhex(inputs["signing_key"]), *time, body)
    check.equal([one.hex() for one in got], list(wanted), "ephemeral")
    ours = "ClockZero" if inputs["timestamp"] == 0 else "ok"  # 10.2
    check.equal(outcome(open_ephemeral, got[2]), ours, "ephemeral")


def parts(listed):
    return b"".join(unhex(data) * count for data, count in listed)


def read_made(check):
    """The vectors that have this project's verdict."""
    for v in check.file("operations-signatures.json")["vectors"]:
        key, signature = unhex(v["verifying_key"]), unhex(v["signature"])
        check.equal(keys.is_point(key), v["key_parses"], "operations-signatures", v["name"])
        got = keys.verify(key, unhex(v["message"]), signature)
        check.equal(got, v["valid"], "operations-signatures", v["name"])
    for v in check.file("operations-signed-bytes.json")["vectors"]:
        signed, signature = unhex(v["signed_bytes"]), unhex(v["signature"])
        check.equal(keys.sign(unhex(v["signing_key"]), signed), signature, "operations-signed-bytes", v["name"])
        if signed[0] >> 5 == 4 and len(signed) >= 36:
            message = bytes([signed[0] + 1]) + signed[1:36] + cbor.encode(signature) + signed[36:]
            got = [outcome(decode_header, message), outcome(open_ephemeral, message)]
        else:
            got = ["no", "no"]
        wanted = v["reads_as"]
        check.equal(got, [wanted["operation"], wanted["ephemeral"]], "operations-signed-bytes", v["name"])
        kinds = [kind for kind, verdict in wanted.items() if verdict == "ok"]
        # 1.8: nothing reads as another kind. One who signs timestamp 0 has signed an operation.
        own = [v["kind"]] if v["kind"] in wanted else []
        own = own if not v["name"].startswith("ephemeral_0_") else [k for k in kinds if k == "operation"]
        check.equal(kinds, own, "operations-signed-bytes", v["name"])
    file = check.file("operations-dependencies.json")
    for v in file["vectors"]:
        item = unhex(v["extensions"])
        read = decode_extensions(cbor.decode(item, cbor.HEADER))
        neutral = [{"author": a.hex(), "log_id": log and log.hex(), "seq": s, "id": i.hex()} for a, log, s, i in read.deps]
        check.equal(neutral, v["dependencies"], "operations-dependencies", v["name"])
        check.equal(read.name and read.name.hex(), v["log_name"], "operations-dependencies", v["name"])
        again = encode_extensions(read.log_id, read.timestamp, read.prune, read.deps, read.name)
        check.equal(again == item, v["written"], "operations-dependencies", v["name"])
    for v in file["verdicts"]:
        got = outcome(decode_extensions, cbor.decode(unhex(v["extensions"]), cbor.HEADER))
        check.equal(got, v["verdict"], "operations-dependencies", v["name"])
    for v in file["named_logs"]:
        name = keys.digest(v["name"].encode())
        log = keys.derive_key("p2panda named log id v1", unhex(v["topic"]) + name)
        label = keys.derive_key("p2panda log label v1", unhex(v["author"]) + log)
        wanted = [v[key] for key in ("name_hash", "log_id", "label")]
        check.equal([name.hex(), log.hex(), label.hex()], wanted, "operations-dependencies", v["name"])
    read_log_names(check)
    file = check.file("operations-limits.json")
    for v in file["vectors"]:
        data = parts(v["header_parts"])
        check.equal(len(data), v["header_bytes"], "operations-limits", v["name"])
        check.equal(outcome(decode_header, data), v["verdict"], "operations-limits", v["name"])
    for v in file["headers"]:
        check.equal(outcome(decode_header, unhex(v["header"])), v["verdict"], "operations-limits", v["name"])
    for v in check.file("ephemeral-invalid.json")["vectors"]:
        got = outcome(open_ephemeral, parts(v["message_parts"]))
        check.equal(got, v["verdict"], "ephemeral-invalid", v["name"])


def read_log_names(check):
    """Whole headers of logs with a name, and of a first log that comes after one (4.3, 7.3, 7.8)."""
    for v in check.file("log_names.json")["vectors"]:
        inputs, expected, at = v["inputs"], v["expected"], ("log_names", v["name"])
        topic, seed = unhex(inputs["topic"]), unhex(inputs["signing_key"])
        author, hash, log, label = keys.public(seed), None, keys.digest(topic), keys.public(seed)
        if inputs["log"] is not None:
            hash = keys.digest(inputs["log"].encode())
            log = keys.derive_key("p2panda named log id v1", topic + hash)
            label = keys.derive_key("p2panda log label v1", author + log)
        wanted = [expected[key] for key in ("name_hash", "log_id", "label")]
        check.equal([hash and hash.hex(), log.hex(), label.hex()], wanted, *at)
        listed = inputs["dependencies"]
        deps = [(unhex(d["author"]), unhex(d["log_id"]), d["seq_num"], unhex(d["operation_id"])) for d in listed]
        item = encode_extensions(log, inputs["timestamp"], inputs["prune_flag"], deps, hash)
        check.equal(item.hex(), expected["extensions_cbor"], *at)
        body, backlink = unhex(inputs["body"]), unhex(inputs["backlink"])
        signed, _, data = build_header(seed, body, inputs["seq_num"], backlink, item)
        wanted = [expected["signing_bytes"], expected["header_bytes"]]
        check.equal([signed.hex(), data.hex()], wanted, *at)
        header = decode_header(unhex(expected["header_bytes"]))
        read = node_extensions(header)
        check.equal([header.id.hex(), read.name, read.deps], [expected["operation_id"], hash, deps], *at)
