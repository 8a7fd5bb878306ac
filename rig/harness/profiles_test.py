"""The lab with less: fetched alone, installed, made whole, and made small again; and how much memory its pods take."""

import json
import pathlib
import shutil

from case import LabCase
from product import kubectl, say

DASHBOARDS = {"prometheus", "grafana", "kiali"}
LEFT_OUT_OF_SMALL = DASHBOARDS | {"istio-egressgateway", "csi-node-driver"}


def workloads():
    """Names of all Deployments and DaemonSets."""
    found = json.loads(kubectl("get", "deployments,daemonsets", "-A", "-o", "json"))["items"]
    return {one["metadata"]["name"] for one in found}


def memory():
    """MiB of each pod's working set, as the kubelet counts it."""
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    summary = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    pods = {}
    for pod in summary["pods"]:
        size = sum(one.get("memory", {}).get("workingSetBytes", 0) for one in pod.get("containers") or [])
        pods[f"{pod['podRef']['namespace']}/{pod['podRef']['name']}"] = size / 2**20
    return pods


def tell_memory(profile):
    pods = memory()
    say(f"{profile}: {sum(pods.values()):.0f} MiB in {len(pods)} pods; "
        + ", ".join(f"{name} {size:.0f}" for name, size in sorted(pods.items(), key=lambda one: -one[1])[:12]))
    return sum(pods.values())


class Profiles(LabCase):
    """The cluster has no lab in it at the beginning and at the end."""

    memory = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.small_store = cls.settings.work / "store-small"
        shutil.rmtree(cls.small_store, ignore_errors=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.small_store, ignore_errors=True)

    def install(self, *arguments, store=None):
        run = self.lab.run("install", "--offline", *self.settings.target, *self.settings.install, *arguments, store=store)
        say(f"install {' '.join(arguments)}: {run.seconds:.0f} s")
        return self.succeed(run)

    def profile(self):
        return self.succeed(self.lab.run("receipt", "show", *self.settings.target)).outcome()["profile"]

    def assert_proved(self, profile, store=None):
        """Every probe passes, without being told what is there."""
        run = self.lab.run("verify", *self.settings.target, store=store)
        proof = run.outcome()
        failed = {one["name"]: one for one in proof["verdicts"] if one["outcome"] != "passed"}
        self.assertEqual((failed, proof["profile"], len(proof["verdicts"])), ({}, profile, 19))

    def test_1_each_list_is_closed_and_the_small_one_is_fetched_alone(self):
        audit = self.succeed(self.lab.run("lock", "audit")).outcome()
        self.assertEqual({one["profile"]: one["closed"] for one in audit["profiles"]}, {"full": True, "no-addons": True, "small": True})
        fetched = self.succeed(self.lab.run("fetch", "--profile", "small", "--offline", "--from", str(self.lab.store), store=self.small_store))
        whole = sum(path.stat().st_size for path in pathlib.Path(self.lab.store, "blobs/sha256").iterdir())
        say(f"small is {fetched.outcome()['bytes'] / 1e6:.0f} MB of {whole / 1e6:.0f} MB")
        self.assertLess(fetched.outcome()["bytes"], whole)
        refused = self.lab.target("plan", "--profile", "full", store=self.small_store)
        self.assertEqual(refused.error().get("code"), "fetch::incomplete", refused.words())
        self.assertIn("image.grafana", refused.words())

    def test_2_the_small_lab_is_installed_from_that_and_proved(self):
        record = self.settings.work / "record-small.json"
        self.install("--profile", "small", "--record", str(record), store=self.small_store)
        self.assertEqual(workloads() & LEFT_OUT_OF_SMALL, set())
        self.assertIn("loadtest", workloads())
        containers = kubectl("get", "daemonset", "-n", "calico-system", "calico-node", "-o", "jsonpath={.spec.template.spec.initContainers[*].name}")
        self.assertEqual(containers, "install-cni")
        # What the real operator, istioctl and injection asked for is what was foreseen for this profile, both ways.
        compared = self.succeed(self.lab.run("lock", "audit", "--recorded", str(record))).outcome()
        self.assertEqual(compared["findings"], [])
        self.assert_proved("small", store=self.small_store)
        self.assertEqual(self.profile(), "small")
        self.memory["small"] = tell_memory("small")

    def test_3_an_install_that_is_not_told_keeps_the_profile(self):
        run = self.install()
        self.assertEqual([step for step, changed in run.finished_steps().items() if changed], [])
        self.assertEqual(run.outcome()["profile"], "small")
        told = [event["text"] for event in run.events if event.get("event") == "note"]
        self.assertTrue(any("profile small, as it was there before" in text for text in told), told)
        wrong = self.lab.run("open", "kiali", *self.settings.target, "--port", "0")
        self.assertEqual((wrong.code, wrong.error()["code"]), (2, "open::left_out"))

    def test_4_the_full_lab_adds_what_was_left_out(self):
        run = self.install("--profile", "full")
        changed = [step for step, changed in run.finished_steps().items() if changed]
        # A node that had the full lab before has its images still.
        self.assertTrue({"calico", "istio", "addons", "receipt"} <= set(changed), changed)
        self.assertEqual(LEFT_OUT_OF_SMALL - workloads(), set())
        self.assert_proved("full")
        self.memory["full"] = tell_memory("full")
        say(f"the small lab's pods take {self.memory['small']:.0f} MiB, the full one's {self.memory['full']:.0f} MiB")
        self.assertLess(self.memory["small"], self.memory["full"])

    def test_5_without_the_dashboards(self):
        run = self.install("--profile", "no-addons")
        changed = [step for step, changed in run.finished_steps().items() if changed]
        self.assertEqual(changed, ["prune", "receipt"])
        self.assertEqual(workloads() & LEFT_OUT_OF_SMALL, LEFT_OUT_OF_SMALL - DASHBOARDS)
        self.assert_proved("no-addons")

    def test_6_the_small_lab_over_the_full_one_takes_away_what_is_ours(self):
        self.install("--profile", "full")
        kubectl("create", "deployment", "somebody-elses", "-n", "istio-system", "--image", "docker.io/curlimages/curl:8.5.0", "--replicas", "0")
        try:
            self.install("--profile", "small")
            self.assertEqual(workloads() & LEFT_OUT_OF_SMALL, set())
            self.assertIn("somebody-elses", workloads())
            services = kubectl("get", "services", "-n", "istio-system", "-o", "jsonpath={.items[*].metadata.name}").split()
            self.assertEqual(set(services) & LEFT_OUT_OF_SMALL, set())
        finally:
            kubectl("delete", "deployment", "somebody-elses", "-n", "istio-system")
        self.assert_proved("small")

    def test_7_it_goes_away_as_small_as_it_is(self):
        removed = self.succeed(self.lab.run("uninstall", *self.settings.target, store=self.small_store)).outcome()
        self.assertEqual(removed["kept"], [])
        left = kubectl("get", "namespaces", "-o", "name").split()
        for gone in ("webapp", "istio-system", "calico-system", "tigera-operator"):
            self.assertNotIn(f"namespace/{gone}", left)
