"""The lab's backend: it answers with who it is, who called it, and whether the call was encrypted.

It does no cryptography itself. Its sidecar (Envoy) ends the mutual TLS connection, checks the caller's
certificate and writes what it saw into the request header X-Forwarded-Client-Cert, in short XFCC. This
program reads that header and puts it into words.

The header can be believed only because nobody reaches this process but through its own sidecar: Envoy
removes the header from every request that came without a certificate, and adds its own entry *last* to
those that came with one. What stands before the last entry is what the caller passed on: hearsay.
"""

import os
import socket

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

# Headers worth showing: who asks for what, and the ones that Envoy and nginx add on the way.
SHOWN_HEADERS = (
    "Host",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Request-Id",
    "X-Envoy-Attempt-Count",
    "X-Forwarded-Client-Cert",
)

# The frontend copies the XFCC header that *its* sidecar wrote into this one (see nginx.conf), so that the
# page can show the whole way. "none" means that the frontend was called without a certificate.
FRONTEND_REPORT_HEADER = "X-Lab-Frontend-Client-Cert"

INGRESS_GATEWAY_ACCOUNT = "istio-ingressgateway-service-account"

app = Flask(__name__)
app.json.sort_keys = False


def split_unquoted(text: str, separator: str) -> list[str]:
    """Splits at a separator, but not inside double quotes; a backslash protects the next character there.

    Certificate subjects force this: `Subject="CN=client,O=lab";URI=...` has both separators inside quotes.
    Raises ValueError when a quote is left open.
    """
    parts = []
    part = ""
    quoted = False
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(part)
            part = ""
            continue
        part += character
    if quoted:
        raise ValueError("a quote is left open")
    parts.append(part)
    return parts


def unquote(value: str) -> str:
    """Removes the quotes around a value, and the backslashes that protected characters inside them."""
    value = value.strip()
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    plain = ""
    escaped = False
    for character in value[1:-1]:
        if character == "\\" and not escaped:
            escaped = True
            continue
        plain += character
        escaped = False
    return plain


def parse_client_certificates(header: str) -> list[dict[str, list[str]]]:
    """Reads an XFCC header: one entry for each proxy that saw a certificate, the nearest one last.

    Every key maps to a list, because a certificate may hold several names and Envoy then repeats the key.
    Keys come out in lower case: Envoy's documentation calls them case-insensitive. Pairs that are none
    are skipped, since a strange header must not turn into an error page.

    A header with an open quote is not believed at all. A caller could otherwise send `URI=somebody;X="`,
    and what our own sidecar appends would become part of that quoted text.
    """
    try:
        elements = split_unquoted(header, ",")
    except ValueError:
        return []
    entries = []
    for element in elements:
        entry: dict[str, list[str]] = {}
        for pair in split_unquoted(element, ";"):
            key, equals, value = pair.partition("=")
            key = key.strip().lower()
            if equals and key:
                entry.setdefault(key, []).append(unquote(value))
        if entry:
            entries.append(entry)
    return entries


def identity(spiffe_id: str | None) -> dict | None:
    """Takes spiffe://cluster.local/ns/webapp/sa/frontend apart; other names are kept whole."""
    if not spiffe_id:
        return None
    parts = spiffe_id.removeprefix("spiffe://").split("/")
    is_istio_name = spiffe_id.startswith("spiffe://") and len(parts) == 5 and parts[1] == "ns" and parts[3] == "sa"
    return {
        "spiffe_id": spiffe_id,
        "trust_domain": parts[0] if is_istio_name else None,
        "namespace": parts[2] if is_istio_name else None,
        "service_account": parts[4] if is_istio_name else None,
    }


def seen_by_nearest_proxy(header: str | None) -> dict:
    """Says what the proxy next to the called program saw: an encrypted call or not, from whom, to whom."""
    entries = parse_client_certificates(header or "")
    nearest = entries[-1] if entries else {}
    return {
        # Envoy writes an entry only for a connection with a client certificate, so for mutual TLS.
        "encrypted": bool(nearest),
        "caller": identity(first(nearest, "uri")),
        "called": identity(first(nearest, "by")),
        "certificate_hash": first(nearest, "hash"),
    }


def first(entry: dict[str, list[str]], key: str) -> str | None:
    """The first value of a key that has any text in it; a CA may leave a name empty."""
    return next((value for value in entry.get(key, []) if value), None)


def spoken_name(who: dict | None) -> str:
    """A caller's name as one would say it."""
    if who is None:
        return "a caller whose certificate holds no name"
    if who["service_account"] is None:
        return who["spiffe_id"]
    if who["service_account"] == INGRESS_GATEWAY_ACCOUNT:
        return "the ingress gateway"
    return f"{who['service_account']} in the namespace {who['namespace']}"


def in_words(hop: dict) -> str:
    """One sentence on how the backend was called."""
    if hop["encrypted"]:
        return (
            f"Encrypted: the call came over mutual TLS from {spoken_name(hop['caller'])}, "
            "and both sides showed a certificate."
        )
    return "Not encrypted: no readable client certificate reached the backend, so nobody knows who called."


def frontend_hop(report: str | None) -> dict | None:
    """The way into the frontend, as the frontend tells it; None when it told nothing."""
    if not report:
        return None
    return seen_by_nearest_proxy(None if report == "none" else report)


@app.get("/health")
def health() -> Response:
    """Says that this process answers. It asks nobody else: a probe that depends on others spreads outages."""
    return jsonify(status="ok")


@app.get("/api/")
def who_am_i() -> Response:
    """The answer that the page shows and that the lab's probes read."""
    hop = seen_by_nearest_proxy(request.headers.get("X-Forwarded-Client-Cert"))
    answer = jsonify(
        service="backend",
        version=os.environ.get("APP_VERSION", "unknown"),
        pod=os.environ.get("POD_NAME", socket.gethostname()),
        namespace=os.environ.get("POD_NAMESPACE"),
        service_account=os.environ.get("SERVICE_ACCOUNT"),
        encrypted=hop["encrypted"],
        in_words=in_words(hop),
        caller=hop["caller"],
        called=hop["called"],
        certificate_hash=hop["certificate_hash"],
        frontend_was_called=frontend_hop(request.headers.get(FRONTEND_REPORT_HEADER)),
        request={
            "method": request.method,
            "path": request.path,
            "protocol": request.environ.get("SERVER_PROTOCOL"),
            "headers": {name: request.headers[name] for name in SHOWN_HEADERS if name in request.headers},
        },
    )
    # An answer kept from before a rule was changed would show yesterday's security.
    answer.headers["Cache-Control"] = "no-store"
    return answer


@app.errorhandler(HTTPException)
def as_json(error: HTTPException) -> tuple[Response, int]:
    """Errors are JSON too, so that a caller never has to guess what it got."""
    return jsonify(error=error.name, in_words=error.description), error.code or 500
