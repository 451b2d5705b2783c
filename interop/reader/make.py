"""Makes the vectors that no other program recorded. With `--check`, compares them with the files."""

import json
import sys

from making import gossip, groups, network, operations, order, own_keys, pair, rotation, streams, sync
from reader.check import VECTORS

PAGES = (operations, sync, streams, order, groups, network, gossip, pair, rotation, own_keys)
FILES = {name: make for page in PAGES for name, make in page.FILES.items()}


def text_of(value):
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def main():
    check = "--check" in sys.argv[1:]
    stale = []
    for name, make in FILES.items():
        text = text_of(make())
        path = VECTORS / name
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        print("not as make.py makes them:", ", ".join(stale))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
