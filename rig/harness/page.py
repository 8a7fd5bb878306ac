"""The app's page as a student sees it: the real page, through `ztlab open app`, in headless Chromium."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile

# Chromium asks its maker for updates, lists and experiments unless told not to.
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"]
# The page calls the backend by itself; this is virtual time, not waiting.
PATIENCE = ["--virtual-time-budget=8000", "--timeout=20000"]


@contextlib.contextmanager
def opened(lab, port="0"):
    """The address that `ztlab open app` gives, for as long as the block lasts."""
    settings = lab.settings
    command = [settings.program, "--json", "--lab", str(lab.folder), "--store", str(lab.store),
               "open", *settings.target, "--port", port, "app"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            line = child.stdout.readline()
            if not line:
                raise AssertionError(f"ztlab open app: {child.stderr.read()}")
            yield json.loads(line)["outcome"]["address"]
        finally:
            child.terminate()


def look(address, screenshot, size="1280,1100"):
    """The page's text after it made its call, and a picture of it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise AssertionError("no Chromium on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        base = [browser, *QUIET, *PATIENCE, f"--user-data-dir={profile}", f"--window-size={size}"]
        dom = subprocess.run([*base, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=True)
        subprocess.run([*base, f"--screenshot={screenshot}", address], capture_output=True, timeout=120, check=True)
    return dom.stdout, screenshot


if __name__ == "__main__":
    if "spiffe://" not in look(sys.argv[1], sys.argv[2])[0]:
        raise SystemExit("the page shows no identity: is the lab whole? `ztlab verify` says")
