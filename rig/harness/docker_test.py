"""The docker-runtime path: Minikube's cache, its node image, a node container, `docker exec -i NODE docker load`, read-back.

dockerd and the containers are real; Minikube's binary is the stand-in, which checks arguments, environment and cache.
"""

import json
import os
import shutil
import subprocess
import unittest

import node_api
from product import Lab, say
from settings import REPOSITORY, Settings

PROFILE = "ztlab-docker"
TARGET = ("--cluster", PROFILE)
SIZE = ("--memory", "2048", "--cpus", "2")
OURS = ("cache", "base-image", "cluster", "preload", "images")


def docker(*arguments):
    """docker's standard output."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=True).stdout.strip()


class DockerPath(unittest.TestCase):
    """In order: each test needs what the one before it made."""

    @classmethod
    def setUpClass(cls):
        settings = Settings.read()
        cls.lab = Lab(settings)
        cls.home = settings.work / "minikube"
        shutil.rmtree(cls.home, ignore_errors=True)
        cls.home.mkdir(parents=True)
        cls.calls = settings.work / "minikube-calls.jsonl"
        cls.calls.unlink(missing_ok=True)
        cls.server = node_api.serving()
        cls.env = {
            **os.environ,
            "MINIKUBE_HOME": str(cls.home),
            "KUBECONFIG": str(settings.work / "minikube-kubeconfig"),
            "RIG_MINIKUBE_SERVER": cls.server.__enter__(),
            "RIG_MINIKUBE_LOG": str(cls.calls),
            # What must not reach Minikube: a foreign setting and a proxy.
            "MINIKUBE_MEMORY": "99999",
            "HTTPS_PROXY": "http://proxy.school.example:3128",
        }

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def install(self):
        return self.lab.run("install", "--offline", "--until", "images", *TARGET, *SIZE, env=self.env)

    def test_1_a_minikube_is_made_and_filled_without_a_network(self):
        run = self.install()
        self.assertEqual(run.code, 0, run.words())
        say(f"node made and filled in {run.seconds:.0f} s")
        steps = run.finished_steps()
        self.assertEqual({step: steps[step] for step in OURS}, dict.fromkeys(OURS, True))
        # The time line: what the node does not need to be hashed and drafted is done while it starts, and nothing else waits.
        line = {step["step"]: step for step in run.outcome()["steps"]}
        ended = {name: step["started"] + step["seconds"] for name, step in line.items()}
        say("; ".join(f"{name} {step['started']:.1f}-{ended[name]:.1f} s" for name, step in line.items()))
        self.assertIn("drafted", line["blobs"]["detail"])
        self.assertLess(line["blobs"]["started"], line["cluster"]["started"])
        self.assertLess(ended["blobs"], ended["cluster"])
        for step, before in (("cluster", ("cache", "base-image")), ("preload", ("blobs", "cluster")), ("images", ("preload",))):
            self.assertLess(line[step]["started"] - max(ended[one] for one in before), 0.5, f"{step} waited for nothing")

    def test_2_the_node_reports_the_locked_config_digests(self):
        lock = self.lab.lock_text()
        for reference in ("calico/typha:v3.27.0", "istio/pilot:1.20.0", "simple-backend:v1", "registry.k8s.io/pause:3.9"):
            found = docker("exec", PROFILE, "docker", "image", "inspect", "--format", "{{.Id}}", reference)
            self.assertIn(f'config = {{ digest = "{found}"', lock, reference)

    def test_3_minikube_heard_what_it_must_and_nothing_else(self):
        calls = [json.loads(line) for line in self.calls.read_text().splitlines()]
        start = next(call for call in calls if "start" in json.dumps(call))
        words = json.dumps(start)
        for expected in ("--preload=false", "--cni=false", "--network-plugin=cni", "--driver=docker",
                         "--base-image=gcr.io/k8s-minikube/kicbase:v0.0.42", "kubeadm.pod-network-cidr=10.244.0.0/16"):
            self.assertIn(expected, words)
        self.assertNotIn("MINIKUBE_MEMORY", words)

    def test_4_a_second_run_changes_nothing(self):
        run = self.install()
        self.assertEqual(run.code, 0, run.words())
        steps = run.finished_steps()
        self.assertEqual({step: steps[step] for step in OURS}, dict.fromkeys(OURS, False))

    def test_4_a_docker_that_was_started_again_gets_its_node_back(self):
        """What a restart of Docker leaves: the node's container is there and stopped, its images are in its volume."""
        for action in ("down", "up"):
            subprocess.run([str(REPOSITORY / "rig/rig"), "docker", action], capture_output=True, timeout=300, check=True)
        self.assertNotIn(PROFILE, docker("ps", "--format", "{{.Names}}"))
        run = self.install()
        self.assertEqual(run.code, 0, run.words())
        steps = run.finished_steps()
        self.assertEqual({step: steps[step] for step in OURS}, {**dict.fromkeys(OURS, False), "cluster": True})
        self.assertIn(PROFILE, docker("ps", "--format", "{{.Names}}"))

    def test_5_an_image_that_was_swapped_in_the_node_is_put_back(self):
        docker("exec", PROFILE, "docker", "tag", "istio/pilot:1.20.0", "simple-backend:v1")
        run = self.install()
        self.assertEqual(run.code, 0, run.words())
        self.assertTrue(run.finished_steps()["images"])
        self.test_2_the_node_reports_the_locked_config_digests()

    def test_6_a_damaged_cache_file_is_found_before_a_start(self):
        subprocess.run(["docker", "rm", "-f", PROFILE], capture_output=True, timeout=60, check=True)
        path = self.home / ".minikube/cache/images/amd64/registry.k8s.io/pause_3.9"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        run = self.install()
        self.assertEqual(run.code, 0, run.words())
        self.assertTrue(run.finished_steps()["cache"])

    def test_7_uninstall_removes_the_node(self):
        run = self.lab.run("uninstall", *TARGET, env=self.env)
        self.assertEqual(run.code, 0, run.words())
        self.assertNotIn(PROFILE, docker("ps", "--all", "--format", "{{.Names}}"))
