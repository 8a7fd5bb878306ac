"""A set of images as the comparison sees it: what each tool is told to fetch, and what must be there afterwards."""

import hashlib
import pathlib

REGISTRIES = ("docker.io", "gcr.io", "quay.io", "registry.k8s.io")
INTENT_HEAD = """schema = 1
name = "comparison"
host = ["linux-amd64"]
node = ["linux-amd64"]
"""


class Shape:
    """One list of images of set.json."""

    def __init__(self, name, images, folder):
        self.name, self.images, self.folder = name, images, pathlib.Path(folder)
        self.layers, self.all, paths = {}, {}, {}
        for image in images:
            repository = image["repository"]
            for digest, size in (image["index"], image["manifest"]):
                self.all[digest] = size
                paths[digest] = f"/v2/{repository}/manifests/sha256:{digest}"
            for digest, size in image["blobs"]:
                self.all[digest] = size
                paths[digest] = f"/v2/{repository}/blobs/sha256:{digest}"
            self.layers.update(dict(image["blobs"][1:]))
        self.bytes = sum(self.all.values())
        self.paths = paths

    def references(self, port):
        """Images by digest on the origin, as a peer names them, with a name for each that is a valid tag."""
        return [
            (f"127.0.0.1:{port}/{image['repository']}@sha256:{image['index'][0]}", image["repository"].replace("/", "-"))
            for image in self.images
        ]

    def write_list(self, path, without=()):
        """The floor's list: every blob and where it is, the largest first."""
        rows = sorted(((size, digest) for digest, size in self.all.items() if digest not in without), reverse=True)
        path.write_text("".join(f"{digest} {size} {self.paths[digest]}\n" for size, digest in rows))
        return path

    def write_intent(self, lab):
        """lock/ztlab.toml of a lab that is these images."""
        (lab / "lock").mkdir(parents=True, exist_ok=True)
        blocks = [
            f'\n[image.{image["repository"].split("/", 1)[1].replace("/", "-")}]\n'
            f'ref = "{image["repository"]}:{image["tag"]}"\n'
            for image in self.images
        ]
        (lab / "lock/ztlab.toml").write_text(INTENT_HEAD + "".join(blocks))

    def problems(self, folder, everything, hashed):
        """What is wrong in a folder of blobs: absent, of another size, and with HASHED of other bytes.

        EVERYTHING includes configs, manifests and indexes, which some peers drop or write anew.
        """
        found = []
        for digest, size in (self.all if everything else self.layers).items():
            path = pathlib.Path(folder) / digest
            if not path.exists():
                found.append(f"{digest} is absent")
            elif path.stat().st_size != size:
                found.append(f"{digest} has {path.stat().st_size} bytes and should have {size}")
            elif hashed and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                found.append(f"{digest} has other bytes")
        return found
