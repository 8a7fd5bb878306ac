"""Every policy of the installed lab removed and weakened, one at a time: the proof must notice each.

HARNESS_MUTATIONS=all tries all of them, some seven minutes, and writes docs/mutations.md; without it two for each
policy are tried. The program is `examples/mutations.rs`, which cargo builds with the tests.
"""

import os
import pathlib
import subprocess
import unittest

from product import Lab, say
from settings import REPOSITORY, Settings


def try_mutations(case, settings, lab):
    """Tries them on the lab as it is installed, and leaves it as it was."""
    program = pathlib.Path(settings.program).parent / "examples/mutations"
    case.assertTrue(program.exists(), f"{program} is absent: cargo build --example mutations")
    command = [str(program), "--lab", str(lab.folder)]
    words = iter(settings.target)
    for word in words:
        if word in ("--context", "--cluster"):
            command += ["--context", next(words)]
    if os.environ.get("HARNESS_MUTATIONS") == "all":
        command += ["--table", str(REPOSITORY / "docs/mutations.md")]
    else:
        command.append("--some")
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    lines = done.stdout.splitlines()
    for line in lines:
        say(line)
    case.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr)
    passed, failed = int(lines[-1].split()[0]), int(lines[-1].split()[2])
    case.assertEqual(failed, 0)
    case.assertGreaterEqual(passed, 18, "two for each of the policies")
    # Everything was put back; the product agrees that nothing is left to do.
    install = lab.target("install", "--offline")
    case.assertEqual(install.code, 0, install.words())
    case.assertEqual([step for step, changed in install.finished_steps().items() if changed], [])


class Mutations(unittest.TestCase):
    """On a lab that is installed already."""

    def test_every_weakened_policy_turns_a_probe_red(self):
        settings = Settings.read()
        try_mutations(self, settings, Lab(settings))
