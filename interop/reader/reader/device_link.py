"""device-link.md: a second device becomes one of a person's devices."""

from . import cbor, keys, sealing, ticket

SIDES = {"old": 0, "new": 1}
FRAME_MAX, PART_MAX, PARTS_MAX = 3072, 2816, 64


def code_of(text):
    """2.2: 26 characters, without hyphens and white space."""
    digits = "".join(c for c in text if c != "-" and not c.isspace())
    data = ticket.bytes_of(digits)
    if len(digits) != 26 or len(data) != 16:
        raise ValueError
    return data


def opened(frame, link_key, session_key, side, author):
    """3.1: the key and the content."""
    if len(frame) > FRAME_MAX or frame[0] != 1 or frame[1] > 1:
        raise ValueError
    key = session_key if frame[1] else link_key
    aad = frame[:2] + bytes([side]) + author
    return frame[1], sealing.xunseal(key, frame[2:26], aad, frame[26:])


def transcript(devices):
    """4.4: the old device first."""
    return b"".join(devices[name][part] for part in ("author", "public_key") for name in SIDES)


def content(stage, data):
    """3.2: the tag and what follows it."""
    value = cbor.decode(data, (FRAME_MAX, 8))
    tag, rest = value[0], value[1:]
    lengths = {(0, 0): 1, (0, 1): 1, (0, 2): 1, (1, 3): 1, (1, 4): 1, (1, 5): 3}
    if lengths.get((stage, tag)) != len(rest):
        raise ValueError
    if tag == 5 and not (rest[0] < rest[1] <= PARTS_MAX and len(rest[2]) <= PART_MAX):
        raise ValueError
    return tag, rest


def read(check):
    v = check.file("device-link.json")
    secret = code_of(v["code"])
    check.equal(secret.hex(), v["secret"], "device-link", "secret")
    check.equal(keys.derive_key("p2panda device link topic v1", secret).hex(), v["topic"], "device-link", "topic")
    link_key = keys.derive_key("p2panda device link key v1", secret)
    check.equal(link_key.hex(), v["link_key"], "device-link", "link key")
    devices = {name: {key: bytes.fromhex(text) for key, text in one.items()} for name, one in v["devices"].items()}
    for name, one in devices.items():
        check.equal(sealing.public(one["secret_key"]), one["public_key"], "device-link", name, "public key")
        parts = link_key + bytes([SIDES[name]]) + one["author"] + one["public_key"]
        made = keys.derive_key("p2panda device link commit v1", parts)
        check.equal(made, one["commitment"], "device-link", name, "commitment")
    agreement = sealing.agree(devices["old"]["secret_key"], devices["new"]["public_key"])
    both = transcript(devices)
    session_key = sealing.hkdf(link_key, agreement, b"p2panda device link session v1" + both, 32)
    check.equal(session_key.hex(), v["session_key"], "device-link", "session key")
    number = int.from_bytes(keys.derive_key("p2panda device link digits v1", link_key + both)[:8], "big")
    check.equal(f"{number % 1_000_000:06}", v["digits"], "device-link", "digits")
    read_frames(check, v, devices, link_key, session_key)


def read_frames(check, v, devices, link_key, session_key):
    answer, tags = {}, set()
    for number, one in enumerate(v["frames"]):
        author, frame = devices[one["from"]]["author"], bytes.fromhex(one["frame"])
        stage, data = opened(frame, link_key, session_key, SIDES[one["from"]], author)
        check.equal(data.hex(), one["content"], "device-link", "frame", number)
        tag, rest = content(stage, data)
        tags.add(tag)
        if tag == 0:
            check.equal(rest[0], devices[one["from"]]["commitment"], "device-link", "commit", number)
        if tag == 1:
            check.equal(rest[0], devices[one["from"]]["public_key"], "device-link", "reveal", number)
        if tag == 5:
            answer[rest[0]] = rest[2]
    check.equal(sorted(tags), [0, 1, 2, 3, 4, 5], "device-link", "kinds of frames")
    check.equal(b"".join(answer[part] for part in sorted(answer)).hex(), v["answer"], "device-link", "answer")
