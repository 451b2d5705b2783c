"""Reads the vectors by the protocol pages alone. Prints what passed and failed."""

import importlib
import sys

from reader.check import VECTORS, Counter

PAGES = ("operations", "ingest", "order", "sync", "session", "pair", "network", "gossip", "discovery", "link", "ranges", "groups", "ticket",
         "device_link", "recovery",
         "channel", "encryption", "ratchets", "hybrid", "spaces", "spaces_message", "persons", "teams",
         "rotation", "own_keys")
# No page describes these yet; the last one is JSON of the RPC, which the tests of that crate run.
UNREAD = ("bamboo-", "documents-", "rpc-")


def main():
    check = Counter()
    for page in PAGES:
        check.run(page, importlib.import_module(f"reader.{page}").read)
    files = {path.name for path in VECTORS.glob("*.json") if not path.name.startswith(UNREAD)}
    check.equal(sorted(check.read), sorted(files), "files that were read")
    print(f"{check.passed} passed, {check.failed} failed")
    return 1 if check.failed or not check.passed else 0


if __name__ == "__main__":
    sys.exit(main())
