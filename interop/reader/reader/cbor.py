"""Deterministic CBOR (operations.md 2): a strict decoder without recursion, and an encoder."""

import struct

HEADER = (512, 64)  # operations.md 2.2: declared length, levels of nesting
VALUE = (1_000_000_000, 200)  # operations.md 2.3


class Invalid(Exception):
    """Names the failure as operations.md 3.2.1 does."""


class Tag:
    def __init__(self, number, item):
        self.number, self.item = number, item

    def __eq__(self, other):
        return isinstance(other, Tag) and (self.number, self.item) == (other.number, other.item)

    __hash__ = None


class Map:
    """Pairs in the order of the encoding: keys may be of any type."""

    def __init__(self, pairs):
        self.pairs = pairs

    def get(self, key):
        return next((value for name, value in self.pairs if name == key and type(name) is type(key)), None)

    def __eq__(self, other):
        return isinstance(other, Map) and self.pairs == other.pairs

    __hash__ = None


class Simple(int):
    pass


def head(data, at):
    """Major type, low bits, argument and the position after the head."""
    if at >= len(data):
        raise Invalid("Eof")
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    if low < 24:
        return major, low, low, at
    if low > 27:
        raise Invalid("NonDeterministic" if low == 31 and major in (2, 3, 4, 5) else "Malformed")
    size = 1 << (low - 24)
    if at + size > len(data):
        raise Invalid("Eof")
    argument = int.from_bytes(data[at : at + size], "big")
    if major != 7 and argument < (24 if size == 1 else 1 << (4 * size)):
        raise Invalid("NonDeterministic")
    return major, low, argument, at + size


def float_item(low, argument):
    size = {25: 2, 26: 4, 27: 8}[low]
    code = {2: ">e", 4: ">f", 8: ">d"}
    raw = argument.to_bytes(size, "big")
    value = struct.unpack(code[size], raw)[0]
    if value != value:
        # 2.1.4: a NaN keeps its sign and payload, in the shortest form that has room for them.
        if size > 2 and argument & (1 << (29 if size == 8 else 13)) - 1 == 0:
            raise Invalid("NonDeterministic")
        return value
    for shorter in [one for one in (2, 4) if one < size]:
        try:
            if struct.unpack(code[shorter], struct.pack(code[shorter], value))[0] == value:
                raise Invalid("NonDeterministic")
        except OverflowError:
            pass
    return value


def scalar(major, low, argument, data, at, longest):
    """An item without nested items, and the position after it."""
    if major == 0:
        return argument, at
    if major == 1:
        return -1 - argument, at
    if major in (2, 3):
        if argument > longest:
            raise Invalid("TooLong")
        if at + argument > len(data):
            raise Invalid("Eof")
        raw = bytes(data[at : at + argument])
        if major == 2:
            return raw, at + argument
        try:
            return raw.decode("utf-8"), at + argument
        except UnicodeDecodeError:
            raise Invalid("Utf8") from None
    if low in (25, 26, 27):
        return float_item(low, argument), at
    if low == 24 and argument < 32:
        raise Invalid("Malformed")
    return {20: False, 21: True, 22: None}.get(argument, Simple(argument)), at


def item(data, at=0, limits=VALUE):
    """One item from a position, and the position after it."""
    longest, deepest = limits
    stack = []  # of [kind, items left, items, places of the keys]
    while True:
        major, low, argument, at = head(data, at)
        if major in (4, 5, 6):
            if len(stack) >= deepest:
                raise Invalid("TooDeep")
            if major != 6 and argument > longest:
                raise Invalid("TooLong")
            left = {4: argument, 5: 2 * argument, 6: 1}[major]
            stack.append([major, left, [], argument, []])
            if left:
                if major == 5:
                    stack[-1][4].append(at)
                continue
            value = close(stack.pop(), data)
        else:
            value, at = scalar(major, low, argument, data, at, longest)
        while stack:
            frame = stack[-1]
            frame[2].append(value)
            frame[1] -= 1
            if frame[0] == 5:
                check_key(frame, data, at)
            if frame[1]:
                break
            value = close(stack.pop(), data)
        else:
            return value, at


def check_key(frame, data, at):
    """Keys ascend by their encodings (2.1.3)."""
    places = frame[4]
    if frame[1] % 2:  # a key has ended
        places[-1] = bytes(data[places[-1] : at])
        if len(places) > 1 and places[-2] >= places[-1]:
            raise Invalid("NonDeterministic")
    elif frame[1]:
        places.append(at)


def close(frame, data):
    kind, _, items, argument, _ = frame
    if kind == 4:
        return items
    if kind == 5:
        return Map(list(zip(items[::2], items[1::2])))
    if argument in (2, 3) and isinstance(items[0], bytes):
        # 2.1.5: bignums only above 64 bits and without leading zeros
        if len(items[0]) <= 8 or items[0][0] == 0:
            raise Invalid("NonDeterministic")
    return Tag(argument, items[0])


def decode(data, limits=VALUE):
    value, at = item(data, 0, limits)
    if at != len(data):
        raise Invalid("Trailing")
    return value


def write_head(major, argument):
    if argument < 24:
        return bytes([major << 5 | argument])
    for low, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * size):
            return bytes([major << 5 | low]) + argument.to_bytes(size, "big")
    raise ValueError(argument)


def encode(value):
    """Values as 2.5 maps them; a dict is a map with sorted keys."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return write_head(0, value) if value >= 0 else write_head(1, -1 - value)
    if isinstance(value, (bytes, bytearray)):
        return write_head(2, len(value)) + bytes(value)
    if isinstance(value, str):
        raw = value.encode()
        return write_head(3, len(raw)) + raw
    if isinstance(value, (list, tuple)):
        return write_head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, Tag):
        return write_head(6, value.number) + encode(value.item)
    pairs = value.pairs if isinstance(value, Map) else value.items()
    pairs = sorted((encode(key), encode(one)) for key, one in pairs)
    return write_head(5, len(pairs)) + b"".join(key + one for key, one in pairs)
