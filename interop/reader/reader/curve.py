"""Points of the Ed25519 curve: for XEdDSA, and for signatures that no honest signer makes."""

import hashlib

from .keys import D, L, P, ROOT_OF_MINUS_1


def add(p, q):
    (x1, y1), (x2, y2) = p, q
    t = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + t, P - 2, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - t, P - 2, P) % P


def times(n, p):
    out = (0, 1)
    while n:
        if n & 1:
            out = add(out, p)
        p, n = add(p, p), n >> 1
    return out


def negative(p):
    return -p[0] % P, p[1]


def decompress(encoding):
    """The point, or none (operations.md 1.3)."""
    number = int.from_bytes(encoding, "little")
    sign, y = number >> 255, (number & (2**255 - 1)) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * ROOT_OF_MINUS_1 % P
    if v * x * x % P != u:
        return None
    return (-x % P if x & 1 != sign else x), y


def compress(p):
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def torsion():
    """The eight points whose order divides 8, as multiples of one of order 8."""
    y = 2
    while True:
        point = decompress(y.to_bytes(32, "little"))
        if point:
            point = times(L, point)
            if times(4, point) != (0, 1):
                return [times(n, point) for n in range(8)]
        y += 1


def challenge(r, key, message):
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def plain(key, message, signature):
    """Without a cofactor and without any refusal, R compared as bytes."""
    a, r, s = decompress(key), signature[:32], int.from_bytes(signature[32:], "little")
    return compress(add(times(s, BASE), times(challenge(r, key, message), negative(a)))) == r


def cofactored(key, message, signature):
    a, r, s = decompress(key), decompress(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None:
        return False
    k = challenge(signature[:32], key, message)
    rest = add(times(s, BASE), negative(add(r, times(k, a))))
    return times(8, rest) == (0, 1)
