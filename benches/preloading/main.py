"""The comparison of preloads: see benches/README.md. Started by benches/preload, which makes what this one uses."""

import argparse
import dataclasses
import datetime
import io
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tarfile
import time
import tomllib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "benches/compare"))

import table  # noqa: E402
from goals import Goal, spread  # noqa: E402
from runtimes import Containerd, DockerNode  # noqa: E402

PAGE = REPOSITORY / "docs/preload.md"
BEGIN, END = "<!-- written by benches/preload --write: begin -->\n", "<!-- written by benches/preload --write: end -->\n"
# The goals, as the project set them.
COLD, WARM, DELTA_ROOM, PEAK_MB = 0.75, 0.05, 64 * 1024, 64.0
# What ztlab may write to one file: its notes. An archive on the disk would end it by SIGXFSZ.
FILE_LIMIT = 1024 * 1024
# What --quick moves: two bases, and the app that the second lab changes.
QUICK = ("image.nginx", "image.calico-node", "app.backend", "app.frontend")
CHANGED = "app.backend"


@dataclasses.dataclass
class Sample:
    """One run."""

    wall: float
    cpu: float
    peak_mb: float
    outcome: dict


def arguments():
    parser = argparse.ArgumentParser(prog="benches/preload", description="Compare ztlab's preload with docker load.")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (3)")
    parser.add_argument("--quick", action="store_true", help="few images, one round, nothing judged by time")
    parser.add_argument("--write", action="store_true", help="put the result into docs/preload.md")
    parser.add_argument("--program", help="this ztlab instead of a release build")
    parser.add_argument("--built", action="store_true", help=argparse.SUPPRESS)
    for made in ("measure", "work", "docker-tree"):
        parser.add_argument(f"--{made}", required=True, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds is 1 or more")
    if given.quick and given.write:
        parser.error("--quick measures nothing worth writing down")
    if given.quick:
        given.rounds = 1
    return given


class Lab:
    """A fetched lab and the images of it that are moved."""

    def __init__(self, folder, store, quick):
        self.folder, self.store = folder, store
        lock = tomllib.loads((folder / "lock/ztlab.lock").read_text())
        entries = {f"image.{name}": entry for name, entry in lock.get("image", {}).items()}
        entries |= {f"app.{name}": entry for name, entry in lock.get("app", {}).items()}
        # The node's own image is the machine's; Python's base is only built upon.
        left = {"image.kicbase", "image.python"}
        self.names = [name for name in sorted(entries) if (name in QUICK if quick else name not in left)]
        self.images = [self.image(entries[name]) for name in self.names]
        self.changed = self.image(entries[CHANGED])

    def image(self, entry):
        """Reference, config and layers."""
        pin = entry["linux-amd64"]
        reference = entry.get("ref") or entry.get("want")
        layers = [(layer["digest"].split(":")[1], layer["size"]) for layer in pin["layers"]]
        return reference, pin["config"]["digest"].split(":")[1], layers

    def archive(self, path):
        """One archive of everything, as `docker save` and a gzip of its layers would give it: each blob once."""
        named, members = [], {}
        for reference, config, layers in self.images:
            blobs = [config, *(digest for digest, _ in layers)]
            members |= dict.fromkeys(blobs)
            config, *layers = (f"blobs/sha256/{digest}" for digest in blobs)
            named.append({"Config": config, "RepoTags": [reference], "Layers": layers})
        with tarfile.open(path, "w") as archive:
            for digest in members:
                archive.add(self.store / "blobs/sha256" / digest, arcname=f"blobs/sha256/{digest}")
            content = json.dumps(named).encode()
            entry = tarfile.TarInfo("manifest.json")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        return path

    def bytes(self):
        return sum({digest: size for _, _, layers in self.images for digest, size in layers}.values())


class Bench:
    """Runs and their samples."""

    def __init__(self, given):
        self.given, self.work = given, pathlib.Path(given.work)
        self.samples, self.passed, self.failures = {}, 0, []

    def judge(self, what, holds, detail=""):
        if holds:
            self.passed += 1
        else:
            self.failures.append(what)
            say(f"FAIL {what}: {detail}")

    def run(self, runtime, row, tool, command, stdin=subprocess.DEVNULL):
        """One measured run; everything that was written before is on the disk when the clock starts."""
        say(f"{runtime.name}: {row}: {tool}")
        os.sync()
        report, output = self.work / "report", self.work / f"output-{runtime.name}-{row}-{tool.split()[0]}.log"
        with open(output, "wb") as log, open(output.with_suffix(".err"), "wb") as err:
            subprocess.run([self.given.measure, str(report), *command], stdin=stdin, stdout=log, stderr=err, check=True)
        wall, user, system, peak_kib, code = report.read_text().split()
        words = output.with_suffix(".err").read_text(errors="replace").strip()[-300:]
        self.judge(f"{runtime.name}: {row}: {tool} ends well", code == "0", f"exit code {code}: {words} {output}")
        events = [json.loads(line) for line in output.read_text().splitlines() if line.startswith("{")]
        outcome = next((event["outcome"] for event in events if event.get("event") == "outcome"), {})
        sample = Sample(float(wall), float(user) + float(system), int(peak_kib) * 1024 / 1e6, outcome)
        self.samples.setdefault((runtime.name, row, tool), []).append(sample)
        return sample

    def preload(self, runtime, row, lab):
        """ztlab, which may write no file longer than its notes."""
        command = ["prlimit", f"--fsize={FILE_LIMIT}", self.given.program, "--json", "--offline", "--lab", str(lab.folder),
                   "--store", str(lab.store), "preload", "--node", runtime.address, "--only", *lab.names]
        sample = self.run(runtime, row, "ztlab preload", command)
        expected = {reference: f"sha256:{config}" for reference, config, _ in lab.images}
        self.judge(f"{runtime.name}: {row}: read back by digest", sample.outcome.get("images") == expected,
                   f"found {sample.outcome.get('images')}")
        return sample

    def peer(self, runtime, row, archive):
        with open(archive, "rb") as stream:
            sample = self.run(runtime, row, runtime.peer, runtime.load(), stdin=stream)
        return sample

    def of(self, runtime, row, tool="ztlab preload"):
        return self.samples.get((runtime, row, tool), [])


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def round_of(bench, runtime, lab, changed, archive, swap):
    """One round: the tools in turn, in the other order every second time."""
    def theirs():
        runtime.empty()
        bench.peer(runtime, "cold", archive)

    def ours():
        runtime.empty()
        bench.preload(runtime, "cold", lab)
        warm = bench.preload(runtime, "warm", lab)
        bench.judge(f"{runtime.name}: warm: nothing is sent", warm.outcome.get("sent") == 0, str(warm.outcome.get("sent")))
        bench.preload(runtime, "one layer changed", changed)

    for part in (ours, theirs) if swap else (theirs, ours):
        part()


def ratios(bench, runtime, row, against="docker"):
    """Round by round, against docker load in the same round."""
    peers = bench.of(against, "cold", "docker load" if against == "docker" else "ctr images import")
    return [ours.wall / theirs.wall for ours, theirs in zip(bench.of(runtime, row), peers)]


def changed_bytes(lab, changed):
    """Bytes of the changed image's layers, from the first new one up."""
    known = [digest for digest, _ in lab.changed[2]]
    new = changed.changed[2]
    same = 0
    while same < len(new) and same < len(known) and new[same][0] == known[same]:
        same += 1
    return sum(size for _, size in new[same:])


def judge(bench, lab, changed):
    goals = []
    for runtime in ("docker", "containerd"):
        for row, limit in (("cold", COLD), ("warm", WARM)):
            values = ratios(bench, runtime, row)
            what = f"{runtime}: {row}, wall ÷ `docker load` of one archive, cold"
            goals.append(Goal(row, what, f"≤ {limit}", spread(values, "{:.3f}"), statistics.median(values) <= limit))
        sent = max(sample.outcome.get("sent", -1) for sample in bench.of(runtime, "warm"))
        goals.append(Goal("warm", f"{runtime}: bytes sent", "0", str(sent), sent == 0))
        limit = changed_bytes(lab, changed) + DELTA_ROOM
        sent = max(sample.outcome.get("sent", limit + 1) for sample in bench.of(runtime, "one layer changed"))
        what = f"{runtime}: one layer changed: bytes sent"
        goals.append(Goal("delta", what, f"≤ {limit}", str(sent), sent <= limit))
    peaks = [sample.peak_mb for (_, _, tool), samples in bench.samples.items() if tool == "ztlab preload" for sample in samples]
    goals.append(Goal("memory", "peak of the largest process, docker's command line included", f"≤ {PEAK_MB:.0f} MB",
                      f"{max(peaks):.1f} MB", max(peaks) <= PEAK_MB))
    whole = all(sample.outcome for (_, _, tool), samples in bench.samples.items() if tool == "ztlab preload" for sample in samples)
    goals.append(Goal("disk", "largest file that it could have written (`prlimit --fsize`)", "≤ 1 MiB",
                      "every run ended well" if whole else "a run was ended", whole))
    return goals


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def about(given, lab, versions, load):
    cpu = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    version = first_line(given.program, "--version").removeprefix("ztlab ")
    if given.built:
        version += f", release build of commit {first_line('git', '-C', str(REPOSITORY), 'describe', '--always', '--dirty')}"
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    rows = [
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("command", "`benches/preload " + os.environ.get("BENCH_ARGUMENTS", "").strip() + "`"),
        ("machine", f"{os.cpu_count()} cores {cpu}, {memory / 2**20:.0f} GiB, "
                    f"{first_line('findmnt', '-no', 'FSTYPE', '-T', given.work)}, Linux {platform.release()}, {system}; "
                    f"load {load:.1f} before the run"),
        ("ztlab", version),
        *versions.items(),
        ("images", f"{len(lab.images)} of the rig's lab, {lab.bytes() / 1e6:.1f} MB of layers"),
    ]
    return "\n".join(table.lines(("", ""), rows))


def rows_of(bench):
    """Every row and tool."""
    lines = []
    for (runtime, row, tool), samples in bench.samples.items():
        form = "{:.2f}" if row == "cold" else "{:.3f}"
        sent = [sample.outcome["sent"] for sample in samples if "sent" in sample.outcome]
        lines.append((
            runtime, row, tool, spread([sample.wall for sample in samples], form),
            spread([sample.cpu for sample in samples], "{:.2f}"), spread([sample.peak_mb for sample in samples], "{:.1f}"),
            f"{statistics.median(sent) / 1e6:.3f}" if sent else "everything", str(len(samples)),
        ))
    headings = ("node", "row", "tool", "wall s", "CPU s of the client", "peak MB", "MB sent", "runs")
    return "\n".join(table.lines(headings, lines))


def main():
    given = arguments()
    load = os.getloadavg()[0]
    work = pathlib.Path(given.work)
    lab, changed = (Lab(work / name / "lab", work / "store", given.quick) for name in ("lab", "changed"))
    bench = Bench(given)
    archive = lab.archive(work / "all.tar")
    versions = {}
    with DockerNode() as docker, Containerd(work) as containerd:
        versions = {"docker": docker.version(), "containerd": containerd.version()}
        for number in range(given.rounds):
            for runtime in (docker, containerd):
                # The archive and the store come from memory, for everybody.
                for path in (archive, *(lab.store / "blobs/sha256" / digest for _, _, layers in lab.images for digest, _ in layers)):
                    path.read_bytes()
                round_of(bench, runtime, lab, changed, archive, swap=number % 2 == 1)
    archive.unlink()
    goals = judge(bench, lab, changed)
    parts = [about(given, lab, versions, load), ""]
    if given.quick:
        parts += ["Quick: few images, one round, and no number that means anything.", ""]
        # Bytes, memory and files do not depend on the machine's mood.
        for goal in goals:
            if "wall" not in goal.what:
                bench.judge(f"goal {goal.name}: {goal.what}", goal.met, f"{goal.found}, {goal.limit}")
    else:
        missed = [f"{goal.what}: {goal.found}, {goal.limit}" for goal in goals if not goal.met]
        parts += [table.goals_table(goals), "", "Missed: " + ("; ".join(missed) if missed else "none") + ".", ""]
        beside = spread(ratios(bench, "containerd", "cold", "containerd"), "{:.3f}")
        parts += [f"Beside `ctr images import` of one archive into the same containerd, cold: {beside}.", ""]
    parts += [rows_of(bench), ""]
    text = "\n".join(parts)
    print(text)
    if given.write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    print(f"{bench.passed} passed, {len(bench.failures)} failed")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
