"""Reads the vectors with nothing but what the protocol pages say. Prints what passed and failed."""

import sys

from reader import discovery, groups, ingest, link, network, operations, pair, ranges, session, sync, ticket
from reader.check import Counter


def main():
    check = Counter()
    for page in (operations, ingest, sync, session, pair, network, discovery, link, ranges, groups, ticket):
        check.run(page.__name__.split(".")[1], page.read)
    print(f"{check.passed} passed, {check.failed} failed")
    return 1 if check.failed or not check.passed else 0


if __name__ == "__main__":
    sys.exit(main())
