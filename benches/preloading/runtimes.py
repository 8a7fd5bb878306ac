"""The two runtimes that are filled: a dockerd inside a node container, and a containerd of its own."""

import pathlib
import shutil
import subprocess
import time

KICBASE = "gcr.io/k8s-minikube/kicbase:v0.0.42"
PATIENCE = 60


def said(*command, check=True):
    """A command's standard output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def until(holds):
    """Until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("a runtime does not answer")
        time.sleep(0.1)


class DockerNode:
    """A container of the machine's dockerd, with a dockerd inside, as Minikube's docker driver makes it."""

    name, container, peer = "docker", "zt-bench", "docker load"

    def __enter__(self):
        said("docker", "run", "--detach", "--privileged", "--network", "none", "--tmpfs", "/run",
             "--volume", f"{self.container}:/var", "--name", self.container, KICBASE)
        until(lambda: self.inside("version", "--format", "{{.Server.Version}}", check=False))
        return self

    def __exit__(self, *_):
        said("docker", "rm", "--force", "--volumes", self.container, check=False)
        said("docker", "volume", "rm", self.container, check=False)

    def inside(self, *arguments, check=True):
        return said("docker", "exec", self.container, "docker", *arguments, check=check).strip()

    @property
    def address(self):
        return f"docker:{self.container}"

    def version(self):
        return f"dockerd {self.inside('version', '--format', '{{.Server.Version}}')}, {self.inside('info', '--format', '{{.Driver}}')}"

    def empty(self):
        """Forgets every image, with its layers."""
        images = self.inside("image", "ls", "--all", "--quiet").split()
        if images:
            self.inside("image", "rm", "--force", *sorted(set(images)))
        left = self.inside("image", "ls", "--all", "--quiet")
        if left:
            raise SystemExit(f"the node kept images: {left}")

    def load(self):
        """What a person would type without ztlab."""
        return ["docker", "exec", "-i", self.container, "docker", "load", "--quiet"]

    def images(self):
        """How many names there are."""
        return len(self.inside("image", "ls", "--quiet").split())


class Containerd:
    """Debian's containerd in a mount and a process namespace of its own."""

    name, peer = "containerd", "ctr images import"

    def __init__(self, work):
        self.root = pathlib.Path(work) / "containerd"
        self.socket = self.root / "containerd.sock"
        self.process = None

    def __enter__(self):
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        (self.root / "config.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        log = open(self.root / "log", "wb")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--kill-child",
             "containerd", "--config", str(self.root / "config.toml"), "--root", str(self.root / "data"),
             "--state", str(self.root / "state"), "--address", str(self.socket)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        until(lambda: self.ctr("version", check=False))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def ctr(self, *arguments, check=True):
        return said("ctr", "--address", str(self.socket), "-n", "k8s.io", *arguments, check=check).strip()

    @property
    def address(self):
        return f"containerd:{self.socket}"

    def version(self):
        return self.ctr("version").split("Version:")[-1].split()[0].join(("containerd ", ", overlayfs"))

    def empty(self):
        images = self.ctr("images", "ls", "-q").split()
        if images:
            self.ctr("images", "rm", "--sync", *images)
        leases = self.ctr("leases", "ls", "-q").split()
        if leases:
            self.ctr("leases", "rm", "--sync", *leases)
        until(lambda: not self.ctr("content", "ls", "-q"))

    def load(self):
        return ["ctr", "--address", str(self.socket), "-n", "k8s.io", "images", "import", "-"]

    def images(self):
        return len([name for name in self.ctr("images", "ls", "-q").split() if "@" not in name])


