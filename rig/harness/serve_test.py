"""`ztlab serve` as a room uses it: another store fetches from it, crane, skopeo, containerd and dockerd pull from it, and
its page is opened in a browser.

Wants a fetched lab in HARNESS_WORK (the part `supply`). Where a tool or its daemon is not there, the test says so and is
skipped; `rig/serve.sh` brings them all.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request

import browser
from product import Lab, Run, say
from settings import Settings

CONTAINERD_PATIENCE = 30
CONTAINERD = """version = 2
root = "{work}/containerd"
state = "{work}/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
oom_score = 0
[grpc]
  address = "{work}/containerd.sock"
"""


def run(*command, **options):
    """Standard output of a command that has to succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, check=False, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout.strip()


@contextlib.contextmanager
def two_machines():
    """Two network namespaces with one cable between them; the commands that run something in the one or the other."""
    names = [f"zt-lan-{os.getpid()}-{side}" for side in "ab"]
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for number, name in enumerate(names, 1):
            run("ip", "-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        yield [["nsenter", f"--net=/run/netns/{name}", "--"] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@contextlib.contextmanager
def serving(lab, *arguments, wrap=()):
    """The address of a server for as long as the block lasts, and then its last word."""
    command = [*wrap, *lab.command("serve", *arguments, online=True)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ended = {}
    try:
        for line in child.stdout:
            event = json.loads(line)
            if event["event"] == "serving":
                break
        else:
            raise AssertionError(f"ztlab serve: {child.stderr.read()}")
        yield event["addresses"][0].removeprefix("http://").rstrip("/"), ended
    finally:
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=60)
        ended["code"] = child.returncode
        ended["events"] = [json.loads(line) for line in rest.splitlines()]


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(Settings.read())
        cls.lock = cls.lab.lock_text()
        cls.work = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="ztlab-serve-")))
        port = os.environ.get("HARNESS_SERVE_PORT", "0")
        cls.address, cls.ended = cls.enterClassContext(serving(cls.lab, "--port", port))

    def want(self, program):
        found = shutil.which(program)
        if found is None:
            self.skipTest(f"{program} is not there")
        return found

    def image(self, registry):
        """An image of a registry: reference, the digest that its tag means, the digests of manifest and config."""
        blocks = [block for block in self.lock.split("\n\n") if f'\nwant = "{registry}/' in block]
        # The smallest: what is asked here is whether it can be pulled, not how fast.
        size = lambda block: sum(map(int, re.findall(r"size = (\d+)", block)))
        block = min(blocks, key=size)
        digest = lambda key: re.search(key + r' = \{ digest = "(sha256:[0-9a-f]{64})"', block)
        manifest, config = digest("manifest")[1], digest("config")[1]
        top = digest("index")[1] if digest("index") else manifest
        return re.search(r'want = "([^"]+)"', block)[1], top, manifest, config

    def test_1_another_store_fetches_everything_from_it_and_asks_nobody_else(self):
        store = self.work / "store"
        fetched = self.lab.run("fetch", "--locked", "--from", f"http://{self.address}/", online=True, store=store)
        self.assertEqual(fetched.code, 0, fetched.words())
        lab = json.load(urllib.request.urlopen(f"http://{self.address}/lab.json"))
        outcome = fetched.outcome()
        self.assertEqual((outcome["blobs"], outcome["bytes"], outcome["lab_id"]), (lab["blobs"], lab["bytes"], lab["lab_id"]))
        came = {part["source"]: part["bytes"] for part in outcome["sources"]}
        self.assertEqual(came["upstream"], 0)
        # Members of archives are read out of them, and come from nobody.
        self.assertTrue(0 < came[f"http://{self.address}/"] <= outcome["fetched_bytes"], came)
        say(f"{outcome['fetched_bytes'] / 1e6:.0f} MB from the server in {fetched.seconds:.1f} s")
        shutil.rmtree(store)

    def test_2_crane_pulls_and_validates(self):
        self.want("crane")
        for registry in ("docker.io", "registry.k8s.io", "quay.io"):
            reference, top, manifest, _ = self.image(registry)
            name = f"{self.address}/{reference}"
            self.assertEqual(run("crane", "digest", "--insecure", name), top)
            by_digest = f"{name.rsplit(':', 1)[0]}@{manifest}"
            self.assertIn("PASS", run("crane", "validate", "--insecure", "--remote", by_digest))
        layout = self.work / "crane"
        run("crane", "pull", "--insecure", "--format=oci", "--platform=linux/amd64", name, layout)
        self.assertIn(manifest, (layout / "index.json").read_text())
        repository = reference.rsplit(":", 1)[0]
        self.assertEqual(run("crane", "ls", "--insecure", f"{self.address}/{repository}"), reference.rsplit(":", 1)[1])
        self.assertIn(repository, run("crane", "catalog", "--insecure", self.address).splitlines())

    def test_3_skopeo_copies(self):
        self.want("skopeo")
        for number, registry in enumerate(("docker.io", "registry.k8s.io")):
            reference, _, _, config = self.image(registry)
            layout = self.work / f"skopeo-{number}"
            # Debian keeps the policy about signatures in a package of its own, which is not installed here.
            run("skopeo", "--insecure-policy", "copy", "--override-arch=amd64", "--override-os=linux", "--src-tls-verify=false",
                f"docker://{self.address}/{reference}", f"dir:{layout}")
            self.assertEqual(json.loads((layout / "manifest.json").read_text())["config"]["digest"], config)

    def test_4_containerd_pulls_under_the_real_names(self):
        self.want("containerd")
        settings = self.work / "containerd.toml"
        settings.write_text(CONTAINERD.format(work=self.work))
        hosts = self.work / "certs.d"
        for registry in ("docker.io", "quay.io"):
            folder = hosts / registry
            folder.mkdir(parents=True)
            (folder / "hosts.toml").write_text(f'[host."http://{self.address}"]\n  capabilities = ["pull", "resolve"]\n')
        log = (self.work / "containerd.log").open("w")
        with subprocess.Popen(["containerd", "--config", settings], stdout=log, stderr=log) as daemon:
            ctr = ["ctr", "--address", self.work / "containerd.sock"]
            try:
                deadline = time.monotonic() + CONTAINERD_PATIENCE
                while subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode:
                    self.assertLess(time.monotonic(), deadline, (self.work / "containerd.log").read_text()[-2000:])
                    time.sleep(0.2)
                for registry in ("docker.io", "quay.io"):
                    reference, top, _, _ = self.image(registry)
                    run(*ctr, "images", "pull", "--platform=linux/amd64", "--hosts-dir", hosts, reference)
                    listed = run(*ctr, "images", "ls", f"name=={reference}")
                    self.assertIn(top, listed)
            finally:
                daemon.terminate()

    def test_5_dockerd_pulls_through_its_mirror_setting_and_by_address(self):
        self.want("docker")
        mirrors = run("docker", "info", "--format", "{{json .RegistryConfig.Mirrors}}")
        if self.address not in mirrors:
            self.skipTest(f"this dockerd has no mirror http://{self.address}/: {mirrors}")
        reference, _, _, config = self.image("docker.io")
        run("docker", "pull", reference)
        self.assertEqual(run("docker", "image", "inspect", "--format", "{{.Id}}", reference), config)
        reference, _, _, config = self.image("registry.k8s.io")
        run("docker", "pull", f"{self.address}/{reference}")
        self.assertEqual(run("docker", "image", "inspect", "--format", "{{.Id}}", f"{self.address}/{reference}"), config)

    def test_6_the_page_in_a_browser(self):
        if browser.find() is None:
            self.skipTest("no Chromium is there")
        look(f"http://{self.address}/", self.work / "serve.png", self)

    def test_7_it_ends_by_ctrl_c_and_says_what_it_did(self):
        with serving(self.lab, "--port", "0") as (address, ended):
            urllib.request.urlopen(f"http://{address}/lab.json").read()
        self.assertEqual(ended["code"], 0)
        self.assertEqual(ended["events"][-1]["verb"], "serve")

    def test_8_a_laptop_in_the_same_network_finds_it(self):
        if os.geteuid() or shutil.which("ip") is None:
            self.skipTest("network namespaces want root and iproute2")
        name = self.image("registry.k8s.io")[0]
        key = re.search(rf'\n\[(image\.[^\]]+)\]\nwant = "{re.escape(name)}"', self.lock)[1]
        with two_machines() as (teacher, student), \
                serving(self.lab, "--bind", "10.77.0.1", "--port", "0", wrap=teacher) as (address, _):
            def fetch(lab, *arguments):
                command = [*student, *lab.command("fetch", "--from", "lan", "--only", key, *arguments, online=True, store=self.work / "lan")]
                done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
                return Run(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr, 0)
            # It asks for a second whether its name is free before it announces itself (RFC 6762, section 8.1).
            time.sleep(2)
            found = fetch(self.lab)
            self.assertEqual(found.code, 0, found.words())
            notes = " ".join(event["text"] for event in found.events if event["event"] == "note")
            self.assertIn(f"at http://{address}/", notes)
            # The same network, and another lab.
            other = Lab(self.lab.settings, "other-lab")
            shutil.rmtree(other.folder, ignore_errors=True)
            shutil.copytree(self.lab.folder / "lock", other.folder / "lock")
            for file in ("ztlab.lock", "ztlab.toml"):
                text = (other.folder / "lock" / file).read_text()
                (other.folder / "lock" / file).write_text(re.sub(r'^name = ".*"$', 'name = "another"', text, flags=re.M))
            refused = fetch(other)
            self.assertEqual((refused.code, refused.error()["code"]), (20, "fetch::lan"), refused.words())
            self.assertIn(address, refused.words())
            self.assertEqual(fetch(self.lab, "--offline").error()["code"], "fetch::offline")


def look(address, picture, test):
    """Opens the page wide and narrow, light and dark, and judges it; keeps a picture of it."""
    with browser.Browser() as page:
        for width, scheme in ((390, "dark"), (390, "light"), (1280, "dark"), (1280, "light")):
            page.size(width, height=1000)
            page.scheme(scheme)
            page.open(address)
            page.wait("document.querySelector('#room strong') && document.readyState === 'complete'")
            test.assertLessEqual(page.ask("document.documentElement.scrollWidth"), width, "it scrolls sideways")
            ground = page.ask("getComputedStyle(document.body).backgroundColor")
            bright = sum(map(int, re.findall(r"\d+", ground)[:3])) > 380
            test.assertEqual(bright, scheme == "light", ground)
        page.picture(pathlib.Path(picture))
        page.tab_to("pre.command")
        page.tab_to("summary")
        page.press("Enter")
        page.wait("document.querySelector('details').open && document.querySelectorAll('tbody tr').length > 0")
        # The room comes anew by itself.
        page.wait("performance.getEntriesByType('resource').some(entry => entry.name.endsWith('/room'))")
        elsewhere = [url for url in page.requests if not url.startswith((address, "data:"))]
        test.assertEqual((elsewhere, page.complaints), ([], []))


if __name__ == "__main__":
    import sys
    look(sys.argv[1], sys.argv[2], unittest.TestCase())
