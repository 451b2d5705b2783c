"""The primitives of encryption.md 3 and encryption-hybrid.md 3."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from . import curve, keys


class Refused(Exception):
    pass


def stream(key, start, size):
    """The bytes of a ChaCha20 stream; `start` is the counter and nonce of the first block."""
    return Cipher(algorithms.ChaCha20(key, start), None).encryptor().update(bytes(size))


class Random:
    """encryption.md 17.1: the key stream of a seed."""

    def __init__(self, seed):
        self.stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), None).encryptor()

    def take(self, size):
        return self.stream.update(bytes(size))


# ---- hashes, agreements, ciphers (3.2 to 3.4) ----


def extract(salt, ikm):
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk, info, size):
    out = block = b""
    for count in range(1, 256):
        if len(out) >= size:
            break
        block = hmac.digest(prk, block + info + bytes([count]), "sha256")
        out += block
    return out[:size]


def hkdf(salt, ikm, info, size):
    return expand(extract(salt, ikm), info, size)


def clamp(secret):
    return bytes([secret[0] & 248]) + secret[1:31] + bytes([secret[31] & 127 | 64])


def public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree(secret, key):
    """H1: an agreement of zeros is refused, which the library does."""
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        raise Refused("agreement") from None


def seal(key, nonce, aad, plaintext):
    return ChaCha20Poly1305(key).encrypt(nonce, plaintext, aad)


def unseal(key, nonce, aad, ciphertext):
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise Refused("tag") from None


def subkey(key, nonce):
    """HChaCha20: the first and last words of a ChaCha20 block without its start added."""
    block = stream(key, nonce[:16], 64)
    start = b"expand 32-byte k" + key + nonce[:16]
    words = [(word(block, i) - word(start, i)) % 2**32 for i in (0, 1, 2, 3, 12, 13, 14, 15)]
    return b"".join(one.to_bytes(4, "little") for one in words)


def word(data, index):
    return int.from_bytes(data[4 * index : 4 * index + 4], "little")


def xseal(key, nonce, aad, plaintext):
    return seal(subkey(key, nonce), bytes(4) + nonce[16:], aad, plaintext)


def xunseal(key, nonce, aad, ciphertext):
    return unseal(subkey(key, nonce), bytes(4) + nonce[16:], aad, ciphertext)


# ---- XEdDSA (3.6) ----


def hash_to_scalar(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % keys.L


def xsign(message, secret, z):
    scalar = int.from_bytes(secret, "little") % keys.L
    point = curve.times(scalar, curve.BASE)
    a = point[1].to_bytes(32, "little")
    scalar = -scalar % keys.L if point[0] & 1 else scalar
    r = hash_to_scalar(b"\xfe" + b"\xff" * 31, scalar.to_bytes(32, "little"), message, z)
    big_r = curve.compress(curve.times(r, curve.BASE))
    s = (r + hash_to_scalar(big_r, a, message) * scalar) % keys.L
    return big_r + s.to_bytes(32, "little")


def edwards(u):
    """The point with sign bit 0 that belongs to a Montgomery coordinate, or none; H2."""
    number = int.from_bytes(u, "little")
    if number >= keys.P or number == keys.P - 1:
        return None
    y = (number - 1) * pow(number + 1, keys.P - 2, keys.P) % keys.P
    encoded = y.to_bytes(32, "little")
    return None if keys.has_small_order(encoded) else curve.decompress(encoded)


def has_small_order(u):
    """A Montgomery coordinate from which every agreement is zero."""
    try:
        agree(clamp(bytes(range(32))), u)
    except Refused:
        return True
    return False


def xverify(message, u, signature):
    point, r, s = edwards(u), signature[:32], int.from_bytes(signature[32:], "little")
    if point is None or s >= keys.L:
        return False
    h = hash_to_scalar(r, curve.compress(point), message)
    return curve.compress(curve.add(curve.times(s, curve.BASE), curve.times(h, curve.negative(point)))) == r


# ---- HPKE (3.7), its key schedule (encryption-hybrid.md 3.2) and X-Wing ----

BASE_SUITE = bytes.fromhex("002000010003")
XWING_SUITE = bytes.fromhex("647a00010003")


def labeled_extract(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, size):
    return expand(prk, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, size)


class Context:
    """A key and a nonce for one message, and an exporter."""

    def __init__(self, suite, shared, info=b"", psk=None, psk_id=b"2sm"):
        mode, psk, psk_id = (0, b"", b"") if psk is None else (1, psk, psk_id)
        names = labeled_extract(suite, b"", b"psk_id_hash", psk_id) + labeled_extract(suite, b"", b"info_hash", info)
        secret = labeled_extract(suite, shared, b"secret", psk)
        self.suite = suite
        self.key, self.nonce, self.exporter = (
            labeled_expand(suite, secret, label, bytes([mode]) + names, size)
            for label, size in ((b"key", 32), (b"base_nonce", 12), (b"exp", 32))
        )

    def export(self, label):
        return labeled_expand(self.suite, self.exporter, b"sec", label, 32)

    def seal(self, aad, plaintext):
        return seal(self.key, self.nonce, aad, plaintext)

    def open(self, aad, ciphertext):
        return unseal(self.key, self.nonce, aad, ciphertext)


def dhkem(agreement, ephemeral, receiver):
    """The shared secret of DHKEM(X25519, HKDF-SHA256)."""
    suite = b"KEM\x00\x20"
    prk = labeled_extract(suite, b"", b"eae_prk", agreement)
    return labeled_expand(suite, prk, b"shared_secret", ephemeral + receiver, 32)


def base_context(agreement, ephemeral, receiver, info=b""):
    return Context(b"HPKE" + BASE_SUITE, dhkem(agreement, ephemeral, receiver), info)


def hpke_open(secret, kem_output, ciphertext, info=b"", aad=b""):
    if len(kem_output) != 32:
        raise Refused("kem_output")
    return base_context(agree(secret, kem_output), kem_output, public(secret), info).open(aad, ciphertext)


class XWing:
    """A key pair from its seed (draft-connolly-cfrg-xwing-kem-06)."""

    def __init__(self, seed):
        expanded = hashlib.shake_256(seed).digest(96)
        self.lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self.secret = expanded[64:]
        self.public = self.lattice.public_key().public_bytes_raw() + public(self.secret)

    def open(self, encapsulation):
        if len(encapsulation) != 1120:
            raise Refused("encapsulation")
        sealed, ephemeral = encapsulation[:1088], encapsulation[1088:]
        parts = self.lattice.decapsulate(sealed), agree(self.secret, ephemeral), ephemeral, self.public[1184:]
        return hashlib.sha3_256(b"".join(parts) + b"\\.//^\\").digest()
