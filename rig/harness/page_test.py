#!/usr/bin/env python3
"""The app's page in a real browser against answers that a lab gives, and some that it must not give.

No cluster is needed: a small server plays nginx and what lies behind it. The whole way (whole_way_test.py) opens the same
page in a running lab. Without a Chromium the tests are skipped, and say so.
"""

import http.server
import json
import pathlib
import re
import threading
import unittest

import browser
import page

FRONTEND = pathlib.Path(__file__).resolve().parents[2] / "app/frontend"
MESH = "spiffe://cluster.local/ns"
GATEWAY = f"{MESH}/istio-system/sa/istio-ingressgateway-service-account"


def who(spiffe_id):
    parts = spiffe_id.split("/")
    return {"spiffe_id": spiffe_id, "trust_domain": parts[2], "namespace": parts[4], "service_account": parts[6]}


def seen(caller, called):
    return {"encrypted": True, "caller": who(caller), "called": who(called), "certificate_hash": "0a1b2c"}


ENCRYPTED = {
    "service": "backend", "version": "v1", "pod": "backend-1", "in_words": "Encrypted.",
    **seen(f"{MESH}/webapp/sa/frontend", f"{MESH}/webapp/sa/backend"),
    "frontend_was_called": seen(GATEWAY, f"{MESH}/webapp/sa/frontend"),
    "request": {"method": "GET", "path": "/api/", "protocol": "HTTP/1.1", "headers": {}},
}
RESET = "upstream connect error or disconnect/reset before headers. reset reason: "
DENIED = (403, "RBAC: access denied")
# What Envoy answers in a whole lab: (method, path) → status, body.
WHOLE = {
    ("GET", "/api/backend/"): (200, json.dumps(ENCRYPTED)),
    ("POST", "/api/backend/"): DENIED,
    ("GET", "/forbidden/path"): DENIED,
    ("GET", "/forbidden/plaintext"): (503, RESET + "connection termination"),
    ("GET", "/forbidden/control-plane"): (503, RESET + "connection timeout"),
}


class Lab(http.server.BaseHTTPRequestHandler):
    """The frontend as the browser sees it."""

    answers = dict(WHOLE)
    asked_nobody = frozenset()
    policy = re.search(r'Content-Security-Policy "([^"]+)"', (FRONTEND / "nginx.conf").read_text())[1]

    def do_GET(self):
        path = (self.command, self.path)
        status, body = (200, (FRONTEND / "index.html").read_text()) if self.path == "/" else self.answers.get(path, (404, ""))
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if self.path == "/" else "text/plain")
        self.send_header("Content-Security-Policy", self.policy)
        if self.path != "/":
            self.send_header("X-Lab-Frontend-Caller", GATEWAY)
            if path not in self.asked_nobody:
                self.send_header("X-Lab-Upstream-Status", str(status))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, *_):
        pass


# The contrast of an element's text with what lies behind it, by the formula of WCAG 2.1 (1.4.3).
CONTRAST = """(() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = rgb(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const node of document.querySelectorAll("h1,h2,h3,p,span,small,strong,code,dt,dd,button,label,summary,li")) {
    if (!node.innerText.trim() || !node.checkVisibility()) continue;
    const [one, other] = [luminance(rgb(getComputedStyle(node).color)), luminance(behind(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < worst[0]) worst = [ratio, node.tagName + " " + node.innerText.slice(0, 40)];
  }
  return worst;
})()"""


@unittest.skipIf(browser.find() is None, "no Chromium on this machine: apt-get install chromium")
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lab)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.address = f"http://127.0.0.1:{cls.server.server_address[1]}/"
        cls.browser = cls.enterClassContext(browser.Browser())
        cls.addClassCleanup(cls.server.server_close)
        cls.addClassCleanup(cls.server.shutdown)

    def setUp(self):
        Lab.answers, Lab.asked_nobody = dict(WHOLE), frozenset()
        self.browser.requests.clear()
        self.browser.complaints.clear()

    def tearDown(self):
        self.assertEqual(self.browser.complaints, [], "the page has errors, or breaks its own security policy")
        outside = [url for url in self.browser.requests if not url.startswith((self.address, "data:"))]
        self.assertEqual(outside, [], "the page asked for something outside of the lab")

    def open(self, width=1280, scheme="light"):
        self.browser.size(width)
        self.browser.scheme(scheme)
        self.browser.open(self.address)
        self.browser.wait("document.querySelector('#verdict')?.className.match(/good|warn|bad/)")

    def way(self):
        return self.browser.ask("[...document.querySelectorAll('#way > li')].map((part) => part.innerText.split(/\\n+/))")

    def attempt(self, trial):
        return page.attempt(self.browser, trial)

    def test_the_way_says_what_was_seen_of_each_hop_and_by_whom(self):
        self.open()
        hops = self.way()[1::2]
        self.assertEqual(hops, [
            ["plain HTTP, up to the door", "as you, without a name", "observed by this page's address"],
            ["mutual TLS", "as istio-ingressgateway-service-account", "observed by the frontend's sidecar"],
            ["mutual TLS", "as frontend", "observed by the backend's sidecar"],
        ])

    def test_what_nobody_reported_is_not_made_up(self):
        silent = {**ENCRYPTED, "frontend_was_called": None}
        Lab.answers["GET", "/api/backend/"] = (200, json.dumps(silent))
        self.open()
        self.assertEqual(self.way()[1], ["not reported", "observed by nobody"])
        self.assertNotIn("Ingress gateway", [part[0] for part in self.way()])

    def test_each_forbidden_call_names_the_layer_that_refused_it(self):
        self.open()
        for trial, layer, answer in (("method", "the authorization policy", "RBAC: access denied"),
                                     ("path", "the authorization policy", "RBAC: access denied"),
                                     ("plaintext", "mutual TLS", "connection termination"),
                                     ("silence", "the network policy", "connection timeout")):
            kind, text = self.attempt(trial)
            self.assertEqual(kind, "good", text)
            self.assertIn(f"Refused by {layer}, as it should be", text)
            self.assertIn(answer, text)
            broken = self.way()[-2]
            self.assertEqual(broken, [layer, "observed by this page, by the answer"])
            self.assertEqual(self.way()[3], ["mutual TLS", "as istio-ingressgateway-service-account",
                                             "observed by the frontend's sidecar"])
        self.assertEqual(self.way()[-1][0], "istiod")

    def test_an_open_door_is_called_so(self):
        Lab.answers["POST", "/api/backend/"] = (200, "{}")
        self.open()
        kind, text = self.attempt("method")
        self.assertEqual(kind, "bad", text)
        self.assertIn("Not refused", text)

    def test_the_wrong_layer_does_not_pass_for_the_right_one(self):
        # PERMISSIVE: the call in the clear arrives, and the layer behind says no.
        Lab.answers["GET", "/forbidden/plaintext"] = DENIED
        # A dead istiod: refused at once by the machine, which is no network policy.
        Lab.answers["GET", "/forbidden/control-plane"] = (503, RESET + "remote connection failure, transport failure "
                                                          "reason: delayed connect error: Connection refused")
        # The frontend's own sidecar refuses the browser: the backend was never asked.
        Lab.answers["GET", "/forbidden/path"] = DENIED
        Lab.asked_nobody = frozenset({("GET", "/forbidden/path")})
        self.open()
        for trial, expected in (("plaintext", "Refused, but by the authorization policy"),
                                ("silence", "not known where"), ("path", "Refused too early")):
            kind, text = self.attempt(trial)
            self.assertEqual(kind, "warn", text)
            self.assertIn(expected, text)

    def test_a_telephone_needs_no_sideways_scrolling_and_has_large_buttons(self):
        self.open(width=390)
        for trial in ("method", "plaintext"):
            self.attempt(trial)
        self.assertEqual(self.browser.ask("document.documentElement.scrollWidth"), 390)
        heights = self.browser.ask("[...document.querySelectorAll('button')].map((one) => one.getBoundingClientRect().height)")
        self.assertGreaterEqual(min(heights), 44, "Apple and WCAG 2.5.5 want 44 pixels under a finger")

    def test_text_is_readable_in_light_and_dark(self):
        for scheme, width in (("light", 1280), ("dark", 1280), ("dark", 390)):
            self.open(width=width, scheme=scheme)
            self.attempt("method")
            ratio, where = self.browser.ask(CONTRAST)
            self.assertGreaterEqual(ratio, 4.5, f"{scheme}: {where}")
            dark = self.browser.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((part) => part < 64)")
            self.assertEqual(dark, scheme == "dark")

    def test_the_focus_is_seen_and_stays(self):
        self.open()
        self.attempt("method")
        self.assertEqual(self.browser.ask("document.activeElement.getAttribute('aria-label')"), "Try it: Write instead of read")
        self.assertNotEqual(self.browser.ask("getComputedStyle(document.activeElement).outlineStyle"), "none")

    def test_results_are_read_out(self):
        self.open()
        live = self.browser.ask("[...document.querySelectorAll('.result')].every((one) => one.getAttribute('aria-live') === 'polite')")
        self.assertTrue(live)


if __name__ == "__main__":
    unittest.main(verbosity=2)
