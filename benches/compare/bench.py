"""Runs a tool once, with everything around it equal for all: what was on disk, what was cached, what was still to be
written. Keeps what was measured and what went wrong."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import time


@dataclasses.dataclass
class Sample:
    """One run."""

    wall: float  # seconds
    cpu: float  # seconds, user and system, the whole process tree
    peak_mb: float  # largest resident memory of one process, in 1000 * 1000 bytes
    requests: int  # answers of the origin
    received_mb: float  # bodies that the origin sent, in 1000 * 1000 bytes
    sync: float  # seconds until `sync` returned afterwards: what a durable tool has done already


class Bench:
    """The state of one comparison."""

    def __init__(self, origin, measure, work, hashed):
        self.origin, self.program, self.work, self.hashed = origin, measure, pathlib.Path(work), hashed
        self.samples = {}
        self.passed = 0
        self.failures = []
        home = self.work / "home"
        home.mkdir(parents=True, exist_ok=True)
        # Nobody's settings, credentials or proxies: everything is on this machine.
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}

    def destination(self, tool):
        """The tool's folder on the file system that is measured."""
        return self.work / "to" / tool.name

    def empty(self, tool):
        """Removes what the tool fetched, and waits until the disk is quiet."""
        shutil.rmtree(self.destination(tool), ignore_errors=True)
        self.destination(tool).parent.mkdir(parents=True, exist_ok=True)
        os.sync()

    def run(self, row, name, command):
        """One measured run of any command. A command that fails is a failure of the comparison, not a time."""
        self._say(f"{row}: {name}")
        log = self.work / "output" / f"{row}-{name}.log".replace(" ", "-")
        log.parent.mkdir(parents=True, exist_ok=True)
        report = self.work / "report"
        os.sync()
        mark = self.origin.position()
        with open(log, "wb") as output:
            subprocess.run(
                [self.program, str(report), *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment, check=True,
            )
        begun = time.monotonic()
        os.sync()
        synced = time.monotonic() - begun
        wall, user, system, peak_kib, code = report.read_text().split()
        counts = self.origin.since(mark)
        sample = Sample(
            float(wall), float(user) + float(system), int(peak_kib) * 1024 / 1e6,
            counts.requests, counts.body_bytes / 1e6, synced,
        )
        if code != "0":
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            self.judge(f"{row}: {name}", [f"exit code {code}: {' / '.join(last)}; the whole output: {log}"])
            return None
        self.samples.setdefault((row, name), []).append(sample)
        return sample

    def fetch(self, row, tool, shape, port):
        """One measured fetch into what is there, and a look at what came."""
        destination = self.destination(tool)
        tool.prepare(shape, destination)
        sample = self.run(row, tool.name, tool.command(shape, port, destination))
        if sample is not None:
            problems = shape.problems(destination / tool.blobs, tool.keeps_everything, self.hashed)
            self.judge(f"{row}: {tool.name}: what came", problems)
        return sample

    def judge(self, what, problems):
        """Counts one check. PROBLEMS that are empty mean that it passed."""
        if not problems:
            self.passed += 1
            return
        self.failures.append(what)
        shown = problems[:3] + ([f"and {len(problems) - 3} more"] if len(problems) > 3 else [])
        self._say(f"FAIL {what}: {'; '.join(shown)}")

    def of(self, row, name):
        """The samples of a row."""
        return self.samples.get((row, name), [])

    @staticmethod
    def _say(text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
