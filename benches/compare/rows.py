"""What is run, row by row. The names are those of the goals that a row serves."""

import os
import shlex

# A warm run takes milliseconds: more of them cost nothing.
WARM_FACTOR = 2
# Room for what a changed layer changes besides itself: config, manifest, index.
DELTA_SLACK = 64_000


def cold(bench, tools, shape, rounds):
    """F1 and F2: from nothing, as fast as the machine can."""
    # Nobody's time: the first to write so much pays for memory that a virtual machine has yet to be given.
    bench.fetch("unmeasured", tools.floor, shape, bench.origin.port)
    bench.empty(tools.floor)
    for _ in range(rounds):
        for tool in tools.cold:
            bench.empty(tool)
            bench.fetch("cold", tool, shape, bench.origin.port)
            bench.empty(tool)


def capped(bench, tools, shape, rounds):
    """F3: 40 MB/s for each connection. The slow peers that no goal names run once."""
    for number in range(rounds):
        for tool in tools.capped if number == 0 else tools.capped_again:
            bench.empty(tool)
            bench.fetch("capped", tool, shape, bench.origin.capped_port)
            bench.empty(tool)


def memory(bench, tools, shapes, rounds):
    """F4: shapes that would show a buffer for each layer, or one as large as a layer."""
    for name in ("small", "large"):
        for _ in range(rounds):
            for tool in tools.memory:
                bench.empty(tool)
                bench.fetch(name, tool, shapes[name], bench.origin.port)
                bench.empty(tool)


def again(bench, tools, shapes, rounds, warm_wanted, delta_wanted):
    """F5 and F6: with everything there, and with everything but one layer. One peer after the other takes turns with
    the product: all of them at once would need room for four sets."""
    filled(bench, tools.ztlab, shapes)
    for peer in tools.peers:
        filled(bench, peer, shapes)
        if warm_wanted:
            warm(bench, tools, peer, shapes["lab"], rounds)
        if delta_wanted:
            bench.fetch("delta", peer, shapes["delta"], bench.origin.port)
        bench.empty(peer)
    if warm_wanted:
        verified(bench, tools, shapes["lab"], rounds)
    if delta_wanted:
        sample = bench.fetch("delta", tools.ztlab, shapes["delta"], bench.origin.port)
        allowed = delta_limit(shapes) / 1e6
        if sample is not None:
            too_much = sample.received_mb > allowed
            found = f"{sample.received_mb:.3f} MB fetched, and {allowed:.3f} MB are allowed"
            bench.judge("delta: ztlab: bytes", [found] if too_much else [])
    bench.empty(tools.ztlab)


def filled(bench, tool, shapes):
    """Everything there."""
    bench.empty(tool)
    bench.fetch("fill", tool, shapes["lab"], bench.origin.port)


def warm(bench, tools, peer, shape, rounds):
    """F5: the second run."""
    for _ in range(rounds * WARM_FACTOR):
        bench.fetch("warm", peer, shape, bench.origin.port)
        sample = bench.fetch("warm", tools.ztlab, shape, bench.origin.port)
        if sample is not None:
            asked = f"{sample.requests} requests were sent with everything there"
            bench.judge("warm: ztlab: requests", [asked] if sample.requests else [])


def verified(bench, tools, shape, rounds):
    """F5: a full look at every byte."""
    store = bench.destination(tools.ztlab)
    blobs = shlex.quote(str(store / tools.ztlab.blobs))
    # Four files a process, so that no core is left with a long list of its own.
    everything = f"find {blobs} -type f -print0 | xargs -0 -n 4 -P {os.cpu_count()} openssl dgst -sha256"
    for _ in range(rounds):
        bench.run("verify", "ztlab", tools.ztlab.call(shape, bench.origin.port, store, "store", "verify"))
        bench.run("verify", "openssl", ["sh", "-c", everything])


def delta_limit(shapes):
    """Bytes that F6 allows: the changed layer, one per cent of it, and the slack."""
    changed = set(shapes["delta"].layers) - set(shapes["lab"].layers)
    (digest,) = changed
    return shapes["delta"].layers[digest] * 1.01 + DELTA_SLACK
