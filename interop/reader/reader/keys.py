"""Hashes, keys and signatures (operations.md 1)."""

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
# operations.md 1.2.2: the y of the eight points whose order divides 8.
SMALL_ORDER_Y = {
    0,
    1,
    P - 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
}


def digest(data):
    return blake3(data).digest()


def keyed(key, data):
    return blake3(data, key=key).digest()


def derive_key(context, data):
    return blake3(data, derive_key_context=context).digest()


def public(seed):
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def y_of(encoding):
    return int.from_bytes(encoding, "little") & (2**255 - 1)


def is_point(encoding):
    """1.3: the encoding decompresses; y is taken modulo p."""
    if len(encoding) != 32:
        return False
    y = y_of(encoding) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    return v * x * x % P in (u, -u % P)


def has_small_order(encoding):
    return y_of(encoding) % P in SMALL_ORDER_Y


def verify(key, message, signature):
    """The strict verdict of 1.2: cofactorless, R compared as bytes, no small order, S < L."""
    if len(signature) != 64 or not is_point(key):
        return False
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L or has_small_order(key) or has_small_order(r):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
