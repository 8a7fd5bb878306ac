"""lock and fetch against a real registry and a real file server; damage in the store is found before the cluster is touched."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

from case import LabCase
from product import Lab, kubectl, say
from settings import Settings


def digest_of(lock, block, key):
    """A digest in one block of a lock's text."""
    text = lock.split(f"\n[{block}]\n", 1)[1].split("\n\n", 1)[0]
    return re.search(key + r' = \{ digest = "(sha256:[0-9a-f]{64})"', text).group(1)


def pip(*arguments):
    """pip's answer; None when it has none."""
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def real_package_index():
    """Arguments that lead to the package index which pip is configured for; None when it does not answer."""
    if pip("index", "versions", "flask") is None:
        return None
    index = (os.environ.get("PIP_INDEX_URL") or pip("config", "get", "global.index-url") or "").rstrip("/")
    certificates = os.environ.get("PIP_CERT") or pip("config", "get", "global.cert")
    mirror = ["--mirror", f"https://pypi.org={index.removesuffix('/simple')}"] if index else []
    return mirror + (["--ca-file", certificates] if certificates else [])


class Supply(LabCase):
    """Makes the lab that the other parts use."""

    @classmethod
    def setUpClass(cls):
        cls.settings = Settings.read()
        shutil.rmtree(cls.settings.work / "store", ignore_errors=True)
        cls.lab = Lab(cls.settings).create()

    def test_1_lock_names_every_byte_and_is_deterministic(self):
        self.succeed(self.lab.run("lock", online=True))
        first = self.lab.lock_text()
        other = Lab(self.settings, "other/path with blanks").create()
        elsewhere = {**os.environ, "TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"}
        self.succeed(other.run("lock", online=True, store=self.settings.work / "other-store", env=elsewhere))
        self.assertEqual(first, other.lock_text(), "the same intent gave two locks")
        shutil.rmtree(self.settings.work / "other-store")
        again = self.succeed(self.lab.run("lock", online=True)).outcome()
        self.assertFalse(again["changed"])
        upgrade = self.succeed(self.lab.run("lock", "--upgrade", online=True)).outcome()
        self.assertEqual((upgrade["changed"], upgrade["written"], upgrade["changes"]), (False, False, []))
        self.assertEqual(first, self.lab.lock_text())

    def test_1_the_wheels_are_locked_from_the_real_package_index_in_the_same_run(self):
        index = real_package_index()
        if index is None:
            self.skipTest("pip reaches no package index")
        hosts = ("https://pypi.org=", "https://files.pythonhosted.org=")
        mirrors = [mirror for mirror in self.settings.mirrors if not mirror.startswith(hosts)]
        real = Lab(dataclasses.replace(self.settings, mirrors=mirrors), "real-index").create()
        texts = []
        for _ in range(2):
            self.succeed(real.run("lock", *index, online=True))
            texts.append(real.lock_text())
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(texts[0].count("\nlinux-amd64 = { url = \"https://files.pythonhosted.org/"), 8)

    def test_2_fetch_brings_everything_and_then_asks_nothing(self):
        brought = self.succeed(self.lab.run("fetch", online=True))
        say(f"fetched {brought.outcome()['fetched_bytes'] / 1e6:.0f} MB in {brought.seconds:.1f} s")
        again = self.succeed(self.lab.run("fetch", "--locked", online=True)).outcome()
        self.assertEqual((again["requests"], again["fetched_blobs"]), (0, 0))
        self.succeed(self.lab.run("lock", "--check"))

    def test_3_the_store_is_an_image_layout_that_others_read(self):
        index = json.loads((self.lab.store / "index.json").read_text())
        names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]]
        self.assertIn("registry.k8s.io/pause:3.9", names)
        for entry in index["manifests"]:
            self.assertEqual(self.lab.blob(entry["digest"]).stat().st_size, entry["size"])

    def test_4_an_image_missing_from_the_store_stops_the_install_first(self):
        digest = digest_of(self.lab.lock_text(), "image.calico-typha", "config")
        blob, aside = self.lab.blob(digest), self.settings.work / "aside"
        before = kubectl("get", "namespaces", "-o", "name") if self.settings.on_rig else ""
        shutil.move(blob, aside)
        try:
            run = self.lab.target("install", "--offline")
            self.assertIn(run.code, (20, 21), run.words())
            self.assertIn("image.calico-typha", run.words())
            self.assertIn("ztlab fetch", run.words())
            self.assertEqual(run.finished_steps(), {})
        finally:
            shutil.move(aside, blob)
        if self.settings.on_rig:
            self.assertEqual(before, kubectl("get", "namespaces", "-o", "name"))

    def test_5_one_flipped_byte_is_found_named_and_mended(self):
        digest = digest_of(self.lab.lock_text(), "image.istio-pilot", "config")
        blob = self.lab.blob(digest)
        content = bytearray(blob.read_bytes())
        content[len(content) // 2] ^= 1
        blob.write_bytes(content)
        install = self.lab.target("install", "--offline")
        self.assertEqual(install.code, 21, install.words())
        self.assertIn("image.istio-pilot", install.words())
        verify = self.lab.run("store", "verify")
        self.assertEqual(verify.code, 21, verify.words())
        self.assertIn(digest, verify.words())
        repair = self.succeed(self.lab.run("store", "repair", online=True)).outcome()
        self.assertEqual(repair["repaired"], [digest])
        self.succeed(self.lab.run("store", "verify"))

    def test_6_a_pull_policy_of_always_and_an_unlocked_image_are_named_before_any_pod_starts(self):
        for old, new, expected in (
            ("imagePullPolicy: IfNotPresent", "imagePullPolicy: Always", "Always"),
            ("simple-backend:v1", "simple-backend:v9", "simple-backend:v9"),
        ):
            planted = Lab(self.settings, "planted").create()
            shutil.copy(self.lab.folder / "lock/ztlab.lock", planted.folder / "lock/ztlab.lock")
            path = planted.folder / "manifests/02-backend-deployment.yaml"
            text = path.read_text()
            self.assertIn(old, text)
            path.write_text(text.replace(old, new))
            run = planted.target("install", "--offline")
            self.assertEqual(run.code, 11, run.words())
            self.assertIn(expected, run.words())
            self.assertIn("02-backend-deployment.yaml", run.words())
            self.assertEqual(run.finished_steps(), {})
