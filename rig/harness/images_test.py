"""The app's images as others see them: skopeo and crane read them, a dockerd runs them, and `docker build` makes the same.

`docker build` uses the Dockerfiles of app/ as they are, without a network. What they ask of the internet is put in its
place: the base images are the rig's own under the names that the Dockerfiles have, and pip finds the locked wheels in a
folder of the base (PIP_FIND_LINKS).
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import unittest

from product import Lab, say
from settings import REPOSITORY, Settings

RIG = REPOSITORY / "rig"
APPS = {"backend": "docker.io/library/simple-backend:v1", "frontend": "docker.io/library/simple-frontend:v2"}
PIP = "pip==25.3"
SKOPEO = ["skopeo", "libgpgme11", "libassuan0", "libgpg-error0", "libdevmapper1.02.1", "libselinux1", "libudev1", "libpcre2-8-0"]
# What an installer writes about itself, and pip's bytecode: it is compiled when it is first needed, or not at all.
OF_THE_INSTALLER = re.compile(r"/__pycache__(/|$)|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$")
CONTAINER = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
             "--add-host", "backend-service:127.0.0.1", "--add-host", "istiod.istio-system:127.0.0.1"]


def run(*command, **options):
    """Standard output of a command that has to succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, check=False, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout.strip()


def packages(*arguments):
    """A folder with packages from Debian or PyPI, from the rig's cache."""
    return pathlib.Path(run(RIG / "build/packages.sh", *arguments))


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(Settings.read())
        cls.lock = cls.lab.lock_text()
        cls.work = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def manifest_digest(self, app):
        block = self.lock.split(f"\n[app.{app}]\n", 1)[1].split("\n\n", 1)[0]
        return re.search(r'manifest = \{ digest = "(sha256:[0-9a-f]{64})"', block).group(1)

    def manifest(self, app):
        return json.loads(self.lab.blob(self.manifest_digest(app)).read_text())

    def layout(self, app):
        """A layout of one image: crane pushes those."""
        folder = self.work / f"layout-{app}"
        if not folder.exists():
            folder.mkdir()
            (folder / "blobs").symlink_to(self.lab.store / "blobs")
            shutil.copy(self.lab.store / "oci-layout", folder)
            index = json.loads((self.lab.store / "index.json").read_text())
            index["manifests"] = [one for one in index["manifests"] if one["digest"] == self.manifest_digest(app)]
            (folder / "index.json").write_text(json.dumps(index))
        return folder

    def test_1_skopeo_inspects_the_images_in_the_store(self):
        tree = packages("debian", *SKOPEO)
        libraries = f"{tree}/usr/lib/x86_64-linux-gnu:{tree}/lib/x86_64-linux-gnu"
        for app, reference in APPS.items():
            answer = run(f"{tree}/usr/bin/skopeo", "inspect", "--no-tags", f"oci:{self.lab.store}:{reference}",
                         env={**os.environ, "LD_LIBRARY_PATH": libraries})
            self.assertEqual(json.loads(answer)["Digest"], self.manifest_digest(app))

    def test_2_crane_validates_the_images_in_a_registry(self):
        registry = os.environ.get("RIG_REGISTRY")
        if not registry:
            self.skipTest("RIG_REGISTRY names no registry to push to")
        for app in APPS:
            name = f"{registry}/check/{app}:locked"
            run("crane", "push", self.layout(app), name)
            self.assertIn("PASS", run("crane", "validate", "--remote", name))
            self.assertEqual(run("crane", "digest", name), self.manifest_digest(app))

    def load(self, app):
        """The image as ztlab built it, into Docker; its ID is the config's digest."""
        manifest = self.manifest(app)
        path = lambda blob: "blobs/" + blob["digest"].replace(":", "/")
        name = f"by-ztlab/{app}:test"
        listed = [{"Config": path(manifest["config"]), "RepoTags": [name], "Layers": list(map(path, manifest["layers"]))}]
        (self.work / "manifest.json").write_text(json.dumps(listed))
        archive = self.work / f"{app}.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(self.work / "manifest.json", "manifest.json")
            for blob in (manifest["config"], *manifest["layers"]):
                tar.add(self.lab.store / path(blob), path(blob))
        run("docker", "load", "--input", archive)
        self.assertEqual(run("docker", "image", "inspect", "--format", "{{.Id}}", name), manifest["config"]["digest"])
        return name

    def base(self, app):
        """The base as the Dockerfile names it, and its name with nothing added."""
        wanted = re.search(r"^FROM (\S+)", (REPOSITORY / f"app/{app}/Dockerfile").read_text(), re.M)[1]
        recipe = {"backend": "python", "frontend": RIG / "image/nginx/image-nginx.sh"}[app]
        layout = run(RIG / "image/make.sh", recipe)
        archive = self.work / "base.tar"
        with archive.open("wb") as file:
            subprocess.run([RIG / "docker/archive.py", layout], stdout=file, check=True)
        given = run("docker", "load", "--input", archive).split("Loaded image: ")[1]
        if app == "frontend":
            run("docker", "tag", given, wanted)
            return given, wanted
        context = self.work / "pip"
        (context / "wheels").mkdir(parents=True, exist_ok=True)
        (pip,) = packages("wheel", PIP).glob("*.whl")
        shutil.copy(pip, context / "wheels")
        for url, digest in re.findall(r'url = "([^"]+\.whl)", digest = "(sha256:[0-9a-f]{64})"', self.lock):
            shutil.copy(self.lab.blob(digest), context / "wheels" / url.rsplit("/", 1)[1])
        (context / "wheels/pip").write_text(f'#!/bin/sh\nexec python3 /wheels/{pip.name}/pip "$@"\n')
        (context / "wheels/pip").chmod(0o755)
        (context / "Dockerfile").write_text(
            f"FROM {given}\nCOPY wheels /wheels\nRUN mv /wheels/pip /usr/local/bin/pip\n"
            "ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_ROOT_USER_ACTION=ignore PIP_BREAK_SYSTEM_PACKAGES=1\n")
        run("docker", "build", "--network", "none", "--tag", wanted, context)
        return given, wanted

    def tree(self, image):
        """Path → kind, mode, owner and content of everything in an image."""
        container = run("docker", "create", image, "nothing")
        archive = self.work / "tree.tar"
        run("docker", "export", "--output", archive, container)
        run("docker", "rm", container)
        found = {}
        with tarfile.open(archive) as tar:
            for entry in tar:
                content = hashlib.sha256(tar.extractfile(entry).read()).hexdigest() if entry.isreg() else entry.linkname
                found["/" + entry.name.strip("/")] = (entry.type, oct(entry.mode), entry.uid, entry.gid, content)
        archive.unlink()
        return found

    def added(self, image, base):
        """What an image has and its base has not, or otherwise."""
        before = self.tree(base)
        now = self.tree(image)
        self.assertEqual([path for path in before if path not in now], [], f"{image} lacks files of its base")
        # Debian's Python, which the rig's base has, calls the folder by another name than the official one.
        return {path.replace("/dist-packages", "/site-packages"): what for path, what in now.items()
                if before.get(path) != what and not OF_THE_INSTALLER.search(path)}

    def settings(self, image):
        """What a container of the image is started with."""
        config = json.loads(run("docker", "image", "inspect", image))[0]["Config"]
        kept = {key: config.get(key) or None for key in ("User", "Cmd", "Entrypoint", "WorkingDir", "ExposedPorts", "Labels")}
        return {**kept, "Env": sorted(entry for entry in config["Env"] if not entry.startswith("PIP_"))}

    def answers(self, image, app):
        """What a container answers, as restricted as in the lab."""
        ask = {
            "backend": ["python3", "-c", "import urllib.request as r; print(r.urlopen('http://127.0.0.1:5000/api/').read().decode())"],
            "frontend": ["wget", "-q", "-O", "-", "http://127.0.0.1:80/"],
        }[app]
        container = run("docker", "run", "--detach", *CONTAINER, image)
        try:
            deadline = time.monotonic() + 60
            while True:
                asked = subprocess.run(["docker", "exec", container, *ask], capture_output=True, text=True, timeout=60, check=False)
                if asked.returncode == 0:
                    break
                if time.monotonic() > deadline:
                    raise AssertionError(f"{image}: {asked.stderr} {run('docker', 'logs', container)}")
                time.sleep(0.5)
            user = run("docker", "exec", container, "id", "-u")
            text = asked.stdout.replace(run("docker", "exec", container, "hostname"), "POD")
            return user, text
        finally:
            run("docker", "rm", "--force", container)

    def both_ways(self, app):
        given, wanted = self.base(app)
        by_hand = f"by-hand/{app}:test"
        run("docker", "build", "--network", "none", "--tag", by_hand, REPOSITORY / "app" / app)
        by_ztlab = self.load(app)
        hand, ours = self.added(by_hand, wanted), self.added(by_ztlab, given)
        # A program of an entry point is each installer's own text; that it is there, and may be run, is not.
        program = lambda path: path.startswith("/usr/local/bin/")
        blind = lambda tree: {path: what[:4] if program(path) else what for path, what in tree.items()}
        self.assertEqual(blind(ours), blind(hand))
        self.assertTrue(ours)
        self.assertEqual(self.settings(by_ztlab), self.settings(by_hand))
        user, answer = self.answers(by_ztlab, app)
        self.assertNotEqual(user, "0")
        self.assertEqual((user, answer), self.answers(by_hand, app))
        say(f"{app}: {len(ours)} paths, settings and answers are the same both ways")

    def test_3_the_backend_is_what_docker_build_makes(self):
        self.both_ways("backend")

    def test_4_the_frontend_is_what_docker_build_makes(self):
        self.both_ways("frontend")
