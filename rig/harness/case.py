"""What the parts that drive one lab have in common."""

import unittest

from product import Lab
from settings import Settings


class LabCase(unittest.TestCase):
    """Tests of one lab, in order: each needs what the one before it made."""

    settings: Settings
    lab: Lab

    @classmethod
    def setUpClass(cls):
        cls.settings = Settings.read()
        cls.lab = Lab(cls.settings)
        if not (cls.lab.folder / "lock/ztlab.lock").exists():
            raise unittest.SkipTest("no lab: run the part `supply` first")

    def succeed(self, run):
        """The run, which came to a good end."""
        self.assertEqual(run.code, 0, run.words())
        return run
