#!/usr/bin/env python3
"""run.py [supply] [whole-way] [mutations] [steps] [profiles] [docker] [preload] [images] [serve]: drives the product through these parts, in this order (default: the first two).

Closes with a line `N passed, N failed`. `README.md` of the rig says how to point it at a real upstream and a real Minikube.
"""

import importlib
import sys
import time
import unittest

PARTS = {"supply": "supply_test", "whole-way": "whole_way_test", "mutations": "mutations_test",
         "steps": "steps_test", "profiles": "profiles_test",
         "docker": "docker_test", "preload": "preload_test",
         "images": "images_test", "serve": "serve_test"}


class Result(unittest.TestResult):
    """One line a test, as it happens: some take minutes."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.begun = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()

    def line(self, word, test, detail=""):
        name = test.id().split(".", 1)[-1] if hasattr(test, "id") else str(test)
        print(f"{word:<5} {name} ({time.monotonic() - self.begun:.1f} s)", flush=True)
        if detail:
            print("".join(f"      {line}\n" for line in detail.splitlines()), end="", flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.line("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.line("FAIL", test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.line("FAIL", test, self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("skip", test, reason)


def main(parts):
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise SystemExit(f"run.py: no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    result = Result()
    for part in parts or ["supply", "whole-way"]:
        unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(PARTS[part])).run(result)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {failed} failed")
    return 1 if failed or not result.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
