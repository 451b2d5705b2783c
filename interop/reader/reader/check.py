"""Counts passes. A failure is a line with the file, the vector and the difference."""

import json
import pathlib

VECTORS = pathlib.Path(__file__).resolve().parents[3] / "vectors"


class Counter:
    def __init__(self):
        self.passed, self.failed, self.read = 0, 0, set()

    def file(self, name):
        self.read.add(name)
        return json.loads((VECTORS / name).read_text())

    def equal(self, got, wanted, *names):
        if got == wanted:
            self.passed += 1
        else:
            self.failed += 1
            print("FAILED", *names, "\n  got    ", short(got), "\n  wanted ", short(wanted))

    def run(self, page, function):
        before = self.passed, self.failed
        function(self)
        passed, failed = self.passed - before[0], self.failed - before[1]
        print(f"{page}: {passed} passed, {failed} failed")


def short(value):
    text = value.hex() if isinstance(value, (bytes, bytearray)) else repr(value)
    return text if len(text) < 400 else text[:400] + ".."


def unhex(text):
    return None if text is None else bytes.fromhex(text)
