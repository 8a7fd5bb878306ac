"""As much of an API server as `install --until preload` asks: which runtime the only node has.

The rig's Minikube stand-in has a real dockerd in its node and no Kubernetes; Kubernetes 1.28 itself runs on containerd
in the rig. A real Minikube needs none of this.
"""

import contextlib
import http.server
import json
import threading

NODES = {
    "kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
    "items": [{"metadata": {"name": "ztlab"}, "status": {"nodeInfo": {
        "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "docker://20.10.24", "kernelVersion": "",
        "kubeProxyVersion": "v1.28.3", "kubeletVersion": "v1.28.3", "machineID": "", "operatingSystem": "linux",
        "osImage": "", "systemUUID": ""}}}],
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the list of nodes and nothing else."""

    def do_GET(self):
        found = self.path.split("?")[0] == "/api/v1/nodes"
        body = json.dumps(NODES if found else {"kind": "Status", "status": "Failure", "code": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    """The address of the server, for as long as the block lasts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
