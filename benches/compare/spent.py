"""Where a cold fetch spends its time: what a missed goal is explained by. The product beside the floor, by `perf`."""

import shutil
import subprocess

import table

# Samples a second: odd, so that they do not fall into step with timers.
RATE = 999
# Functions in the table.
SHOWN = 16
COUNTERS = "context-switches,page-faults"


def profile(bench, tools, shape):
    """Markdown, or why there is none."""
    if shutil.which("perf") is None:
        return "No profile: `perf` is absent (Debian's linux-perf)."
    samples, counters = {}, {}
    for tool in (tools.ztlab, tools.floor):
        samples[tool.name] = by_function(bench, tool, shape)
        counters[tool.name] = counted(bench, tool, shape)
    return "\n".join([functions(samples), "", events(counters)])


def fetched_under(bench, tool, shape, wrapper):
    """One cold fetch inside another program."""
    bench.empty(tool)
    tool.prepare(shape, bench.destination(tool))
    command = tool.command(shape, bench.origin.port, bench.destination(tool))
    done = subprocess.run(
        [*wrapper, *map(str, command)], env=bench.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )
    bench.empty(tool)
    bench.judge(f"profile: {tool.name}", [done.stderr[-300:]] if done.returncode else [])
    return done


def by_function(bench, tool, shape):
    """Seconds of CPU by function. `cpu-clock` needs no counters of the processor, which virtual machines often lack."""
    data = bench.work / "perf.data"
    fetched_under(bench, tool, shape, ["perf", "record", "--quiet", "-F", str(RATE), "-e", "cpu-clock", "-o", str(data), "--"])
    report = subprocess.run(
        ["perf", "report", "-i", str(data), "--stdio", "-F", "sample,dso,sym", "-t", "\t"],
        capture_output=True, text=True, check=False,
    )
    found = {}
    for line in report.stdout.splitlines():
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) != 3 or not parts[0].isdigit():
            continue
        count, library, symbol = parts
        # A library without its symbols (OpenSSL's, where the floor hashes) is one line.
        name = library if symbol.startswith("[.] 0x") else symbol
        found[name] = found.get(name, 0) + int(count) / RATE
    return found


def counted(bench, tool, shape):
    """How often the threads waited for one another, and how many pages of memory were touched for the first time."""
    output = bench.work / "perf.stat"
    fetched_under(bench, tool, shape, ["perf", "stat", "-x", ",", "-e", COUNTERS, "-o", str(output), "--"])
    lines = [line.split(",") for line in output.read_text().splitlines() if "," in line]
    return {line[2].split(":")[0]: line[0] for line in lines if len(line) > 2}


def functions(samples):
    """The dearest functions; [k] is the kernel."""
    names = list(samples)
    every = {symbol for found in samples.values() for symbol in found}
    dearest = sorted(every, key=lambda symbol: -max(found.get(symbol, 0) for found in samples.values()))
    rows = [(f"`{symbol}`", *(f"{samples[name].get(symbol, 0):.2f}" for name in names)) for symbol in dearest[:SHOWN]]
    rest = [sum(found.get(symbol, 0) for symbol in dearest[SHOWN:]) for found in samples.values()]
    rows.append(("everything else", *(f"{seconds:.2f}" for seconds in rest)))
    rows.append(("together", *(f"{sum(found.values()):.2f}" for found in samples.values())))
    return "\n".join(table.lines(("function, CPU s", *names), rows))


def events(counters):
    """The counters side by side."""
    names = list(counters)
    rows = [(event, *(counters[name].get(event, "") for name in names)) for event in COUNTERS.split(",")]
    return "\n".join(table.lines(("event", *names), rows))
