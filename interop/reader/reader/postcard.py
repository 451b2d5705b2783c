"""Frames and postcard (sync.md 2)."""


class Invalid(Exception):
    pass


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def raw(self, size):
        if size > self.left():
            raise Invalid("Eof")
        self.at += size
        return self.data[self.at - size : self.at]

    def u8(self):
        return self.raw(1)[0]

    def varint(self, bits):
        """2.6: at most as many bytes as the type needs, and no value beyond it."""
        value = shift = 0
        while shift < bits:
            byte = self.u8()
            value |= (byte & 127) << shift
            if value >> bits:
                raise Invalid("Varint")
            if byte < 128:
                return value
            shift += 7
        raise Invalid("Varint")

    def u16(self):
        return self.varint(16)

    def u32(self):
        return self.varint(32)

    def u64(self):
        return self.varint(64)

    tag = u32
    length = u64

    def bytes(self):
        return self.raw(self.length())

    def sized(self, size):
        if self.length() != size:
            raise Invalid("Length")
        return self.raw(size)

    def bool(self):
        byte = self.u8()
        if byte > 1:
            raise Invalid("Option")
        return byte == 1

    def option(self, read):
        return read() if self.bool() else None

    def list(self, read, item_bytes=1):
        count = self.length()
        if count * item_bytes > self.left():
            raise Invalid("Eof")
        return [read() for _ in range(count)]

    def rest(self):
        return self.raw(self.left())

    def finish(self):
        if self.left():
            raise Invalid("Trailing")


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(data):
    return varint(len(data)) + data


def listed(items):
    items = list(items)
    return varint(len(items)) + b"".join(items)


def option(data):
    return b"\0" if data is None else b"\1" + data


def frame(payload):
    return len(payload).to_bytes(4, "big") + payload


def frames(stream):
    """Whole frames of a stream; all of it must be frames."""
    out = []
    while stream:
        size = int.from_bytes(stream[:4], "big")
        if size == 0 or len(stream) < 4 + size:
            raise Invalid("Frame")
        out.append(stream[4 : 4 + size])
        stream = stream[4 + size :]
    return out


def only_frame(stream):
    found = frames(stream)
    if len(found) != 1:
        raise Invalid("Frame")
    return found[0]
