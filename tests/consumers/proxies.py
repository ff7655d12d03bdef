"""nginx, HAProxy and Caddy with the pages of docs/deploy.md."""

import contextlib
import functools
import json
import re
import socket
import ssl
import tempfile
import time
import urllib.parse
from pathlib import Path

from page import Page
from service import Service
from tools import free_port, need, run, running, wait
from web_programs import Browser

HOST = "home.example.org"

TOKEN = "wall-0123456789abcdef"

SERVER_KEYS = f'trusted_proxies = ["127.0.0.1"]\nhosts = ["{HOST}"]'

# A path with one segment. It is that of a value if a proxy decodes it.
ENCODED_SLASH = "/values/valor/btc%2Fusd"

TOKEN_TABLE = f'\n[server.tokens.wall]\ntoken = "{TOKEN}"\nroutes = ["data", "stream", "panel", "admin"]\n'


def nginx(trial):
    """nginx, and the map that its page has for keys with a slash."""
    program = need("nginx")

    def start(folder, text, port):
        text = text.replace("listen 443", f"listen 127.0.0.1:{port}").replace("/etc/ssl/private/home.example.org.key", f"{folder}/tls.key")
        text = text.replace("/etc/ssl/home.example.org.pem", f"{folder}/tls.pem")
        paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = f"daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {paths}\n{text} }}"
        Path(folder, "nginx.conf").write_text(config)
        return [program, "-e", f"{folder}/errors", "-c", f"{folder}/nginx.conf"]

    check_proxy(trial, "nginx", "nginx", start, decodes=True)

    def use_map(folder, text, port):
        changed = text.replace("proxy_pass http://127.0.0.1:8080/;", "proxy_pass http://127.0.0.1:8080$rest;")
        assert changed != text
        return start(folder, "map $request_uri $rest { ~^/values(/.*)$ $1; }\n" + changed, port)

    with trial_service(trial) as service, proxy(trial, service, "nginx", "nginx", use_map) as port:
        trial.check("with the map, %2F is passed on", request(port, ENCODED_SLASH)[1]["code"], "unknown_source")
        trial.check("with the map, values are read", request(port, "/values/valor/btc/usd")[1], f"{service.providers.btc}\n")


def haproxy(trial):
    """HAProxy."""
    program = need("haproxy")

    def start(folder, text, port):
        text = text.replace("bind :443", f"bind 127.0.0.1:{port}").replace("/etc/haproxy/home.example.org.pem", f"{folder}/both.pem")
        Path(folder, "haproxy.cfg").write_text(text)
        return [program, "-db", "-f", f"{folder}/haproxy.cfg"]

    check_proxy(trial, "HAProxy", "haproxy", start)


def caddy(trial):
    """Caddy, with a certificate of this test instead of one that it gets."""
    program = need("caddy")

    def start(folder, text, port):
        options = "{\n    admin off\n    auto_https disable_redirects\n}\n"
        address = f"https://{HOST}:{port} {{\n    bind 127.0.0.1\n    tls {folder}/tls.pem {folder}/tls.key"
        Path(folder, "Caddyfile").write_text(options + text.replace(f"{HOST} {{", address))
        return ["env", f"HOME={folder}", program, "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]

    check_proxy(trial, "Caddy", "caddyfile", start)


def check_proxy(trial, heading, language, start, decodes=False):
    """Checks a page: without tokens, with a client's token, and with the token that the proxy adds.

    `decodes`: the proxy decodes `%2F`.
    """
    with trial_service(trial) as service, proxy(trial, service, heading, language, start) as port:
        check_answers(trial, service, port)
        trial.check("an encoded slash", request(port, ENCODED_SLASH)[0], 200 if decodes else 404)
        check_stream(trial, service, port)
        check_client_address(trial, service, port)
        check_panel(trial, service, port)
    with trial_service(trial, TOKEN_TABLE) as service:
        with proxy(trial, service, heading, language, start) as port:
            trial.check("without a token: 401", request(port, "/values/resumen")[0], 401)
            status, body, _ = request(port, "/values/valor/btc/usd", [f"Authorization: Bearer {TOKEN}"])
            trial.check("with the client's token: 200", (status, body), (200, f"{service.providers.btc}\n"))
        add_token = functools.partial(proxy, token=TOKEN)
        with add_token(trial, service, heading, language, start) as port:
            trial.check("with the token that the proxy adds: 200", request(port, "/values/resumen")[0], 200)
            check_stream(trial, service, port)


def check_answers(trial, service, port):
    """Every kind of answer below the prefix."""
    _, summary, head = request(port, "/values/resumen")
    trial.check("the summary has the value", summary["resultados"]["btc"]["data"]["usd"], service.providers.btc)
    etag = head["etag"]
    trial.check("an unchanged value is 304", conditional_status(port, etag), 304)
    trial.check("one value", request(port, "/values/valor/btc/usd")[:2], (200, f"{service.providers.btc}\n"))
    trial.check("a live answer", request(port, "/values/resumen?fresh=1&sources=btc")[1]["origen"], "live")
    trial.check("a problem keeps its code", request(port, "/values/valor/btc/us")[1]["suggestion"], "usd")
    trial.check("the badge", request(port, "/values/insignia/btc/usd")[2]["content-type"], "image/svg+xml")
    document = request(port, "/values/openapi.json")[1]
    base = urllib.parse.urljoin(f"https://{HOST}/values/openapi.json", document["servers"][0]["url"])
    trial.check("the server of the OpenAPI document", base, f"https://{HOST}/values/")
    trial.check("the metrics", "resumen_value{" in request(port, "/values/metrics")[1], True)
    trial.check("the prefix alone leads to the panel", request(port, "/values")[0] in (301, 302, 308), True)
    trial.check("other paths are not the service's", "resultados" in request(port, "/resumen")[1], False)


def conditional_status(port, etag):
    """The status of a conditional request. The tag may have changed with the next reading, so it is renewed."""
    for _ in range(5):
        status, _, head = request(port, "/values/resumen", [f"If-None-Match: {etag}"])
        if status == 304:
            return status
        etag = head["etag"]
    return status


def check_stream(trial, service, port):
    """The first event, and one after a change, arrive at once, while the response goes on."""
    with connect(port) as client:
        client.sendall(head_of("/values/resumen/stream?format=flat&sources=btc&event=message"))
        client.settimeout(5)
        seen = b""
        while b'"btc.usd"' not in seen:
            seen += client.recv(65536)
        changed, start = service.providers.change_btc(), time.monotonic()
        while f'"btc.usd":{changed}'.encode() not in seen:
            seen += client.recv(65536)
        took = time.monotonic() - start
    # The service reads its provider once a second.
    trial.check(f"an event follows a change within 2 s: {took:.1f} s", took < 2, True)


def check_client_address(trial, service, port):
    """The access log has the client's address, and not one that the client claims."""
    marker = "/valor/clima/temperatura_c"
    request(port, "/values" + marker, ["X-Forwarded-For: 203.0.113.9"], source="127.0.0.5")
    found = wait("the request is in the access log", 10, lambda: [entry for entry in service.requests() if entry["path"] == marker])
    trial.check("the client in the access log", found[0]["client"], "127.0.0.5")


def check_panel(trial, service, port):
    """The panel in Chromium shows the value and follows its change by the stream."""
    with Browser(trial, [f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]) as browser:
        browser.open(f"https://{HOST}:{port}/values/")

        def shown():
            return re.sub(r"\D", "", browser.run("return document.body.innerText"))

        # The change comes after the first value is shown: a panel that opens late would never show that value.
        for next_value in (lambda: service.providers.btc, service.providers.change_btc):
            value = next_value()
            digits = f"{value:.2f}".replace(".", "")
            wait(f"the panel shows {value}", 20, lambda digits=digits: digits in shown() or digits.rstrip("0") in shown())
        failed = browser.run("return performance.getEntriesByType('resource').filter((entry) => entry.responseStatus >= 400).map((entry) => entry.name)")
    trial.check("the panel shows the value and its change; requests that failed", failed, [])


@contextlib.contextmanager
def trial_service(trial, tables=""):
    """A service that is set up for a proxy."""
    with Service(trial.service.program, trial.path("."), SERVER_KEYS, tables, token=TOKEN if tables else None) as service:
        yield service


@contextlib.contextmanager
def proxy(trial, service, heading, language, start, token=None):
    """The proxy with its page; yields its port."""
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="proxy-", dir=trial.path(".")))
    make_certificate(folder)
    text = Page("deploy.md").block(heading, language)
    if token:
        text, count = re.subn(r"# (.*Bearer )TOKEN", rf"\g<1>{token}", text)
        assert count == 1, text
    command = start(folder, text, port)
    for file in folder.iterdir():
        if file.suffix not in {".pem", ".key"}:
            file.write_text(file.read_text().replace("127.0.0.1:8080", service.address))
    with running(command, folder / "proxy.log"):
        try:
            wait("the proxy answers", 15, lambda: request(port, "/values/healthz")[0] == 200)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{(folder / 'proxy.log').read_text()[-2000:]}") from error
        yield port


def make_certificate(folder):
    """A certificate of `HOST` in `tls.pem` and its key in `tls.key`; both in `both.pem`."""
    run([need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={HOST}",
         "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", folder / "tls.key", "-out", folder / "tls.pem"])
    (folder / "both.pem").write_text((folder / "tls.pem").read_text() + (folder / "tls.key").read_text())


def connect(port, source=""):
    """A TLS connection to the proxy."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0) if source else None)
    return context.wrap_socket(plain, server_hostname=HOST)


def head_of(path, headers=()):
    """The bytes of a GET."""
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {HOST}", *headers, "", ""]).encode()


def request(port, path, headers=(), source=""):
    """Status, body and headers of a GET. A body of JSON is parsed."""
    with connect(port, source) as client:
        client.sendall(head_of(path, [*headers, "Connection: close"]))
        answer = b""
        while part := client.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if fields.get("transfer-encoding") == "chunked":
        body = join_chunks(body)
    text = body.decode()
    return int(status.split(" ")[1]), json.loads(text) if "json" in fields.get("content-type", "") else text, fields


def join_chunks(chunked):
    """The content of a chunked body."""
    body = b""
    while chunked:
        length, _, rest = chunked.partition(b"\r\n")
        size = int(length, 16)
        body, chunked = body + rest[:size], rest[size + 2:] if size else b""
    return body
