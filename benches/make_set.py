#!/usr/bin/env python3
"""Makes the images that the comparison fetches, as a static registry: same SIZE, same bytes, on every machine.

    make_set.py full|quick FOLDER

Four shapes, each a list of images in FOLDER/set.json:

    lab     22 images like this lab's: shared bases, an index of amd64 and arm64 each, Docker's and OCI's media types;
            amd64 has 112 layers and 22 configs, 1536 MiB
    delta   the same, with one layer of 2 MB changed
    small   1000 layers of 4 to 64 KiB in ten images
    large   one layer of 1 GiB

Layers are gzip'd tars that any tool can unpack. What is in them is random and gzip'd without compression, which is what
compressed layers look like from outside, and makes the same bytes whatever version of zlib there is.

FOLDER/blobs/HEX holds blobs, FOLDER/manifests/REPOSITORY/NAME.KIND manifests: the origin tells the media type by KIND.
"""

import hashlib
import json
import os
import pathlib
import struct
import sys
import tarfile
import zlib

MEBI = 1024 * 1024
# A file inside a layer; large layers of real images have many files, not one.
FILE_BYTES = 4 * MEBI
# The longest block that deflate can hold uncompressed (RFC 1951, section 3.2.4).
STORED_BLOCK = 65535
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
MEDIA_TYPES = {
    "oci": {
        "index": OCI + "index.v1+json",
        "manifest": OCI + "manifest.v1+json",
        "config": OCI + "config.v1+json",
        "layer": OCI + "layer.v1.tar+gzip",
    },
    "docker": {
        "index": DOCKER + "distribution.manifest.list.v2+json",
        "manifest": DOCKER + "distribution.manifest.v2+json",
        "config": DOCKER + "container.image.v1+json",
        "layer": DOCKER + "image.rootfs.diff.tar.gzip",
    },
}
# Sizes of layers in MiB, before they are scaled to LAB_BYTES. A base's layers are shared by all images on it.
BASES = {
    "distroless": [0.3, 0.03, 0.7, 0.03, 0.004, 0.004, 0.004, 0.004, 0.004, 0.004, 0.13, 0.06],
    "calico": [35.0, 0.004],
    "ubuntu": [28.0],
    "busybox": [0.7, 0.5],
    "scratch": [],
}
# Repository, tag, family of media types, base, own layers in MiB.
LAB = [
    ("gcr.io/k8s-minikube/kicbase", "v0.0.42", "docker", "ubuntu",
     [0.01, 9.0, 140.0, 0.004, 56.0, 28.0, 0.2, 0.01, 63.0, 0.01, 41.0, 19.0, 0.3, 0.01, 33.0, 0.01, 22.0, 5.0, 0.02]),
    ("registry.k8s.io/kube-apiserver", "v1.28.3", "oci", "distroless", [33.0]),
    ("registry.k8s.io/kube-controller-manager", "v1.28.3", "oci", "distroless", [32.0]),
    ("registry.k8s.io/kube-scheduler", "v1.28.3", "oci", "distroless", [17.0]),
    ("registry.k8s.io/kube-proxy", "v1.28.3", "oci", "scratch", [10.0, 14.0]),
    ("registry.k8s.io/etcd", "3.5.9-0", "docker", "distroless", [6.0, 10.0, 44.0, 27.0]),
    ("registry.k8s.io/coredns/coredns", "v1.10.1", "docker", "scratch", [0.3, 15.0]),
    ("registry.k8s.io/pause", "3.9", "oci", "scratch", [0.3]),
    ("gcr.io/k8s-minikube/storage-provisioner", "v5", "docker", "scratch", [9.0]),
    ("quay.io/tigera/operator", "v1.32.3", "docker", "calico", [20.0, 0.02, 0.3]),
    ("docker.io/calico/node", "v3.27.0", "oci", "calico", [87.0, 0.5]),
    ("docker.io/calico/cni", "v3.27.0", "oci", "calico", [50.0, 0.02, 0.01]),
    ("docker.io/calico/typha", "v3.27.0", "oci", "calico", [25.0, 0.02]),
    ("docker.io/calico/kube-controllers", "v3.27.0", "oci", "calico", [29.0, 0.02]),
    ("docker.io/calico/csi", "v3.27.0", "oci", "calico", [8.0]),
    ("docker.io/calico/node-driver-registrar", "v3.27.0", "oci", "calico", [10.0]),
    ("docker.io/calico/pod2daemon-flexvol", "v3.27.0", "oci", "calico", [6.0, 0.01, 0.5]),
    ("docker.io/istio/pilot", "1.20.0", "docker", "ubuntu", [9.0, 40.0, 26.0, 0.02]),
    ("docker.io/istio/proxyv2", "1.20.0", "docker", "ubuntu", [9.5, 12.0, 46.0, 24.0, 0.03]),
    ("docker.io/prom/prometheus", "v2.41.0", "docker", "busybox",
     [46.0, 44.0, 0.002, 0.01, 0.01, 0.01, 0.003, 0.006, 0.05, 0.003]),
    ("docker.io/grafana/grafana", "9.5.5", "docker", "scratch", [3.3, 0.02, 7.0, 26.0, 0.4, 51.0, 12.0, 0.3, 0.006]),
    ("quay.io/kiali/kiali", "v1.76", "docker", "scratch",
     [39.0, 0.002, 24.0, 2.0, 0.03, 0.2, 0.001, 0.004, 0.05, 0.3, 0.02, 0.1, 0.002, 0.006, 0.03, 0.9, 0.002, 0.1]),
]
LAB_LAYERS = 112
LAB_BYTES = 1536 * MEBI
# The delta shape changes the layer of this image that is nearest to 2 MB: a program's plug-ins, say.
CHANGED_IMAGE, CHANGED_LAYER, CHANGED_BYTES = "quay.io/kiali/kiali", 3, 2_000_000


def random_bytes(seed, count):
    """COUNT bytes that only SEED decides, a mebibyte at a time."""
    for index in range(0, count, MEBI):
        yield hashlib.shake_128(f"{seed}/{index}".encode()).digest(min(MEBI, count - index))


class StoredGzip:
    """A gzip file without compression (RFC 1952), which hashes what goes in and what comes out."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.outside = hashlib.sha256()
        self.inside = hashlib.sha256()
        self.checksum = 0
        self.length = 0
        self.size = 0
        self.rest = b""
        # Deflate, no flags, no time, no extra flags, system unknown.
        self._put(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")

    def _put(self, data):
        self.outside.update(data)
        self.size += len(data)
        self.file.write(data)

    def _block(self, data, last):
        self._put(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF))
        self._put(data)

    def write(self, data):
        self.inside.update(data)
        self.checksum = zlib.crc32(data, self.checksum)
        self.length += len(data)
        data = self.rest + data
        whole = len(data) // STORED_BLOCK * STORED_BLOCK
        for start in range(0, whole, STORED_BLOCK):
            self._block(data[start : start + STORED_BLOCK], 0)
        self.rest = data[whole:]
        return len(data)

    def close(self):
        self._block(self.rest, 1)
        self._put(struct.pack("<II", self.checksum, self.length % 2**32))
        self.file.close()


class RandomFile:
    """What tarfile reads a member from."""

    def __init__(self, seed, count):
        self.pieces = random_bytes(seed, count)
        self.rest = b""

    def read(self, count):
        while len(self.rest) < count:
            piece = next(self.pieces, b"")
            if not piece:
                break
            self.rest += piece
        data, self.rest = self.rest[:count], self.rest[count:]
        return data


class Registry:
    """The folder in the making."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "blobs").mkdir(parents=True)
        self.layers = {}

    def blob(self, data):
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs" / digest).write_bytes(data)
        return digest, len(data)

    def layer(self, seed, count):
        """A layer with about COUNT random bytes: (digest, size, diff ID). The same seed is the same layer."""
        if seed not in self.layers:
            path = self.folder / "blobs" / "new"
            gzip = StoredGzip(path)
            # A stream is written front to back, and its blocks do not depend on the machine.
            with tarfile.open(fileobj=gzip, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
                for number, start in enumerate(range(0, count, FILE_BYTES)):
                    member = tarfile.TarInfo(f"opt/{seed.replace('/', '-')}/{number}")
                    member.size = min(FILE_BYTES, count - start)
                    tar.addfile(member, RandomFile(f"{seed}/{number}", member.size))
            gzip.close()
            digest = gzip.outside.hexdigest()
            path.rename(self.folder / "blobs" / digest)
            self.layers[seed] = (digest, gzip.size, gzip.inside.hexdigest())
        return self.layers[seed]

    def manifest(self, repository, names, kind, document):
        """Keeps a manifest under its digest and all NAMES."""
        data = json.dumps(document, indent=2).encode()
        digest = hashlib.sha256(data).hexdigest()
        for name in (f"sha256:{digest}", *names):
            path = self.folder / "manifests" / repository / f"{name}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return digest, len(data)

    def platform(self, repository, family, architecture, layers):
        """Config and manifest of one platform: its descriptor, and all blobs below it."""
        types = MEDIA_TYPES[family]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": {"repository": repository}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer[2]}" for layer in layers]},
        }
        digest, size = self.blob(json.dumps(config).encode())
        document = {
            "schemaVersion": 2,
            "mediaType": types["manifest"],
            "config": {"mediaType": types["config"], "size": size, "digest": f"sha256:{digest}"},
            "layers": [{"mediaType": types["layer"], "size": layer[1], "digest": f"sha256:{layer[0]}"} for layer in layers],
        }
        manifest = self.manifest(repository, [], f"{family}-manifest", document)
        return manifest, [(digest, size)] + [layer[:2] for layer in layers]

    def image(self, repository, tag, family, layers):
        """One image: what set.json says about it. The arm64 side is real and tiny: nobody who asks for amd64 fetches it."""
        types = MEDIA_TYPES[family]
        manifest, blobs = self.platform(repository, family, "amd64", layers)
        other, _ = self.platform(repository, family, "arm64", [self.layer(f"arm64/{repository}", 512)])
        entries = []
        for (digest, size), architecture in ((manifest, "amd64"), (other, "arm64")):
            entries.append({
                "mediaType": types["manifest"],
                "size": size,
                "digest": f"sha256:{digest}",
                "platform": {"architecture": architecture, "os": "linux"},
            })
        document = {"schemaVersion": 2, "mediaType": types["index"], "manifests": entries}
        index = self.manifest(repository, [tag], f"{family}-index", document)
        return {"repository": repository, "tag": tag, "index": index, "manifest": manifest, "blobs": blobs}


def lab_sizes(total):
    """Bytes of every layer of the lab, by seed, scaled so that together they have TOTAL."""
    weights = {f"base/{base}/{number}": weight for base, layers in BASES.items() for number, weight in enumerate(layers)}
    for repository, _, _, _, own in LAB:
        weights.update({f"{repository}/{number}": weight for number, weight in enumerate(own)})
    fixed = f"{CHANGED_IMAGE}/{CHANGED_LAYER}"
    scale = (total - CHANGED_BYTES) / (sum(weights.values()) - weights[fixed])
    sizes = {seed: max(64, round(weight * scale)) for seed, weight in weights.items()}
    sizes[fixed] = CHANGED_BYTES
    return sizes


def lab(registry, total, images, changed):
    """The lab's images; with CHANGED, one layer has other bytes and its image another tag."""
    sizes = lab_sizes(total)
    made = []
    for repository, tag, family, base, own in images:
        seeds = [f"base/{base}/{number}" for number in range(len(BASES[base]))]
        seeds += [f"{repository}/{number}" for number in range(len(own))]
        layers = [registry.layer(seed, sizes[seed]) for seed in seeds]
        if changed and repository == CHANGED_IMAGE:
            layers[CHANGED_LAYER] = registry.layer(f"changed/{repository}", CHANGED_BYTES)
            tag += "-changed"
        made.append(registry.image(repository, tag, family, layers))
    return made


def small(registry, images, layers):
    """Many images of many small layers: what a request costs."""
    made = []
    for image in range(images):
        all_layers = [
            registry.layer(f"small/{image}/{number}", 4096 + number * 7919 % (60 * 1024)) for number in range(layers)
        ]
        made.append(registry.image(f"docker.io/shape/small-{image}", "v1", "oci", all_layers))
    return made


def main():
    size, folder = sys.argv[1:]
    registry = Registry(folder)
    if size == "full":
        images, total = LAB, LAB_BYTES
        shape_small, large = (10, 100), 1024 * MEBI
    else:
        images, total = [image for image in LAB if image[3] in ("distroless", "scratch")], 24 * MEBI
        shape_small, large = (2, 20), 24 * MEBI
    shapes = {
        "lab": lab(registry, total, images, changed=False),
        "delta": lab(registry, total, images, changed=True),
        "small": small(registry, *shape_small),
        "large": [registry.image("docker.io/shape/large", "v1", "oci", [registry.layer("large", large)])],
    }
    if size == "full":
        found = {digest for image in shapes["lab"] for digest, _ in image["blobs"][1:]}
        if len(found) != LAB_LAYERS:
            raise SystemExit(f"make_set: the lab has {len(found)} layers and should have {LAB_LAYERS}")
    (registry.folder / "set.json").write_text(json.dumps(shapes, indent=1))
    for path, folders, files in os.walk(registry.folder):
        os.chmod(path, 0o755)
        for name in files:
            os.chmod(os.path.join(path, name), 0o644)


main()
