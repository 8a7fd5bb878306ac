"""A headless Chromium that does what it is told: keys, sizes, colour schemes, and what a page holds afterwards.

It speaks the DevTools protocol over a pair of pipes, so nothing but Python's own library is needed and no port is opened.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

# Chromium asks its maker for updates, lists and experiments unless told not to.
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"]
# One command of the protocol; a busy machine starts a browser slowly.
ANSWER_SECONDS = 60
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


def find():
    """The browser's program, None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page in one browser; use it as a context."""

    def __enter__(self):
        program = find()
        if program is None:
            raise AssertionError("no Chromium on this machine: apt-get install chromium")
        self.profile = tempfile.TemporaryDirectory()
        commands, self.to_browser = os.pipe()
        self.from_browser, answers = os.pipe()
        # Chromium reads its commands from descriptor 3 and answers on 4.
        shell = ["sh", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "sh"]
        arguments = [program, *QUIET, "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}"]
        self.child = subprocess.Popen([*shell, *arguments], pass_fds=(commands, answers),
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        self.buffer, self.number, self.session, self.requests, self.complaints = b"", 0, None, [], []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(timeout=30)
        os.close(self.to_browser)
        os.close(self.from_browser)
        self.forget()

    def forget(self, patience=20):
        """Deletes the profile. Chromium's other processes outlive the first one by a moment, and still write into it."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return self.profile.cleanup()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def send(self, method, **parameters):
        """Gives a command and returns its result; what happens meanwhile is kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = self.message(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            self.keep(answer)

    def message(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.from_browser], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.from_browser, 1 << 16) if ready else b""
            if not piece:
                raise AssertionError("the browser does not answer")
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(line)

    def keep(self, event):
        parameters = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["source"] == "security":
            self.complaints.append(parameters["entry"]["text"])

    def size(self, width, height=1100):
        """The window of a laptop, or of a telephone."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def scheme(self, name):
        """`dark` or `light`, as the user's system would say."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, address):
        self.send("Page.navigate", url=address)

    def ask(self, expression):
        """The value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, seconds=30):
        """Until an expression in the page is true; its value."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.ask(expression)
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {expression}; the page says: {self.ask('document.body.innerText')}")
            time.sleep(0.05)

    def press(self, key):
        """One key, as a keyboard gives it."""
        text = {"Enter": "\r", " ": " "}.get(key)
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code={" ": "Space"}.get(key, key),
                      windowsVirtualKeyCode=KEYS[key], **more)

    def tab_to(self, selector, most=40):
        """Moves the focus with the Tab key alone."""
        for _ in range(most):
            if self.ask(f"document.activeElement === document.querySelector({json.dumps(selector)})"):
                return
            self.press("Tab")
        raise AssertionError(f"{most} times Tab do not lead to {selector}")

    def picture(self, path):
        """The whole page as PNG."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
        return path
