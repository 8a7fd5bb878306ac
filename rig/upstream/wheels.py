#!/usr/bin/env python3
"""Fetches the wheels that a lab asks for and lays them out as PyPI serves them.

    OUT=FOLDER wheels.py LAB.toml

FOLDER gets files.pythonhosted.org/packages/.../NAME.whl, at PyPI's own path (the file's BLAKE2b hash), and
pypi.org/simple/PROJECT/ with index.json (PEP 691) and index.html (PEP 503), both naming the real https URLs.
"""

import email.parser
import hashlib
import html
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile

# The newest glibc baseline that Debian 12's Python can load and that PyPI's wheels still offer.
PLATFORMS = ["manylinux_2_28_x86_64", "manylinux2014_x86_64"]


def wanted_wheels(lab):
    with open(lab, "rb") as file:
        return tomllib.load(file)["wheel"]


def download(project, wheel, folder):
    """The interpreter that runs this script may be another version than the lab's, so pip is told which one to fetch for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary", ":all:", "--python-version", wheel["python"], "--dest", str(folder)]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    subprocess.run([*command, f"{project}=={wheel['version']}"], check=True)
    (path,) = folder.glob("*.whl")
    return path


def metadata(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.BytesHeaderParser().parsebytes(archive.read(name))


def storage_path(content):
    digest = hashlib.blake2b(content, digest_size=32).hexdigest()
    return f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}"


def describe(path):
    """The wheel's entry in the index."""
    content = path.read_bytes()
    return {
        "filename": path.name,
        "url": f"https://files.pythonhosted.org/{storage_path(content)}/{path.name}",
        "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
        "requires-python": metadata(path)["Requires-Python"],
        "size": len(content),
        "yanked": False,
        "core-metadata": False,
    }


def write_index(folder, project, version, entry):
    folder.mkdir(parents=True)
    index = {"meta": {"api-version": "1.1"}, "name": project, "versions": [version], "files": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    address = html.escape(f"{entry['url']}#sha256={entry['hashes']['sha256']}")
    requires = html.escape(entry["requires-python"] or "")
    (folder / "index.html").write_text(
        '<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="1.1"></head><body>\n'
        f'<a href="{address}" data-requires-python="{requires}">{entry["filename"]}</a>\n</body></html>\n')


def main(lab, out):
    for project, wheel in sorted(wanted_wheels(lab).items()):
        with tempfile.TemporaryDirectory(dir=out) as work:
            path = download(project, wheel, pathlib.Path(work))
            entry = describe(path)
            destination = out / entry["url"].removeprefix("https://")
            destination.parent.mkdir(parents=True)
            shutil.copyfile(path, destination)
        write_index(out / "pypi.org" / "simple" / project, project, wheel["version"], entry)
        print(entry["filename"], entry["hashes"]["sha256"])


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(os.environ["OUT"]))
