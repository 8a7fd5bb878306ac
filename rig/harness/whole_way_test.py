"""install --offline and verify on a running cluster, then the same lab with one rule too few."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import unittest
import urllib.request

import page
from case import LabCase
from mutations_test import try_mutations
from product import Lab, kubectl, say


def served(address):
    """What the front door gives; nothing while the pod behind it changes."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return ""


class WholeWay(LabCase):
    """From a stick to a lab that is proved, spoilt, mended and taken away."""

    def verdicts(self, lab, *probes):
        """Probe name → outcome, whatever the exit code."""
        names = [word for probe in probes for word in ("--probe", probe)]
        run = lab.target("verify", *names)
        self.assertIn(run.code, (0, 40), run.words())
        return {verdict["name"]: verdict for verdict in run.outcome()["verdicts"]}

    def test_0_the_lab_comes_through_a_bundle_to_a_machine_that_has_nothing(self):
        """From here on, folder and store are those that the stick brought, and the program too made them."""
        work = self.settings.work
        stick, bare = work / "stick", work / "bare"
        for folder in (stick, bare):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        before = self.lab.lock_text()
        created = self.succeed(self.lab.run("bundle", "create", "-o", str(stick / "lab.tar"), "--split", "256MiB"))
        made = created.outcome()
        self.assertGreater(len(made["files"]), 1, made)
        program = f"ztlab-{made['programs'][0]}"
        subprocess.run(["tar", "-C", bare, "--occurrence=1", "-xf", stick / "lab.tar.001", program], check=True)
        command = [*self.settings.wrap, str(bare / program), "--json", "--store", str(bare / "store")]
        command += ["bundle", "import", str(stick), "--into", str(bare / "lab"), "--expect", made["bundle_id"]]
        done = subprocess.run(command, capture_output=True, text=True, cwd=bare, timeout=900, check=False)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout[-2000:])
        imported = json.loads(done.stdout.splitlines()[-1])["outcome"]
        self.assertEqual(imported["taken_blobs"], imported["blobs"])
        say(f"a bundle of {made['bytes'] / 1e6:.0f} MB in {len(made['files'])} parts: made in {created.seconds:.1f} s")
        self.assertEqual((bare / "lab/lock/ztlab.lock").read_text(), before)
        for part in ("store", "lab"):
            shutil.rmtree(work / part)
            shutil.move(bare / part, work / part)
        self.succeed(self.lab.run("fetch", "--locked", "--offline"))
        shutil.rmtree(stick)

    def test_1_install_offline(self):
        run = self.succeed(self.lab.target("install", "--offline"))
        say(f"installed in {run.seconds:.0f} s")
        # A machine that broke off a smaller lab before, in a cluster that is wiped since, gets the whole one here too.
        self.assertEqual(run.outcome()["profile"], "full")
        pods = json.loads(kubectl("get", "pods", "-n", "webapp", "-o", "json"))["items"]
        ready = {pod["metadata"]["labels"]["app"]: [one["ready"] for one in pod["status"]["containerStatuses"]] for pod in pods}
        self.assertEqual(ready, {"backend": [True, True], "frontend": [True, True], "loadtest": [True, True]})

    def test_2_a_second_install_changes_nothing(self):
        record = self.settings.work / "record.json"
        run = self.succeed(self.lab.target("install", "--offline", "--record", str(record)))
        say(f"second install: {run.seconds:.1f} s")
        self.assertEqual([step for step, changed in run.finished_steps().items() if changed], [])
        # What the real operator, istioctl and injection asked for is what `lock audit` foresaw, both ways.
        audit = self.succeed(self.lab.run("lock", "audit", "--recorded", str(record)))
        self.assertEqual(audit.outcome()["findings"], [])
        self.assertGreater(audit.outcome()["recorded"], 15)

    def stand_in(self, first):
        """A folder for the PATH: the node's tool does something else first, every time that it is called."""
        tool = "ctr" if any(word.startswith("containerd:") for word in self.settings.target) else "docker"
        folder = self.settings.work / "stand-in"
        folder.mkdir(exist_ok=True)
        (folder / tool).write_text(f'#!/bin/bash\n{first}\nexec {shutil.which(tool)} "$@"\n')
        (folder / tool).chmod(0o755)
        return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def test_2_nothing_leaves_and_what_a_program_wants_from_outside_is_counted(self):
        asks = "curl -s -m 5 https://updates.example/version >/dev/null 2>&1"
        run = self.succeed(self.lab.target("install", "--offline", "--until", "preload", env=self.stand_in(asks)))
        egress = run.outcome()["egress"]
        say(f"refused: {egress['refused']}")
        self.assertEqual((egress["left"], egress["unseen"]), ([], []))
        refused = {one["target"]: one for one in egress["refused"]}
        self.assertGreater(refused["updates.example:443"]["times"], 0)
        self.assertIsNone(refused["updates.example:443"]["why"], "nothing that a healthy install tries")
        receipt = json.loads(json.loads(kubectl("get", "configmap", "-n", "kube-system", "ztlab-receipt", "-o", "json"))["data"]["receipt.json"])
        self.assertEqual(receipt["egress"], 0)

    def test_2_pulls_of_the_node_are_told_and_one_that_succeeded_is_exit_34(self):
        stranger = "quay.io/nobody/nothing:1"
        kubectl("run", "stranger", "--image", stranger, "--restart", "Never")
        try:
            reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
            self.until(lambda: kubectl("get", "pod", "stranger", "-o", reason) in ("ErrImagePull", "ImagePullBackOff"))
            run = self.succeed(self.lab.target("install", "--offline", "--until", "preload"))
            self.assertEqual(run.outcome()["egress"]["left"], [])
            self.assertIn({"pod": "default/stranger", "image": stranger, "came": False}, run.outcome()["egress"]["pulls"])
            self.assert_a_pull_that_came_is_seen(stranger)
        finally:
            kubectl("delete", "pod", "stranger", "--now")
            kubectl("delete", "event", "planted", check=False)

    def assert_a_pull_that_came_is_seen(self, image):
        """The rig's node cannot pull anything: what a kubelet says that could is said by the test, while an install runs."""
        command = self.lab.command("install", *self.settings.target, *self.settings.install, "--offline", "--until", "preload")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            events = (json.loads(line) for line in running.stdout)
            next(event for event in events if event.get("event") == "step-finished")
            # What is left of this install takes a second, and a slow kubectl takes longer.
            running.send_signal(signal.SIGSTOP)
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            pod = {"kind": "Pod", "apiVersion": "v1", "namespace": "default", "name": "stranger"}
            planted = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "planted", "namespace": "default"},
                       "involvedObject": pod, "reason": "Pulled", "type": "Normal", "count": 1, "firstTimestamp": now,
                       "lastTimestamp": now, "message": f'Successfully pulled image "{image}" in 2s (2s including waiting)'}
            subprocess.run(["kubectl", "create", "-f", "-"], input=json.dumps(planted), text=True, check=True, capture_output=True)
            running.send_signal(signal.SIGCONT)
            last = list(events)[-1]
        self.assertEqual((running.returncode, last.get("code")), (34, "egress::seen"), last)
        self.assertIn(f"default/stranger pulled {image}", last["message"])

    def test_3_every_probe_passes(self):
        verdicts = self.verdicts(self.lab)
        failed = {name: verdict for name, verdict in verdicts.items() if verdict["outcome"] != "passed"}
        self.assertEqual(failed, {})
        self.assertGreaterEqual(len(verdicts), 19)
        calls = [call for verdict in verdicts.values() for call in verdict.get("calls", [])]
        self.assertGreater(len(calls), 70)
        self.assertEqual([call for call in calls if not (call["as_expected"] and call["as_ruled"] and call["decided_by"])], [])

    def test_3_a_report_can_be_handed_in(self):
        for name, opening in (("report.md", "# What my Zero Trust lab proves"), ("report.html", "<!DOCTYPE html>")):
            path = self.settings.work / name
            self.succeed(self.lab.target("verify", "--probe", "default-deny", "--report", str(path)))
            text = path.read_text()
            self.assertTrue(text.startswith(opening), text[:200])
            self.assertIn("1 of 1 claims hold", text)
            self.assertIn("NetworkPolicy default-deny", text)
        wrong = self.lab.target("verify", "--report", "report.pdf")
        self.assertEqual((wrong.code, wrong.error().get("code")), (2, "usage::report"))

    def test_3_receipts_tell_whether_two_machines_have_the_same(self):
        one, other = self.settings.work / "receipt-1.json", self.settings.work / "receipt-2.json"
        shown = self.succeed(self.lab.run("receipt", "show", *self.settings.target, "--output", str(one))).outcome()
        self.assertEqual(set(shown["probes"].values()), {"passed"})
        self.assertGreater(len(shown["images"]), 10)
        other.write_text(json.dumps(json.loads(one.read_text())))
        self.assertEqual(self.succeed(self.lab.run("receipt", "diff", str(one), str(other))).outcome()["differences"], [])
        image = next(iter(shown["images"]))
        other.write_text(one.read_text().replace(shown["images"][image], "sha256:" + "0" * 64))
        differs = self.lab.run("receipt", "diff", str(one), str(other))
        self.assertEqual((differs.code, differs.error()["code"]), (40, "receipt::differs"))
        self.assertIn(f"images.{image}", [one["name"] for one in differs.outcome()["differences"]])

    def test_4_the_page_shows_an_encrypted_call_and_who_refuses_the_forbidden_ones(self):
        with page.opened(self.lab) as address, page.shown(address) as browser:
            text = browser.ask("document.body.innerText")
            self.assertIn("spiffe://cluster.local/ns/webapp/sa/frontend", text)
            self.assertEqual(text.count("mutual TLS\n"), 2, text)
            for trial in ("method", "path", "plaintext", "silence"):
                kind, result = page.attempt(browser, trial)
                say(f"{trial}: {' '.join(result.split())}")
                self.assertEqual(kind, "good", result)
            picture = browser.picture(self.settings.work / "page.png")
            self.assertEqual(browser.complaints, [])
        self.assertGreater(picture.stat().st_size, 10_000)

    def test_4_an_edit_is_shown_and_called_unlocked_and_an_install_puts_the_locked_page_back(self):
        path = self.lab.folder / "app/frontend/index.html"
        locked = path.read_text()
        command = self.lab.command("dev", "--offline", "frontend", *self.settings.target)
        with page.opened(self.lab) as address, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            try:
                notes = (json.loads(line).get("text", "") for line in watching.stdout)
                self.assertIn("watching", next(notes))
                self.assertIn("the locked image", next(note for note in notes if note.startswith("app.frontend")))
                begun = time.monotonic()
                path.write_text(locked.replace("<h1>Zero Trust lab", "<h1>My lab"))
                self.until(lambda: "<h1>My lab" in served(address))
                say(f"from the edit to the page: {time.monotonic() - begun:.1f} s")
                self.assertIn("not locked", next(note for note in notes if note.startswith("app.frontend")))
            finally:
                watching.terminate()
                path.write_text(locked)
            self.assertEqual(self.verdicts(self.lab, "images-present")["images-present"]["outcome"], "failed")
            run = self.succeed(self.lab.target("install", "--offline"))
            steps = run.finished_steps()
            self.assertEqual((steps["images"], steps["app"]), (True, True))
            self.until(lambda: "<h1>Zero Trust lab" in served(address))
        self.assertEqual(self.verdicts(self.lab, "images-present")["images-present"]["outcome"], "passed")

    def until(self, holds, patience=120):
        """Until something holds. The patience is for a machine that does something else as well."""
        deadline = time.monotonic() + patience
        while not holds():
            self.assertLess(time.monotonic(), deadline, "it never held")
            time.sleep(0.2)

    def planted(self, file, old, new):
        """A copy of the lab with one file changed, installed over the running one."""
        lab = Lab(self.settings, "planted").create()
        (lab.folder / "lock/ztlab.lock").write_text(self.lab.lock_text())
        path = lab.folder / file
        text = path.read_text()
        changed = re.sub(old, new, text, count=1)
        self.assertNotEqual(text, changed, f"{file} has nothing to plant in")
        path.write_text(changed)
        self.succeed(lab.target("install", "--offline"))
        return lab

    def mended(self):
        run = self.succeed(self.lab.target("install", "--offline"))
        self.assertTrue(run.finished_steps()["policies"], "putting the rule back changed nothing")

    def test_5_a_widened_network_policy_turns_a_probe_red(self):
        # `podSelector: {}` under `from` lets every pod of the namespace in.
        self.planted("manifests/calico/01-backend-network-policy.yaml",
                     r"(- podSelector:)\n\s+matchLabels:\n\s+app: frontend", r"\1 {}")
        verdict = self.verdicts(self.lab, "wrong-label")["wrong-label"]
        self.assertEqual(verdict["outcome"], "failed", verdict)
        self.mended()
        self.assertEqual(self.verdicts(self.lab, "wrong-label")["wrong-label"]["outcome"], "passed")

    def test_6_permissive_mutual_tls_turns_probes_red(self):
        self.planted("istio/03-peer-authentication.yaml", r"mode: STRICT", "mode: PERMISSIVE")
        verdicts = self.verdicts(self.lab, "mtls-strict", "plaintext")
        self.assertEqual({name: verdict["outcome"] for name, verdict in verdicts.items()},
                         {"mtls-strict": "failed", "plaintext": "failed"})
        self.mended()
        self.assertEqual({verdict["outcome"] for verdict in self.verdicts(self.lab, "mtls-strict", "plaintext").values()}, {"passed"})

    def test_6_every_policy_removed_or_weakened_turns_a_probe_red(self):
        try_mutations(self, self.settings, self.lab)

    def test_6_what_calls_out_turns_a_probe_red(self):
        loud = ["-n", "istio-system", "set", "env", "deployment/grafana", "GF_ANALYTICS_REPORTING_ENABLED=true"]
        kubectl(*loud)
        kubectl("-n", "istio-system", "rollout", "status", "deployment/grafana", "--timeout=90s")
        self.assertEqual(self.verdicts(self.lab, "quiet")["quiet"]["outcome"], "failed")
        self.succeed(self.lab.target("install", "--offline", "--force-conflicts"))
        self.assertEqual(self.verdicts(self.lab, "quiet")["quiet"]["outcome"], "passed")

    @unittest.skipIf(os.environ.get("HARNESS_KEEP"), "HARNESS_KEEP leaves the lab running")
    def test_7_uninstall_takes_the_lab_and_nothing_else(self):
        if self.settings.on_rig:
            kubectl("create", "namespace", "somebody-elses")
        self.succeed(self.lab.target("uninstall"))
        if self.settings.on_rig:
            left = kubectl("get", "namespaces", "-o", "name").split()
            self.assertIn("namespace/somebody-elses", left)
            for gone in ("webapp", "istio-system", "calico-system", "tigera-operator", "ztlab-probe"):
                self.assertNotIn(f"namespace/{gone}", left)
            maps = kubectl("get", "configmaps", "-A", "-o", "name")
            for gone in ("istio-ca-root-cert", "ztlab-receipt"):
                self.assertNotIn(gone, maps)
            definitions = kubectl("get", "customresourcedefinitions", "-o", "name").split()
            self.assertEqual(definitions, [], "somebody's definitions stayed, and this cluster had none before")
            kubectl("delete", "namespace", "somebody-elses")
