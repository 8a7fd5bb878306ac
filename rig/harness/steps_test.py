"""Steps that are killed, resumed, taken back; objects that are somebody else's; a node that is started again."""

import json
import os
import shlex
import signal
import subprocess
import time
import unittest
import urllib.request

import page
from case import LabCase
from product import Lab, kubectl, say
from settings import REPOSITORY, Settings

NAMESPACES = ("webapp", "istio-system", "calico-system", "tigera-operator")
FOREIGN = "somebody-elses"
# Seconds without a running node: longer than any lease and than the time after which a node counts as lost.
SLEEP = 60
# What Kubernetes puts into every namespace.
KUBERNETES_OWN = ("configmap/kube-root-ca.crt", "serviceaccount/default")


def reboot(settings):
    """Stops the node and starts it again, with its state. HARNESS_REBOOT names the command for another cluster than the rig's."""
    if not settings.on_rig:
        subprocess.run(shlex.split(os.environ["HARNESS_REBOOT"]), timeout=300, check=True)
        return Settings.read()
    for action in ("down", "up"):
        subprocess.run([str(REPOSITORY / "rig/rig"), "node", action], capture_output=True, timeout=300, check=True)
    # The runtime's socket is reached by the node's first process, which is another one now.
    words = subprocess.run([str(REPOSITORY / "rig/rig"), "env"], capture_output=True, text=True, check=True).stdout
    for line in words.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        if name == "RIG_CONTAINERD":
            os.environ[name] = value.strip("'")
    return Settings.read()


def processes(name):
    """Process ids of a program that runs, by its name. Who only waits for a parent to hear of its end does not run."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/stat", encoding="utf-8") as stat:
                program, _, rest = stat.read().partition(" (")[2].rpartition(") ")
        except OSError:
            continue
        if program == name and rest[0] not in "ZX":
            found.append(int(process))
    return found


class Steps(LabCase):
    """What is killed, taken back, or somebody else's."""

    def killed_in(self, step, seconds=0.5, before=()):
        """An install that gets SIGKILL so long after a step began, or dies with the step's end; what it had said."""
        command = self.lab.command("install", "--offline", *self.settings.target, *self.settings.install, *before)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        events = []
        try:
            for line in process.stdout:
                events.append(json.loads(line))
                if events[-1].get("event") == "step-started" and events[-1]["step"] == step:
                    time.sleep(seconds)
                    break
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        self.assertTrue(any(event.get("step") == step for event in events), f"{step} never began: {events[-3:]}")
        self.assertEqual(process.returncode, -9, f"{step}: it ended before it was killed")
        return events

    def notes(self, run):
        return [event["text"] for event in run.events if event.get("event") == "note"]

    def test_1_an_install_that_is_killed_in_step_after_step_goes_on_and_says_where_it_was(self):
        left = []
        for step in ("blobs", "preload", "images", "calico", "istio", "app"):
            events = self.killed_in(step)
            if step == "istio":
                # istioctl goes on alone, until it writes to the pipe that nobody reads any more: the next run must not
                # start a second one beside it. It stands still, or it might be done before that one looks.
                left = processes("istioctl")
                for process in left:
                    os.kill(process, signal.SIGSTOP)
                say(f"istioctl went on alone: {bool(left)}")
            if step == "app":
                ended = [event["text"] for event in events if event.get("event") == "note" and "istioctl" in event["text"]]
                self.assertEqual(len(ended), len(left), events[:3])
                self.assertFalse(set(left) & set(processes("istioctl")))
            if step != "blobs":
                resumed = [event["text"] for event in events if event.get("event") == "note" and "going on" in event["text"]]
                self.assertEqual(len(resumed), 1, events[:3])
        run = self.succeed(self.lab.target("install", "--offline"))
        said = next(note for note in self.notes(run) if "going on" in note)
        say(said)
        self.assertIn("under way: app", said)
        pods = json.loads(kubectl("get", "pods", "-n", "webapp", "-o", "json"))["items"]
        self.assertTrue(pods and all(one["ready"] for pod in pods for one in pod["status"]["containerStatuses"]))

    def test_2_what_ran_at_the_same_time_is_told_and_a_second_install_changes_nothing(self):
        run = self.succeed(self.lab.target("install", "--offline"))
        self.assertEqual([step for step, changed in run.finished_steps().items() if changed], [])
        self.assertFalse([note for note in self.notes(run) if "going on" in note])
        steps = {step["step"]: step for step in run.outcome()["steps"]}
        for step in steps.values():
            self.assertLessEqual(step["started"] + step["seconds"], run.outcome()["seconds"] + 0.1)
        self.assertLess(steps["addons"]["started"], steps["app"]["started"] + steps["app"]["seconds"])
        plan = self.succeed(self.lab.target("plan")).outcome()
        self.assertTrue(next(step for step in plan["steps"] if step["step"] == "calico")["measured_here"])

    def test_2_the_dashboards_answer_and_none_of_them_pulls(self):
        for what, path in (("prometheus", "-/ready"), ("grafana", "api/health"), ("kiali", "kiali/healthz")):
            with page.opened(self.lab, what=what) as address:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address + path, timeout=20) as answer:
                    self.assertEqual(answer.status, 200, what)
        policies = kubectl("get", "deployments", "-n", "istio-system", "-o",
                           "jsonpath={.items[*].spec.template.spec.containers[*].imagePullPolicy}").split()
        self.assertEqual(set(policies), {"IfNotPresent"})

    def test_3_two_installs_at_once_are_refused(self):
        command = self.lab.command("install", "--offline", *self.settings.target, *self.settings.install)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            while "step-started" not in process.stdout.readline():
                self.assertIsNone(process.poll())
            run = self.lab.target("install", "--offline")
            self.assertEqual((run.code, run.error().get("code")), (30, "step::busy"), run.words())
        finally:
            process.stdout.read()
            self.assertEqual(process.wait(), 0)

    def test_4_a_dry_run_says_what_would_change_and_changes_nothing(self):
        planted = self.older_lab()
        path = planted.folder / "manifests/03-backend-service.yaml"
        path.write_text(path.read_text().replace("name: http", "name: http-api", 1))
        before = kubectl("get", "all,configmaps", "-A", "-o", "name")
        run = self.succeed(planted.target("install", "--dry-run")).outcome()
        self.assertEqual(before, kubectl("get", "all,configmaps", "-A", "-o", "name"))
        objects = {one["object"]: one for step in run["objects"] for one in step["objects"]}
        self.assertEqual(objects["ConfigMap webapp/old-settings"]["change"], "created")
        self.assertEqual(objects["Deployment webapp/frontend"]["change"], "unchanged")
        service = objects["Service webapp/backend-service"]
        self.assertEqual(service["change"], "changed")
        self.assertIn(("spec.ports[0].name", "http", "http-api"),
                      [(one["field"], one["was"], one["would_be"]) for one in service["differences"]])

    def older_lab(self):
        """A version of the lab that has one object more."""
        lab = Lab(self.settings, "older").create()
        (lab.folder / "lock/ztlab.lock").write_text(self.lab.lock_text())
        (lab.folder / "manifests/90-old.yaml").write_text(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old-settings, namespace: webapp}\ndata: {colour: red}\n")
        return lab

    def test_5_only_what_an_older_lab_left_is_pruned(self):
        self.succeed(self.older_lab().target("install", "--offline", "--from", "app"))
        kubectl("create", "configmap", FOREIGN, "-n", "webapp")
        # The label alone makes nothing ztlab's.
        kubectl("label", "configmap", FOREIGN, "-n", "webapp", "app.kubernetes.io/managed-by=ztlab")
        run = self.succeed(self.lab.target("install", "--offline"))
        self.assertEqual([step for step, changed in run.finished_steps().items() if changed], ["prune"])
        maps = kubectl("get", "configmaps", "-n", "webapp", "-o", "name")
        self.assertNotIn("old-settings", maps)
        self.assertIn(FOREIGN, maps)
        kubectl("delete", "configmap", FOREIGN, "-n", "webapp")

    def test_5_a_lock_with_other_bytes_under_the_same_names_is_what_runs_afterwards(self):
        """No object changes: the tag of the page's image stays, as that of an upstream image does when it moves."""
        # The store is shared, and its index names one image by each tag: the parts after this one find the locked one again.
        self.addCleanup(lambda: self.succeed(self.lab.run("fetch", "--locked", "--offline")))
        newer = Lab(self.settings, "newer").create()
        (newer.folder / "lock/ztlab.lock").write_text(self.lab.lock_text())
        path = newer.folder / "app/frontend/index.html"
        path.write_text(path.read_text().replace("<h1>Zero Trust lab", "<h1>Newer lab", 1))
        self.succeed(newer.run("lock", online=True))
        self.succeed(newer.run("fetch", online=True))
        for lab, heading in ((newer, "<h1>Newer lab"), (self.lab, "<h1>Zero Trust lab")):
            run = self.succeed(lab.target("install", "--offline"))
            self.assertEqual([step for step, changed in run.finished_steps().items() if changed], ["images", "app", "receipt"])
            app = next(step for step in run.outcome()["steps"] if step["step"] == "app")
            self.assertIn("started again with its locked image: Pod webapp/frontend-", app["detail"])
            with page.opened(lab) as address:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=20) as answer:
                    self.assertIn(heading, answer.read().decode())
            self.succeed(lab.target("verify", "--probe", "images-running", "--probe", "drift"))
        run = self.succeed(self.lab.target("install", "--offline"))
        self.assertEqual([step for step, changed in run.finished_steps().items() if changed], [])

    def test_6_a_field_that_somebody_else_owns_is_named_and_not_taken(self):
        mode = ("get", "peerauthentications", "default", "-n", "istio-system", "-o", "jsonpath={.spec.mtls.mode}")
        kubectl("patch", "peerauthentications", "default", "-n", "istio-system", "--type", "merge",
                "--field-manager", "somebody", "-p", '{"spec": {"mtls": {"mode": "PERMISSIVE"}}}')
        run = self.lab.target("install", "--offline")
        self.assertEqual((run.code, run.error().get("code")), (33, "apply::conflict"), run.words())
        self.assertIn("somebody", run.words())
        self.assertIn(".spec.mtls.mode", run.words())
        self.assertEqual(kubectl(*mode), "PERMISSIVE")
        run = self.succeed(self.lab.target("install", "--offline", "--force-conflicts"))
        self.assertTrue(run.finished_steps()["policies"])
        self.assertEqual(kubectl(*mode), "STRICT")

    def test_6_a_rule_that_somebody_added_to_a_policy_is_named_and_taken_away_when_told_to(self):
        everything = '[{"op": "add", "path": "/spec/%s", "value": [{}]}]'
        for kind, name, field, probe in (("authorizationpolicies", "deny-all", "rules", "requests"),
                                         ("networkpolicies", "default-deny", "ingress", "packets")):
            spec = ("get", kind, name, "-n", "webapp", "-o", "jsonpath={.spec}")
            before = kubectl(*spec)
            kubectl("patch", kind, name, "-n", "webapp", "--type", "json", "--field-manager", "somebody", "-p", everything % field)
            run = self.lab.target("install", "--offline")
            self.assertEqual((run.code, run.error().get("code")), (33, "apply::conflict"), run.words())
            for word in ("somebody", f".spec.{field}", f"webapp/{name}", "--force-conflicts"):
                self.assertIn(word, run.words())
            run = self.lab.target("verify", "--probe", probe)
            self.assertEqual(run.code, 40, f"{name} allows everything and {probe} did not notice: {run.words()}")
            run = self.succeed(self.lab.target("install", "--offline", "--force-conflicts"))
            self.assertTrue(run.finished_steps()["policies"])
            self.assertEqual(kubectl(*spec), before)
            self.succeed(self.lab.target("verify", "--probe", probe))
        run = self.succeed(self.lab.target("install", "--offline"))
        self.assertEqual([step for step, changed in run.finished_steps().items() if changed], [])

    def test_6_a_policy_that_an_older_lab_had_with_rules_becomes_empty_again(self):
        older = Lab(self.settings, "older-policy").create()
        (older.folder / "lock/ztlab.lock").write_text(self.lab.lock_text())
        path = older.folder / "istio/04-authorization-policies.yaml"
        path.write_text(path.read_text().replace("spec: {}", "spec:\n  rules:\n    - from: [{source: {namespaces: [webapp]}}]", 1))
        self.succeed(older.target("install", "--offline", "--from", "policies", "--until", "policies"))
        spec = ("get", "authorizationpolicies", "deny-all", "-n", "webapp", "-o", "jsonpath={.spec}")
        self.assertIn("namespaces", kubectl(*spec))
        run = self.succeed(self.lab.target("install", "--offline"))
        self.assertEqual([step for step, changed in run.finished_steps().items() if changed], ["policies"])
        self.assertEqual(kubectl(*spec), "{}")
        self.assertEqual(self.succeed(self.lab.target("install", "--offline")).finished_steps()["policies"], False)

    def test_7_a_node_that_was_started_again_is_waited_for_and_proved(self):
        type(self).settings = reboot(self.settings)
        type(self).lab = Lab(self.settings)
        begun = time.monotonic()
        run = self.succeed(self.lab.target("start", "--offline"))
        say(f"back and proved {time.monotonic() - begun:.0f} s after the node was up")
        verdicts = [event["outcome"]["verdicts"] for event in run.events if event.get("verb") == "verify"]
        self.assertEqual([one["name"] for one in verdicts[0] if one["outcome"] != "passed"], [])

    def test_7_a_node_that_slept_is_waited_for_and_proved(self):
        """A closed lid: no program of the node runs for a minute, and its clocks go on."""
        if not self.settings.on_rig:
            self.skipTest("the processes of another cluster's node are not the harness's to stop")
        first = self.settings.wrap[self.settings.wrap.index("--target") + 1]
        own = os.readlink(f"/proc/{first}/ns/pid_for_children")
        asleep = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                # Containers have a namespace of their own below the node's: their shims and they all are of its family.
                if os.readlink(f"/proc/{process}/ns/pid") == own:
                    asleep.append(int(process))
            except OSError:
                continue
        self.assertGreater(len(asleep), 10, "these are not the node's programs")
        for process in asleep:
            os.kill(process, signal.SIGSTOP)
        time.sleep(SLEEP)
        for process in asleep:
            os.kill(process, signal.SIGCONT)
        begun = time.monotonic()
        run = self.succeed(self.lab.target("start", "--offline"))
        say(f"back and proved {time.monotonic() - begun:.0f} s after the node woke up")
        verdicts = [event["outcome"]["verdicts"] for event in run.events if event.get("verb") == "verify"]
        self.assertEqual([one["name"] for one in verdicts[0] if one["outcome"] != "passed"], [])

    @unittest.skipIf(os.environ.get("HARNESS_KEEP"), "HARNESS_KEEP leaves the lab running")
    def test_8_a_reset_and_an_uninstall_touch_nothing_of_somebody_else(self):
        if not self.settings.on_rig:
            self.skipTest("a Minikube of ztlab's own goes with everything in it")
        for namespace in NAMESPACES:
            kubectl("create", "configmap", FOREIGN, "-n", namespace)
        run = self.succeed(self.lab.target("reset", "--to", "istio"))
        self.assertIn("webapp", " ".join(run.outcome()["kept"]))
        self.assertEqual(kubectl("get", "deployments", "-n", "webapp", "-o", "name"), "")
        self.assertIn("istiod", kubectl("get", "deployments", "-n", "istio-system", "-o", "name"))
        run = self.succeed(self.lab.target("uninstall"))
        say("; ".join(run.outcome()["kept"]))
        resources = kubectl("api-resources", "--namespaced", "--verbs=list,delete", "-o", "name").split()
        kinds = ",".join(one for one in resources if not one.startswith(("events", "leases")))
        for namespace in NAMESPACES:
            left = kubectl("get", kinds, "-n", namespace, "-o", "name").split()
            self.assertEqual([one for one in left if one not in KUBERNETES_OWN], [f"configmap/{FOREIGN}"], namespace)
        self.assertEqual(kubectl("get", "customresourcedefinitions", "-o", "name"), "")
        ours = kubectl("get", "all,configmaps,namespaces,clusterroles", "-A", "-l", "app.kubernetes.io/managed-by=ztlab", "-o", "name")
        self.assertEqual(ours, "")
        kubectl("delete", "namespace", *NAMESPACES)
        self.assertEqual(self.succeed(self.lab.target("uninstall")).outcome()["removed"], [])
