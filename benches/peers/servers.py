"""The compared servers. Each runs on one core and on a separate port of 127.0.0.1."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from load import fetch, header
from machine import LOAD_CORE, SERVER_CORE, Process, free_port

HERE = Path(__file__).parent

SOURCES = """
[store]
path = ""
[server]
listen = "127.0.0.1:{port}"
max_connections = {connections}
{tls}
[defaults]
{pace}
[sources.btc]
url = "http://127.0.0.1:{provider}/0"
extract = '{{usd: (.data.amount | tonumber)}}'
[sources.clima]
url = "http://127.0.0.1:{provider}/1"
extract = '{{temperatura_c: .current.temperature_2m}}'
[sources.usd]
url = "http://127.0.0.1:{provider}/2"
"""

NGINX = """
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
daemon off;
{mode}
events {{ worker_connections 15000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  tcp_nodelay on;
  {http}
  server {{
    listen 127.0.0.1:{port} {tls} backlog=4096;
    {server}
  }}
}}
"""

NGINX_CACHE_HTTP = "proxy_cache_path {folder}/cache keys_zone=c:1m inactive=1d use_temp_path=off;"
NGINX_CACHE_SERVER = """
    location / {{
      proxy_pass http://127.0.0.1:{origin};
      proxy_cache c;
      proxy_cache_valid 200 1d;
    }}
"""  # Accept-Encoding is forwarded, and Vary separates the encodings

HAPROXY = """
global
  nbthread 1
  maxconn 15000
  no strict-limits
  tune.http.maxhdr 64
defaults
  mode http
  timeout client 75s
  timeout server 10s
  timeout connect 2s
cache c
  total-max-size 4
  max-age 86400
  process-vary on
frontend f
  bind 127.0.0.1:{port} backlog 4096
  http-request cache-use c
  http-response cache-store c
  default_backend b
backend b
  server o 127.0.0.1:{origin}
"""

VARNISH = """
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{origin}"; }}
sub vcl_backend_response {{ set beresp.ttl = 1d; set beresp.do_gzip = true; }}
"""


def missing_packages():
    """Returns the Debian packages of the programs that are not installed."""
    programs = {"wrk": "wrk", "nginx": "nginx", "haproxy": "haproxy", "varnishd": "varnish"}
    return [package for program, package in programs.items() if not find_program(program)]


def find_program(program):
    """Returns the path of a program, also in the sbin folders, which are often only in the PATH of root."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")


class Server:
    """A running server."""

    def __init__(self, name, command, port, path="/resumen", timeout=20, folder=None, core=None, tls=False):
        self.name, self.port, self.path, self.tls = name, port, path, tls
        log = folder / f"{name.replace(' ', '-').replace('/', '')}.log"
        self.process = Process(command, SERVER_CORE if core is None else core, log).wait_until_listening(port, timeout)

    def pids(self):
        return self.process.pids()

    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}{self.path}"


class Bench:
    """Starts servers on demand and stops all of them at the end."""

    def __init__(self, folder, binary, venv):
        self.folder, self.binary, self.venv = folder, binary, venv
        self.bare = binary.parent / "examples/bare"
        self.running = []
        self.servers = {}
        self._sample = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in reversed(self.running):
            server.process.stop()

    def get(self, kind):
        """Returns the server of this kind; starts it at the first call."""
        if kind not in self.servers:
            self.servers[kind] = getattr(self, f"_{kind}")()
        return self.servers[kind]

    def start(self, name, command, port, **keywords):
        server = Server(name, command, port, folder=self.folder, **keywords)
        self.running.append(server)
        return server

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def _provider(self):
        port = free_port()
        return self.start("provider", [sys.executable, HERE / "provider.py", port], port, core=LOAD_CORE)

    def resumen(self, name, pace, connections=20_000, tls=""):
        port, provider = free_port(), self.get("provider").port
        text = SOURCES.format(port=port, provider=provider, pace=pace, connections=connections, tls=tls)
        path = self.write(f"{name}.toml", text)
        server = self.start(name, [self.binary, "serve", "--config", path], port, tls=bool(tls))
        assert fetch(port, "/resumen", tls=server.tls)[0] == 200
        return server

    def certificate(self):
        """Returns the files of a certificate for 127.0.0.1 and of its key (P-256)."""
        files = [self.folder / "cert.pem", self.folder / "key.pem"]
        if not files[0].exists():
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                       "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]]
            subprocess.run([str(word) for word in command], check=True, capture_output=True)
        return files

    def _ours_tls(self):
        certificate, key = self.certificate()
        tls = f'[server.tls]\ncert_file = "{certificate}"\nkey_file = "{key}"'
        return self.resumen("resumen, TLS", 'interval = "1h"', tls=tls)

    def _constant_tls(self):
        certificate, key = self.certificate()
        tls = f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
        return self.nginx("nginx return, TLS", f"{tls} {self.constant()}", tls=True)

    def _ours(self):
        return self.resumen("resumen", 'interval = "1h"')

    def _bare(self):
        port, response = free_port(), self.folder / "response"
        with socket.create_connection(("127.0.0.1", self.get("ours").port), 10) as stream:
            stream.sendall(b"GET /resumen HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            response.write_bytes(stream.recv(65536))
        return self.start("no-parse loop", [self.bare, f"127.0.0.1:{port}", response], port)

    def _storm(self):
        pace = 'interval = "30ms"\nmin_interval = "1ms"\ntimeout = "30ms"\nttl = "10s"'
        return self.resumen("resumen, swapping", pace)

    def sample(self):
        """Returns content type and body of a response of the service; the other servers serve the same."""
        if self._sample is None:
            _, head, body = fetch(self.get("ours").port, "/resumen")
            self._sample = header(head, "content-type"), body.decode()
        return self._sample

    def constant(self, headers=""):
        kind, body = self.sample()
        assert "$" not in body, "nginx would expand a variable"
        quoted = body.replace("\\", "\\\\").replace("'", "\\'")
        return f"default_type {kind}; {headers} location = /resumen {{ return 200 '{quoted}'; }}"

    def nginx_command(self, name, server, http="", mode="", tls=False):
        """Returns port and command of an nginx; the mode `master_process off;` makes it a single process."""
        port, folder = free_port(), self.folder / name.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        user = "user root;" if os.geteuid() == 0 else ""  # otherwise the workers cannot write into the folder
        values = {"folder": folder, "port": port, "mode": mode, "user": user, "tls": "ssl" if tls else ""}
        path = self.write(f"{folder.name}.conf", NGINX.format(http=http.format(folder=folder), server=server, **values))
        return port, [find_program("nginx"), "-c", path, "-p", folder]

    def nginx(self, name, server, http="", core=None, tls=False):
        port, command = self.nginx_command(name, server, http, tls=tls)
        return self.start(name, command, port, core=core, tls=tls)

    def _constant(self):
        return self.nginx("nginx return", self.constant())

    def _origin(self):
        """The origin of the caches: an nginx on the core of the load, which gets only a few requests."""
        fields = 'add_header ETag W/"5d0c3f1a9be24467"; add_header Cache-Control "public, max-age=86400";'
        gzip = "gzip on; gzip_types *; gzip_vary on; gzip_proxied any;"
        return self.nginx("origin", self.constant(fields), http=gzip, core=LOAD_CORE)

    def _proxy_cache(self):
        return self.nginx("nginx proxy_cache", self.caching(), http=NGINX_CACHE_HTTP)

    def caching(self):
        return NGINX_CACHE_SERVER.format(origin=self.get("origin").port)

    def _haproxy(self):
        port = free_port()
        path = self.write("haproxy.cfg", HAPROXY.format(port=port, origin=self.get("origin").port))
        return self.start("haproxy cache", [find_program("haproxy"), "-db", "-f", path], port)

    def _varnish(self):
        port = free_port()
        path = self.write("varnish.vcl", VARNISH.format(origin=self.get("origin").port))
        command = [find_program("varnishd"), "-j", "none", "-n", self.folder / "varnish", "-F", "-a", f"127.0.0.1:{port}",
                   "-f", path, "-s", "malloc,64m", "-p", "thread_pools=1", "-p", "thread_pool_max=10000"]
        return self.start("Varnish", command, port, timeout=60)

    def _original(self):
        port, provider = free_port(), self.get("provider").port
        urls = [f"http://127.0.0.1:{provider}/{number}" for number in range(3)]
        command = [self.venv / "bin/python", HERE / "original.py", port, *urls]
        return self.start("original", command, port)

    def _original_constant(self):
        """The original design without calls to providers: the cost of its framework."""
        server = self.get("original")
        twin = object.__new__(Server)
        twin.__dict__ = {**server.__dict__, "name": "original, /salud alone", "path": "/salud"}
        return twin
