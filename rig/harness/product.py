"""Runs the product as a person would, and reads what it says as a machine would."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time


@dataclasses.dataclass
class Run:
    """What one call gave."""

    code: int
    events: list
    stderr: str
    seconds: float

    def outcome(self):
        """The verb's outcome; None when it failed."""
        return next((event["outcome"] for event in self.events if event.get("event") == "outcome"), None)

    def error(self):
        """The error with code, message, causes and help; an empty one when it did not fail."""
        return next((event for event in self.events if event.get("event") == "error"), {})

    def words(self):
        """Everything a person would have read of a failure."""
        error = self.error()
        return " ".join([error.get("message", ""), *error.get("causes", []), error.get("help") or "", self.stderr])

    def finished_steps(self):
        """Step name → whether it changed anything."""
        return {event["step"]: event["changed"] for event in self.events if event.get("event") == "step-finished"}


class Lab:
    """A copy of the lab with its own store, so that it can be damaged on purpose."""

    def __init__(self, settings, name="lab"):
        self.settings = settings
        self.folder = settings.work / name
        self.store = settings.work / "store"

    def create(self):
        """Copies the lab's files and the intent; the lock is made by the product."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "lock").mkdir(parents=True)
        for part in ("app", "manifests", "istio"):
            shutil.copytree(self.settings.lab / part, self.folder / part)
        shutil.copy(self.settings.intent, self.folder / "lock/ztlab.toml")
        return self

    def lock_text(self):
        return (self.folder / "lock/ztlab.lock").read_text()

    def command(self, *arguments, online=False, store=None):
        """The words of a call."""
        command = [] if online else list(self.settings.wrap)
        command += [self.settings.program, "--json", "--lab", str(self.folder), "--store", str(store or self.store)]
        if online:
            command += [word for mirror in self.settings.mirrors for word in ("--mirror", mirror)]
        return [*command, *arguments]

    def run(self, *arguments, online=False, store=None, env=None, timeout=1500):
        """Calls the product with --json. Online calls get the mirrors; all others run where there is no way out."""
        command = self.command(*arguments, online=online, store=store)
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env, check=False)
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Run(done.returncode, events, done.stderr, time.monotonic() - begun)

    def target(self, verb, *arguments, **options):
        """A verb that needs the cluster."""
        more = self.settings.install if verb == "install" else []
        return self.run(verb, *self.settings.target, *more, *arguments, **options)

    def blob(self, digest):
        """Where the store keeps a blob."""
        return self.store / "blobs/sha256" / digest.removeprefix("sha256:")


def kubectl(*arguments, check=True):
    """kubectl's standard output."""
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, timeout=120, check=False)
    if check and done.returncode:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def say(text):
    """A line for the person who watches."""
    print(f"  {text}", file=sys.stderr, flush=True)
