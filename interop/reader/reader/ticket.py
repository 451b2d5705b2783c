"""ticket.md: one string that lets another person into a topic."""

import ipaddress
import re

from . import cbor, keys

SCHEME, CHARACTERS_MAX, CONTACTS_MAX, ADDRESSES_MAX, RELAY_MAX, INVITE_MAX = "panda:", 9000, 4, 4, 256, 160
DEFAULT = bytes.fromhex("f745f8f284789fe66264d6c84e284f5eae080c1b54c3f69f84f04fd0012b8476")
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


class Refused(Exception):
    pass


def bytes_of(text):
    """1.1: base32 without padding, whole bytes and no lost bits."""
    number, bits = 0, 0
    for character in text.lower():
        number, bits = number << 5 | ALPHABET.index(character), bits + 5
    rest = bits % 8
    if rest >= 5 or number & ((1 << rest) - 1):
        raise Refused("too_short")
    return (number >> rest).to_bytes(bits // 8, "big")


def text_of(data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return SCHEME + "".join(ALPHABET[int(bits[i : i + 5], 2)] for i in range(0, len(bits), 5))


def checksum(data):
    return keys.derive_key("p2panda ticket v1", data)[:4]


def decode(text):
    """1.4 in its order; topic, network, contacts and, of kind 2, the invite, of kind 3, the secret."""
    text = text.strip()
    if text[: len(SCHEME)].lower() != SCHEME:
        raise Refused("scheme")
    if len(text) > CHARACTERS_MAX:
        raise Refused("too_long")
    digits = text[len(SCHEME) :]
    if any(character.lower() not in ALPHABET for character in digits):
        raise Refused("character")
    data = bytes_of(digits)
    if len(data) < 6:
        raise Refused("too_short")
    if checksum(data[:-4]) != data[-4:]:
        raise Refused("checksum")
    if data[0] != 1:
        raise Refused("newer")
    if data[1] not in (1, 2, 3):
        raise Refused("unknown_kind")
    try:
        return content(cbor.decode(data[2:-4], (CHARACTERS_MAX, 8)), data[1])
    except (cbor.Invalid, ValueError, TypeError):
        raise Refused("content") from None


def content(value, kind):
    """Sections 2, 4 and 5; ValueError for everything else."""
    if not isinstance(value, cbor.Map) or any(type(key) is not int or key < 0 for key, _ in value.pairs):
        raise ValueError
    found = dict(value.pairs)
    device = found.get(4) if kind == 3 else None
    if kind == 3 and (not isinstance(device, bytes) or len(device) != 16):
        raise ValueError
    topic = fixed(found.get(0)) if kind != 3 else keys.derive_key("p2panda device link topic v1", device)
    network = DEFAULT
    if 1 in found:
        network = fixed(found[1])
        if network == DEFAULT:
            raise ValueError
    contacts = []
    if 2 in found:
        if not 1 <= len(found[2]) <= CONTACTS_MAX or not isinstance(found[2], list):
            raise ValueError
        contacts = list(map(contact, found[2]))
        if len({node for node, _, _ in contacts}) < len(contacts):
            raise ValueError
    invite = None
    if kind == 2:
        invite = found.get(3)
        if not isinstance(invite, bytes) or not 1 <= len(invite) <= INVITE_MAX:
            raise ValueError
    return topic, network, contacts, invite, device


def fixed(value):
    if not isinstance(value, bytes) or len(value) != 32:
        raise ValueError
    return value


def contact(value):
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError
    node, addresses, relay = fixed(value[0]), value[1], value[2] if len(value) > 2 else None
    if not keys.is_point(node) or not isinstance(addresses, list) or len(addresses) > ADDRESSES_MAX:
        raise ValueError
    for address in addresses:
        check_address(address)
    if len(value) > 2:
        good = isinstance(relay, str) and 1 <= len(relay.encode()) <= RELAY_MAX
        if not good or not re.match("https?://", relay) or re.search(r"[\s\x00-\x1f\x7f]", relay):
            raise ValueError
    if not addresses and relay is None:
        raise ValueError
    return node, addresses, relay


def check_address(text):
    """A socket address in its one form, or a host name (network.md 5.23); port 0 is none."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or str(int(port)) != port or not 0 < int(port) < 65536:
        raise ValueError
    if host.startswith("["):
        if f"[{ipaddress.IPv6Address(host[1:-1])}]" != host:
            raise ValueError
        return
    try:
        if str(ipaddress.IPv4Address(host)) != host:
            raise ValueError
        return
    except ipaddress.AddressValueError:
        pass
    labels = host.split(".")
    good = len(host) <= 253 and all(re.fullmatch("[A-Za-z0-9_-]{1,63}", label) for label in labels)
    if not good or re.fullmatch("[0-9.]+", host):
        raise ValueError


def encode(topic, network, contacts, invite, device=None):
    value = {0: topic} if device is None else {}
    if network != DEFAULT:
        value[1] = network
    if contacts:
        value[2] = [[node, addresses] + ([relay] if relay else []) for node, addresses, relay in contacts]
    if invite is not None:
        value[3] = invite
    if device is not None:
        value[4] = device
    kind = 3 if device is not None else 1 if invite is None else 2
    data = bytes([1, kind]) + cbor.encode(value)
    return text_of(data + checksum(data))


def read(check):
    for v in check.file("tickets.json")["vectors"]:
        text, expected = v["inputs"]["text"], v["expected"]
        try:
            topic, network, contacts, invite, device = decode(text)
        except Refused as reason:
            check.equal({"error": str(reason)}, expected, "tickets", v["name"])
            continue
        neutral = [{"node": node.hex(), "addrs": addrs, "relay": relay} for node, addrs, relay in contacts]
        got = {"topic": topic.hex(), "network": network.hex(), "contacts": neutral,
               "is_written_so": encode(topic, network, contacts, invite, device) == text}
        if device is not None:
            got["device"] = device.hex()
        if invite is not None:
            got["invite"] = invite.hex()
        check.equal(got, expected, "tickets", v["name"])
