"""`ztlab preload` on a dockerd and on a containerd: nothing is sent twice, and nothing half-loaded stays, whatever happens."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import unittest

from product import Lab, say
from settings import REPOSITORY, Settings

sys.path.insert(0, str(REPOSITORY / "benches/preloading"))

from runtimes import KICBASE, Containerd, DockerNode  # noqa: E402

# Two images on one base, and one of many layers: enough to share, to split and to change.
IMAGES = ("app.backend", "app.frontend", "image.calico-node")
ROOM = 64 * 1024

# In front of a real tool on the PATH: does something the first time that it is to load, then what it was asked for.
STAND_IN = """#!/bin/bash
real={real}
case " $* " in
  *" load "*|*" images import "*) if mkdir {once} 2>/dev/null; then
{first}
  fi ;;
esac
exec $real "$@"
"""


class Preload:
    """The same tests for both runtimes. In order: each needs what the one before it made."""

    tool = ""

    @classmethod
    def setUpClass(cls):
        cls.settings = Settings.read()
        cls.lab = Lab(cls.settings)
        cls.scratch = cls.settings.work / f"preload-{cls.tool}"
        shutil.rmtree(cls.scratch, ignore_errors=True)
        cls.scratch.mkdir(parents=True)
        cls.changed = cls.edited()
        cls.runtime = cls.make_runtime()
        cls.runtime.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.runtime.__exit__(None, None, None)

    @classmethod
    def edited(cls):
        """The lab with one line more in the backend: its uppermost layer is another one."""
        lab = Lab(cls.settings, f"preload-{cls.tool}/lab")
        shutil.copytree(cls.lab.folder, lab.folder)
        with open(lab.folder / "app/backend/app.py", "a", encoding="utf-8") as file:
            file.write("# one line more\n")
        # The store is shared, and `build` has named the edited image in its index: the other parts find the locked one again.
        for where, verb in ((lab, "lock"), (lab, "build"), (cls.lab, "fetch")):
            run = where.run("--offline", verb)
            if run.code:
                raise AssertionError(f"{verb}: {run.words()}")
        return lab

    @staticmethod
    def pins(lab):
        """Name → the pin of its image."""
        lock = tomllib.loads(lab.lock_text())
        kinds = {name.split(".")[0] for name in IMAGES}
        return {f"{kind}.{name}": entry["linux-amd64"] for kind in kinds for name, entry in lock[kind].items()}

    def preload(self, lab=None, images=IMAGES, code=0, path=None):
        env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
        run = (lab or self.lab).run("--offline", "preload", "--node", self.runtime.address, "--only", *images, env=env)
        self.assertEqual(run.code, code, run.words())
        return run.outcome() if code == 0 else run

    def stand_in(self, name, first):
        """A folder for the PATH, in which the runtime's tool is another one."""
        folder = self.scratch / name
        folder.mkdir()
        real = shutil.which(self.tool)
        (folder / self.tool).write_text(STAND_IN.format(real=real, once=folder / "once", first=first.format(real=real)))
        (folder / self.tool).chmod(0o755)
        return folder

    def assert_nothing_half(self):
        self.assertEqual(self.half(), [], "names of images that are not whole")

    def test_1_everything_comes_and_is_read_back(self):
        self.runtime.empty()
        outcome = self.preload()
        digests = sorted(pin["config"]["digest"] for name, pin in self.pins(self.lab).items() if name in IMAGES)
        self.assertEqual(sorted(outcome["images"].values()), digests)
        self.assertEqual((len(outcome["loaded"]), outcome["left_out"], outcome["resent"]), (len(IMAGES), 0, 0))
        self.assert_nothing_half()

    def test_2_a_second_time_nothing_is_sent(self):
        outcome = self.preload()
        self.assertEqual((outcome["loaded"], outcome["sent"]), ([], 0))

    def test_3_of_a_changed_image_the_new_layer_goes(self):
        old, new = (self.pins(lab)["app.backend"]["layers"] for lab in (self.lab, self.changed))
        self.assertEqual([one == other for one, other in zip(old, new)].index(False), len(new) - 1)
        outcome = self.preload(self.changed)
        say(f"{self.tool}: {outcome['sent']} bytes for a layer of {new[-1]['size']}")
        self.assertEqual(len(outcome["loaded"]), 1)
        self.assertLessEqual(outcome["sent"], new[-1]["size"] + ROOM)
        self.assertEqual(outcome["left_out"], sum(layer["size"] for layer in new[:-1]))

    def test_4_what_the_node_lost_between_list_and_load_is_sent_after_all(self):
        self.runtime.empty()
        self.preload(images=("app.backend",))
        path = self.stand_in("stale", self.forget)
        outcome = self.preload(self.changed, images=("app.backend",), path=path)
        self.assertEqual((outcome["resent"], outcome["left_out"]), (1, 0))
        self.assert_nothing_half()
        self.assertEqual(self.preload(self.changed, images=("app.backend",))["sent"], 0)

    def test_5_a_load_that_is_killed_leaves_no_half_loaded_name_and_the_next_one_mends_it(self):
        self.runtime.empty()
        run = self.preload(code=32, path=self.stand_in("killed", self.killed))
        self.assertEqual(run.error().get("code"), "node::command", run.words())
        self.assert_nothing_half()
        self.assertEqual(len(self.preload()["images"]), len(IMAGES))
        self.assert_nothing_half()

    def test_6_a_ztlab_that_is_killed_in_the_middle_is_gone_on_with(self):
        self.runtime.empty()
        command = self.lab.command("--offline", "preload", "--node", self.runtime.address, "--only", *IMAGES)
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in running.stdout:
            if "transfer-progress" in line:
                break
        running.send_signal(signal.SIGKILL)
        running.wait()
        self.assertEqual(len(self.preload()["images"]), len(IMAGES))
        deadline = time.monotonic() + 60
        while self.half() and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assert_nothing_half()


class OnDocker(Preload, unittest.TestCase):
    """A node container with a dockerd on overlay2 in it, through `docker exec`."""

    tool = "docker"
    forget = f"    {{real}} exec {DockerNode.container} sh -c 'docker image rm -f $(docker image ls -aq)' >/dev/null"
    # Two megabytes, then nothing more.
    killed = '    head -c 2000000 | {real} "$@"; exit 137'

    @classmethod
    def make_runtime(cls):
        listed = subprocess.run(["docker", "image", "inspect", KICBASE], capture_output=True, check=False)
        if listed.returncode:
            load = 'rig/docker/archive.py "$(rig/image/make.sh "$PWD/rig/docker/image-kicbase.sh")" | docker load'
            subprocess.run(["bash", "-eo", "pipefail", "-c", load], cwd=REPOSITORY, check=True, capture_output=True)
        return DockerNode()

    def half(self):
        """dockerd with its own store names whole images only; one that cannot be inspected would not be."""
        names = self.runtime.inside("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        ids = {self.runtime.inside("image", "inspect", "--format", "{{.Id}}", name) for name in names}
        known = {pin["config"]["digest"] for lab in (self.lab, self.changed) for pin in self.pins(lab).values()}
        return sorted(ids - known)

    def test_7_a_full_error_is_no_success(self):
        """A dockerd that says that it failed, and ends well: seen of the containerd store of Docker 28."""
        self.runtime.empty()
        lying = self.stand_in("lying", '    cat >/dev/null; echo "Error unpacking image x: no space left on device"; exit 0')
        run = self.preload(code=32, path=lying)
        self.assertEqual(run.error().get("code"), "node::unpack", run.words())


class OnContainerd(Preload, unittest.TestCase):
    """A containerd, by its socket."""

    tool = "ctr"
    forget = (
        '    to=(--address "$2" -n k8s.io); {real} "${{to[@]}}" images rm --sync $({real} "${{to[@]}}" images ls -q) >/dev/null\n'
        '    while [ -n "$({real} "${{to[@]}}" content ls -q)" ]; do sleep 0.1; done'
    )
    # containerd makes the names, then it unpacks: in between it is killed.
    killed = (
        '    exec 3<&0; {real} "$@" <&3 & pid=$!\n'
        '    until [ -n "$({real} --address "$2" -n k8s.io images ls -q)" ]; do sleep 0.01; done\n'
        '    kill -9 $pid; wait $pid; exit $?'
    )

    @classmethod
    def make_runtime(cls):
        return Containerd(cls.scratch)

    def half(self):
        names = set(self.runtime.ctr("images", "ls", "-q").split())
        return sorted(names - set(self.runtime.ctr("images", "check", "-q").split()))

    def test_7_every_image_has_its_name_by_tag_and_by_digest(self):
        names = self.runtime.ctr("images", "ls", "-q").split()
        lock = tomllib.loads(self.lab.lock_text())
        index = lock["image"]["calico-node"]["index"]["digest"]
        self.assertIn("docker.io/calico/node:v3.27.0", names)
        self.assertIn(f"docker.io/calico/node@{index}", names)
        # What was built here has no digest in any registry.
        self.assertEqual([name for name in names if "simple-" in name and "@" in name], [])
        self.runtime.ctr("images", "rm", "--sync", f"docker.io/calico/node@{index}")
        outcome = self.preload()
        self.assertEqual(outcome["loaded"], ["docker.io/calico/node:v3.27.0"])
        self.assertLess(outcome["sent"], ROOM, "a name costs no layer")
        self.assertIn(f"docker.io/calico/node@{index}", self.runtime.ctr("images", "ls", "-q").split())
