"""The app's page as a student sees it: the real page, through `ztlab open app`, in headless Chromium."""

import contextlib
import json
import pathlib
import subprocess
import sys

from browser import Browser

# The call itself takes milliseconds; a mesh that has just started may let the first one wait for its timeouts.
PATIENCE = 40


@contextlib.contextmanager
def opened(lab, port="0", what="app"):
    """The address that `ztlab open` gives, for as long as the block lasts."""
    settings = lab.settings
    command = [settings.program, "--json", "--lab", str(lab.folder), "--store", str(lab.store),
               "open", *settings.target, "--port", port, what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            line = child.stdout.readline()
            if not line:
                raise AssertionError(f"ztlab open {what}: {child.stderr.read()}")
            yield json.loads(line)["outcome"]["address"]
        finally:
            child.terminate()


@contextlib.contextmanager
def shown(address, width=1280):
    """The page in a browser, after it made its first call."""
    with Browser() as browser:
        browser.size(width)
        browser.open(address)
        browser.wait("document.querySelector('#verdict')?.className.match(/good|warn|bad/)", PATIENCE)
        yield browser


def attempt(browser, trial):
    """Presses the button of a forbidden call by keyboard; the result's kind and text."""
    browser.tab_to(f"#trial-{trial} button")
    browser.press("Enter")
    result = f"document.querySelector('#trial-{trial} .result')"
    browser.wait(f"{result}.className.match(/good|warn|bad/)", PATIENCE)
    return browser.ask(f"{result}.className").split()[-1], browser.ask(f"{result}.innerText")


def look(address, screenshot):
    """The page's text after it made its call, and a picture of it."""
    with shown(address) as browser:
        return browser.ask("document.body.innerText"), browser.picture(pathlib.Path(screenshot))


if __name__ == "__main__":
    if "spiffe://" not in look(sys.argv[1], sys.argv[2])[0]:
        raise SystemExit("the page shows no identity: is the lab whole? `ztlab verify` says")
