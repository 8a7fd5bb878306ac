"""What judges must be right before what it judges: python3 -m unittest discover -s benches/compare -p '*_test.py'"""

import hashlib
import pathlib
import tempfile
import types
import unittest

import goals
import rows
from bench import Sample
from origin import Counts, Origin
from shape import Shape


def blob(text):
    """Digest and size, as set.json has them."""
    return [hashlib.sha256(text).hexdigest(), len(text)]


def image(layer):
    """An image of one layer."""
    return {
        "repository": "quay.io/a/b", "tag": "v1", "index": blob(b"index"), "manifest": blob(b"manifest"),
        "blobs": [blob(b"config"), blob(layer)],
    }


def measured(**samples):
    """A bench that has measured: row_tool=[wall, ...]."""
    kept = {}
    for name, walls in samples.items():
        kept[tuple(name.split("_"))] = [Sample(wall, wall, 19.0, 0, 0.0, 0.0) for wall in walls]
    return types.SimpleNamespace(of=lambda row, name: kept.get((row, name), []))


class Judged(unittest.TestCase):
    """goals.py"""

    def found(self, bench, what):
        return next(goal for goal in goals.judge(bench, {}) if goal.what.startswith(what))

    def test_a_ratio_is_taken_round_by_round(self):
        # Both halved in the second round, when somebody else stopped using the machine.
        bench = measured(cold_ztlab=[1.0, 0.5, 0.5], cold_crane=[2.0, 1.0, 1.0])
        goal = self.found(bench, "cold fetch, durable: wall ÷ crane")
        self.assertEqual((goal.found, goal.met), ("0.500 (0.500–0.500)", True))

    def test_a_ratio_above_its_limit_is_missed(self):
        goal = self.found(measured(cold_ztlab=[1.2], cold_crane=[2.0]), "cold fetch, durable: wall ÷ crane")
        self.assertEqual((goal.found, goal.met), ("0.600", False))

    def test_the_largest_peak_counts_and_not_the_usual_one(self):
        bench = measured(large_ztlab=[1.0, 1.0, 1.0])
        bench.of("large", "ztlab")[1].peak_mb = 20.5
        self.assertFalse(self.found(bench, "peak memory, one layer").met)

    def test_one_request_with_everything_there_is_too_many(self):
        bench = measured(warm_ztlab=[0.01, 0.01], warm_crane=[0.1, 0.1])
        bench.of("warm", "ztlab")[1].requests = 1
        self.assertFalse(self.found(bench, "warm: requests").met)

    def test_what_was_not_measured_is_not_judged(self):
        self.assertEqual(goals.judge(measured(), {}), [])


class Came(unittest.TestCase):
    """shape.py: what a tool left behind."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.shape = Shape("lab", [image(b"layer")], self.folder.name)
        for text in (b"index", b"manifest", b"config", b"layer"):
            self.path(text).write_bytes(text)

    def path(self, text):
        return pathlib.Path(self.folder.name) / blob(text)[0]

    def problems(self, everything=True, hashed=True):
        return self.shape.problems(self.folder.name, everything, hashed)

    def test_all_there_is_no_problem(self):
        self.assertEqual(self.problems(), [])

    def test_an_absent_layer(self):
        self.path(b"layer").unlink()
        self.assertEqual(self.problems(everything=False), [f"{blob(b'layer')[0]} is absent"])

    def test_a_short_layer_is_seen_without_hashing(self):
        self.path(b"layer").write_bytes(b"lay")
        self.assertIn("has 3 bytes and should have 5", self.problems(hashed=False)[0])

    def test_other_bytes(self):
        self.path(b"layer").write_bytes(b"LAYER")
        self.assertEqual(self.problems(), [f"{blob(b'layer')[0]} has other bytes"])

    def test_an_absent_index_counts_only_for_who_keeps_it(self):
        self.path(b"index").unlink()
        self.assertEqual(self.problems(everything=False), [])
        self.assertEqual(self.problems(), [f"{blob(b'index')[0]} is absent"])

    def test_the_floor_fetches_the_largest_first_and_nothing_twice(self):
        path = self.shape.write_list(pathlib.Path(self.folder.name) / "list", without={blob(b"config")[0]})
        sizes = [int(line.split()[1]) for line in path.read_text().splitlines()]
        self.assertEqual(sizes, [8, 5, 5])


class Counted(unittest.TestCase):
    """The rest of what is counted."""

    def test_the_changed_layer_decides_what_a_delta_may_cost(self):
        old, new = image(b"layer"), image(b"changed layer")
        shapes = {"lab": Shape("lab", [old], "."), "delta": Shape("delta", [new], ".")}
        self.assertEqual(rows.delta_limit(shapes), len(b"changed layer") * 1.01 + rows.DELTA_SLACK)

    def test_the_log_is_counted_from_its_mark(self):
        with tempfile.TemporaryDirectory() as folder:
            origin = Origin("nginx", folder, folder)
            log = pathlib.Path(folder) / "run/access.log"
            log.parent.mkdir()
            log.write_text("5000 200 7 GET /before\n")
            mark = origin.position()
            with log.open("a") as more:
                more.write("5000 200 10 GET /v2/a\n5000 404 5 GET /v2/b\n")
            self.assertEqual(origin.since(mark), Counts(requests=2, body_bytes=15))


if __name__ == "__main__":
    unittest.main()
