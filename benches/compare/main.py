"""The comparison: see benches/README.md. Started by benches/fetch, which builds what this one runs."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import types

import goals
import rows
import table
from bench import Bench
from origin import Origin
from shape import Shape
from spent import profile
from tools import Crane, Floor, Oras, Skopeo, Ztlab

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs/performance.md"
BEGIN, END = "<!-- written by benches/fetch --write: begin -->\n", "<!-- written by benches/fetch --write: end -->\n"
ALL = ("F1", "F2", "F3", "F4", "F5", "F6")
# How often the set lies on the disk at a time, with a quarter for what is written beside it: F5 and F6 keep two.
COPIES, COPIES_AGAIN = 1.25, 2.25
# Four connections are enough to fill loopback; a capped origin is the faster the more there are, and ztlab has eight.
FLOOR_CONNECTIONS, FLOOR_CAPPED_CONNECTIONS = 4, 8


def arguments():
    parser = argparse.ArgumentParser(prog="benches/fetch", description="Compare ztlab's fetch with its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(ALL), help="goals, as F1,F3")
    parser.add_argument("--quick", action="store_true", help="a small set, one round, nothing judged by time: does it work?")
    parser.add_argument("--profile", action="store_true", help="also where a cold fetch spends its time, by perf")
    parser.add_argument("--write", action="store_true", help="put the result, with the profile, into docs/performance.md")
    # --program is for benches/fetch too: it builds no ztlab then.
    parser.add_argument("--program", help="this ztlab instead of a release build")
    parser.add_argument("--built", action="store_true", help=argparse.SUPPRESS)
    for made in ("programs", "set", "crane", "oras", "skopeo", "work"):
        parser.add_argument(f"--{made}", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--version-of", action="append", default=[], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds is 1 or more")
    unknown = set(given.only) - set(ALL)
    if unknown:
        parser.error(f"no such goal: {', '.join(sorted(unknown))} (there are {', '.join(ALL)})")
    if given.quick and given.write:
        parser.error("--quick measures nothing worth writing down")
    if given.quick:
        given.rounds = 1
    return given


def said(*command):
    """The first line that a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def make_tools(given, labs, work):
    """All tools, and who runs in which row."""
    versions = dict(pair.split("=", 1) for pair in given.version_of)
    floor = Floor(f"{given.programs}/floor", FLOOR_CONNECTIONS, work)
    floor_capped = Floor(f"{given.programs}/floor", FLOOR_CAPPED_CONNECTIONS, work)
    crane = Crane(f"{given.crane}/crane", versions["crane"])
    oras = Oras(f"{given.oras}/oras", versions["oras"])
    skopeo = Skopeo(f"{given.skopeo}/skopeo", versions["skopeo"])
    version = said(given.program, "--version").removeprefix("ztlab ")
    if given.built:
        commit = said("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty")
        version = f"{version}, release build of commit {commit}"
    ztlab = Ztlab(given.program, version, labs)
    return types.SimpleNamespace(
        ztlab=ztlab,
        floor=floor,
        all=[ztlab, floor, crane, oras, skopeo],
        cold=[floor, crane, ztlab, oras, skopeo],
        capped=[floor_capped, crane, ztlab, oras, skopeo],
        capped_again=[floor_capped, crane, ztlab],
        memory=[floor, crane, ztlab],
        # crane first: the goals pair its warm runs with the product's first ones, which were beside them.
        peers=[crane, oras, skopeo],
    )


def lock_labs(bench, tools, shapes):
    """Makes each shape's lab and its lock, by the product. A lock that is there would be kept, whatever set it is of."""
    shutil.rmtree(tools.ztlab.labs, ignore_errors=True)
    for shape in shapes.values():
        shape.write_intent(tools.ztlab.labs / shape.name)
        scratch = bench.work / "to/lock"
        bench.run("lock", shape.name, tools.ztlab.call(shape, bench.origin.port, scratch, "lock"))
    if bench.failures:
        raise SystemExit("ztlab cannot make the locks: see above")


def check_space(work, wanted, shape):
    """A disk that fills up half-way would fail the tools, one after the other."""
    copies = COPIES_AGAIN if set(wanted) & {"F5", "F6"} else COPIES
    needed, free = copies * shape.bytes, shutil.disk_usage(work).free
    if free < needed:
        raise SystemExit(f"{work} has {free / 1e9:.1f} GB free, and the comparison wants {needed / 1e9:.1f} GB")


def read_everything(folder):
    """The origin serves from memory, in the first round as in the last."""
    with open("/dev/null", "wb") as nowhere:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_file():
                subprocess.run(["cat", path], stdout=nowhere, check=True)


def about(given, tools, load):
    """The machine, the versions, the command: without them a number means nothing."""
    cpu = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    sha = "with" if " sha_ni" in open("/proc/cpuinfo").read() else "WITHOUT"
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    kind = said("findmnt", "-no", "FSTYPE", "-T", str(given.work))
    rows = [
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("command", "`benches/fetch " + " ".join(sys_arguments()) + "`"),
        ("machine", f"{os.cpu_count()} cores {cpu} {sha} SHA instructions, {memory / 2**20:.0f} GiB, {kind}, "
                    f"Linux {platform.release()}, {system}; load {load:.1f} before the run"),
        *((tool.name, tool.version) for tool in tools.all),
        ("origin", said("nginx", "-v").removeprefix("nginx version: ") + " on loopback, from memory"),
        ("openssl", said("openssl", "version").split(" (")[0]),
    ]
    return "\n".join(table.lines(("", ""), rows))


def sys_arguments():
    """What the person typed, which benches/fetch hands over."""
    return os.environ.get("BENCH_ARGUMENTS", "").split()


def result(given, bench, tools, shapes, load):
    """All tables."""
    parts = [about(given, tools, load), ""]
    if given.quick:
        parts += ["Quick: a small set, whatever the headings say, and no number that means anything.", ""]
    judged = goals.judge(bench, shapes)
    if not given.quick:
        parts += [table.goals_table(judged), ""]
        missed = [f"{goal.name} ({goal.what}: {goal.found}, {goal.limit})" for goal in judged if not goal.met]
        parts += ["Missed: " + ("; ".join(missed) if missed else "none of the goals that were measured") + ".", ""]
    durable = {tool.name for tool in tools.all if tool.durable}
    names = [*(tool.name for tool in tools.all), "openssl"]
    parts += [part for part in (table.row_table(bench, row, names, durable) for row in table.TITLES) if part]
    return "\n".join(parts)


def write_page(text):
    """Replaces what an earlier run wrote; the words around it stay."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def compare(given, bench, tools, shapes):
    wanted = set(given.only)
    if wanted & {"F1", "F2"}:
        rows.cold(bench, tools, shapes["lab"], given.rounds)
    if "F3" in wanted:
        rows.capped(bench, tools, shapes["lab"], (given.rounds + 1) // 2)
    if "F4" in wanted:
        rows.memory(bench, tools, shapes, (given.rounds + 1) // 2)
    if wanted & {"F5", "F6"}:
        rows.again(bench, tools, shapes, given.rounds, "F5" in wanted, "F6" in wanted)


def main():
    given = arguments()
    work = pathlib.Path(given.work)
    load = os.getloadavg()[0]
    with open(f"{given.set}/set.json", encoding="utf-8") as file:
        shapes = {name: Shape(name, images, given.set) for name, images in json.load(file).items()}
    check_space(work, given.only, shapes["lab"])
    with Origin("nginx", given.set, work / "origin") as origin:
        bench = Bench(origin, f"{given.programs}/measure", work, hashed=given.quick)
        tools = make_tools(given, work / "lab", work)
        lock_labs(bench, tools, shapes)
        read_everything(given.set)
        compare(given, bench, tools, shapes)
        text = result(given, bench, tools, shapes, load)
        if given.profile or given.write:
            text += "\n### Where a cold fetch spends its time\n\n" + profile(bench, tools, shapes["lab"]) + "\n"
    print(text)
    if given.write:
        write_page(text)
    print(f"{bench.passed} passed, {len(bench.failures)} failed")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
