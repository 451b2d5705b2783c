"""The workloads: our arguments, theirs, and the number of runs."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """One workload on both sides. `theirs` is None where the published node cannot do it."""

    key: str
    ours: str
    theirs: str | None = None
    # Two processes: loopback is counted in a network namespace of its own.
    network: bool = False
    # Seconds after which a run is killed.
    timeout: int = 300
    # Repetitions at most: for what takes long and for what never finishes.
    reps: int = 99
    theirs_reps: int = 99
    quick: bool = False
    # Limits measured right before, since disks drift within minutes.
    limits: tuple = ()


CORE = Workload("core", "core --n 10000", "core --n 3000", quick=True)

# Between two live messages.
LIVE_US = 10_000

STORED = [("0", 0), ("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000)]


def _import():
    theirs = {0: "ingest --n 200", 10_000: "ingest --n 200", 100_000: "ingest --n 60"}
    for name, stored in STORED:
        command = theirs.get(stored)
        yield Workload(
            f"import-{name}",
            f"import --n 20000 --stored {stored}",
            command and f"{command} --stored {stored}",
            timeout=600,
            theirs_reps=1 if stored == 100_000 else 99,
            quick=stored <= 10_000,
        )
        yield Workload(f"ingest-{name}", f"ingest --n 20000 --stored {stored}", timeout=600)


def _catch_up():
    sizes = [("1k", 1_000), ("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000)]
    for name, n in sizes:
        theirs = f"catch-up --n {n} --limit-seconds 90" if n <= 100_000 else None
        yield Workload(
            f"catch-up-{name}",
            f"catch-up --n {n}",
            theirs,
            network=True,
            timeout=900,
            reps=2 if n == 10**6 else 99,
            theirs_reps=99 if n == 1_000 else 1,
            quick=n <= 10_000,
        )
    # Where the published node still finishes.
    for n in [200, 500]:
        command = f"catch-up --n {n}"
        yield Workload(f"catch-up-{n}", command, command, network=True, reps=1, theirs_reps=1)
    for name, n in sizes[:3]:
        theirs = f"catch-up --n {n} --payload 1024 --limit-seconds 60"
        yield Workload(
            f"catch-up-1kib-{name}",
            f"catch-up --n {n} --payload 1024",
            theirs if n <= 10_000 else None,
            network=True,
            timeout=600,
            theirs_reps=1,
        )
    yield Workload(
        "catch-up-both-10k", "catch-up --n 10000 --both", network=True, quick=True, reps=3
    )
    yield Workload("catch-up-both-100k", "catch-up --n 100000 --both", network=True, timeout=600)
    yield Workload(
        "memory-1m", "catch-up --n 1000000 --settle", network=True, timeout=900, reps=1
    )
    yield Workload("memory-100k", "catch-up --n 100000 --settle", network=True, reps=1)


def _no_op():
    yield Workload(
        "no-op", "catch-up --n 10000 --lacks 0", "catch-up --n 10000 --lacks 0", network=True,
        quick=True,
    )
    logs = "catch-up --n 10000 --authors 1000 --lacks"
    for lacks in [0, 10]:
        command = f"{logs} {lacks}"
        yield Workload(
            f"thousand-logs-{lacks}", f"{command} --log-sync", f"{command} --limit-seconds 90",
            network=True, theirs_reps=1, timeout=200, quick=True,
        )
    yield Workload("thousand-logs-digest", f"{logs} 0", network=True, quick=True)


def _live():
    yield Workload(
        "live", f"live --n 1000 --interval-us {LIVE_US}",
        f"catch-up --n 10 --live 1000 --interval-us {LIVE_US}", network=True, quick=True,
        limits=(f"limit-commit --interval-us {LIVE_US}", f"limit-quic --interval-us {LIVE_US}"),
    )
    yield Workload(
        "live-rate", "live --n 20000 --interval-us 0 --in-flight 64",
        "catch-up --n 10 --live 1000 --interval-us 0", network=True, quick=True,
    )
    yield Workload("fan-out", "fan-out --n 5000 --nodes 8", network=True, quick=True, reps=1)


def _alone():
    yield Workload(
        "publish", "publish --n 2000 --stored 10000 --authors 10",
        "publish --n 200 --stored 10000", quick=True, limits=("limit-commit",),
    )
    yield Workload(
        "publish-64", "publish --n 20000 --in-flight 64 --stored 10000 --authors 10", quick=True
    )
    yield Workload(
        "publish-1000-at-once",
        "publish --n 20000 --at-once 1000 --stored 10000 --authors 10", quick=True,
    )
    for name, n in [("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000)]:
        yield Workload(
            f"replay-{name}", f"replay --n {n}",
            f"replay --n {n} --limit-seconds 90" if n <= 100_000 else None,
            timeout=600, theirs_reps=99 if n == 10_000 else 1, quick=n == 10_000,
        )
    yield Workload("acks", "acks --n 2000", reps=1, quick=True)
    yield Workload("acks-64", "acks --n 20000 --in-flight 64", reps=1)


def _start():
    for name, n in [("100k", 100_000), ("1m", 1_000_000)]:
        yield Workload(f"open-{name}", f"open --n {n}", network=True, timeout=600)
    yield Workload(
        "idle", "idle --seconds 10",
        "catch-up --n 1000 --lacks 0 --idle-seconds 10", network=True, reps=1,
    )
    yield Workload("topics", "topics --topics 1000", network=True, timeout=600, reps=1)


WORKLOADS = [CORE, *_import(), *_alone(), *_catch_up(), *_no_op(), *_live(), *_start()]

LIMITS = [
    "limit-crypto", "limit-sqlite", "limit-sqlite --payload 1024", "limit-commit", "limit-quic"
]
