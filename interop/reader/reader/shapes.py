"""The encoding of encryption.md 2: kinds of values, each with a reader and a writer of CBOR items."""

from . import cbor, keys


class Shape:
    def __init__(self, read, write=lambda value: value):
        self.read, self.write = read, write

    def decode(self, data):
        return self.read(cbor.decode(data))

    def encode(self, value):
        return cbor.encode(self.write(value))


def must(holds, what="Shape"):
    if not holds:
        raise cbor.Invalid(what)


def fixed(size):
    def read(item):
        must(isinstance(item, bytes) and size in (None, len(item)))
        return item

    return Shape(read)


def number(bits):
    def read(item):
        must(type(item) is int and 0 <= item < 1 << bits)
        return item

    return Shape(read)


def read_member(item):
    must(isinstance(item, bytes) and keys.is_point(item))
    return item


def read_octets(item):
    """2.4: an array of integers 0 to 255."""
    must(isinstance(item, list) and all(type(one) is int and 0 <= one < 256 for one in item))
    return bytes(item)


def struct(optional=(), **fields):
    """2.2 and 2.3: a map by names; unknown names are passed over, optional ones may be absent."""

    def read(item):
        must(isinstance(item, cbor.Map))
        found = dict(pair for pair in item.pairs if isinstance(pair[0], str))
        must(all(name in found or name in optional for name in fields))
        return {name: kind.read(found.get(name)) for name, kind in fields.items()}

    def write(value):
        kept = {name: kind for name, kind in fields.items() if value[name] is not None or name not in omitted}
        return {name: kind.write(value[name]) for name, kind in kept.items()}

    omitted = [name for name in optional if name in ("generation", "nonce")]  # the others are written as null
    return Shape(read, write)


def row(*kinds):
    """A struct without names; surplus elements are passed over."""

    def read(item):
        must(isinstance(item, list) and len(item) >= len(kinds))
        return tuple(kind.read(one) for kind, one in zip(kinds, item))

    return Shape(read, lambda value: [kind.write(one) for kind, one in zip(kinds, value)])


def enum(**variants):
    """A name and its fields; none of them for a variant without data, also where that is a map with null."""

    def read(item):
        if isinstance(item, str):
            must(item in variants and variants[item] is None)
            return item, None
        must(isinstance(item, cbor.Map) and len(item.pairs) == 1)
        name, fields = item.pairs[0]
        must(isinstance(name, str) and name in variants)
        if variants[name] is None:
            must(fields is None)
            return name, None
        return name, variants[name].read(fields)

    def write(value):
        name, fields = value
        return name if variants[name] is None else {name: variants[name].write(fields)}

    return Shape(read, write)


def many(kind, most=10_000):
    def read(item):
        must(isinstance(item, list) and len(item) <= most)
        return [kind.read(one) for one in item]

    return Shape(read, lambda value: list(map(kind.write, value)))


def table(key, kind):
    def read(item):
        must(isinstance(item, cbor.Map))
        return {key.read(name): kind.read(value) for name, value in item.pairs}

    return Shape(read, lambda value: cbor.Map([(key.write(name), kind.write(one)) for name, one in value.items()]))


def maybe(kind):
    return Shape(lambda item: None if item is None else kind.read(item),
                 lambda value: None if value is None else kind.write(value))


ANY = Shape(lambda item: item)
BYTES, KEY, SIGNATURE, OPERATION = fixed(None), fixed(32), fixed(64), fixed(32)
MEMBER, OCTETS, U32, U64 = Shape(read_member), Shape(read_octets, list), number(32), number(64)

# ---- 2.5 ----

LIFETIME = struct(not_after=U64, not_before=U64)
PREKEY = row(KEY, LIFETIME)
ONETIME_PREKEY = row(KEY, U64)
LONGTERM_BUNDLE = struct(identity_key=KEY, signed_prekey=PREKEY, prekey_signature=SIGNATURE)
ONETIME_BUNDLE = struct(("onetime_prekey",), identity_key=KEY, signed_prekey=PREKEY,
                        onetime_prekey=maybe(ONETIME_PREKEY), prekey_signature=SIGNATURE)
X3DH = struct(("onetime_prekey_id",), prekey_id=KEY, ciphertext=OCTETS, identity_key=KEY, ephemeral_key=KEY,
              onetime_prekey_id=maybe(U64))
HPKE = struct(ciphertext=BYTES, kem_output=BYTES)
KEY_USED = enum(PreKey=None, ReceivedKey=None, OwnKey=U64)
TWO_PARTY = struct(key_used=KEY_USED, ciphertext=enum(PreKey=X3DH, Hpke=HPKE))
PLAINTEXT = struct(("generation",), plaintext=OCTETS, generation=maybe(U64), sender_next_index=U64,
                   receiver_new_secret=KEY, sender_new_verifying_key=KEY)
GROUP_SECRET = row(KEY, U64)
SECRET_BUNDLE = many(GROUP_SECRET)
OF_MEMBER = {"Create": struct(initial_members=many(MEMBER)), "Update": None,
             "Remove": struct(removed=MEMBER), "Add": struct(added=MEMBER)}
ACKNOWLEDGED = struct(ack_seq=OPERATION, ack_sender=MEMBER)
DATA_CONTROL = enum(**OF_MEMBER)
MESSAGE_CONTROL = enum(**OF_MEMBER, Ack=ACKNOWLEDGED, AddAck=ACKNOWLEDGED)
CHANNEL_ONLY = struct(ciphertext=TWO_PARTY)
CONTENT = enum(Welcome=struct(history=ANY, ciphertext=TWO_PARTY), TwoParty=CHANNEL_ONLY, Forward=CHANNEL_ONLY)
DIRECT = struct(content=CONTENT, recipient=MEMBER)

# ---- states: 13.5 with 6.1, 7.1, 9.1 ----

OWN_PREKEYS = table(KEY, struct(prekey=PREKEY, secret=KEY, signature=SIGNATURE))
OWN_KEYS = struct(prekeys=OWN_PREKEYS,
                  identity_key=KEY, identity_secret=KEY, onetime_next_id=U64,
                  onetime_secrets=table(U64, row(KEY, KEY)))
REGISTRY = struct(identities=table(MEMBER, KEY), onetime_bundles=table(MEMBER, many(ONETIME_BUNDLE)),
                  longterm_bundles=table(MEMBER, many(LONGTERM_BUNDLE)))
CHANNEL = struct(our_secret_keys=table(U64, KEY), our_min_key_index=U64, our_next_key_index=U64,
                 their_next_key_used=KEY_USED, their_prekey_bundle=ANY, their_verifying_key=maybe(KEY),
                 our_received_secret_key=maybe(KEY))
DATA_STATE = struct(dgm=ANY, pki=REGISTRY, my_id=MEMBER, my_keys=OWN_KEYS, two_party=table(MEMBER, CHANNEL))
MESSAGE_STATE = struct(dgm=ANY, pki=REGISTRY, my_id=MEMBER, my_keys=OWN_KEYS, ratchet=table(MEMBER, KEY),
                       next_seed=ANY, two_party=table(MEMBER, CHANNEL),
                       member_secrets=table(row(MEMBER, OPERATION, MEMBER), KEY))
RATCHET = struct(secret=KEY, generation=U32)
WINDOW = struct(past_secrets=many(maybe(row(KEY, OCTETS))), ratchet_head=RATCHET)
