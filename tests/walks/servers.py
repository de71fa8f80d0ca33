"""Stands in for Harvard Dataverse and for Keras' server: `python servers.py IMAGES WEIGHTS SCRATCH`.

A proxy on this machine that answers for both hosts over TLS, with a certificate of its own: the project is walked
as it is, with its addresses and its checks of certificates. Prints the address of the proxy once it listens.
`SCRATCH/certificate.pem` is what a client must trust.

IMAGES has HAM10000 as Dataverse names it; WEIGHTS has `mobilenet_v2.h5`, which is served under Keras' name.
"""

import json
import os
import re
import socketserver
import ssl
import subprocess
import sys
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from skinlesions.core import files

DATAVERSE, KERAS = "dataverse.harvard.edu", "storage.googleapis.com"


def offered(folder: Path) -> list[Path]:
    """What the record of HAM10000 holds, in a fixed order: its numbers are those of the API."""
    return [path for path in sorted(folder.iterdir()) if path.suffix in (".csv", ".zip")]


def listing(folder: Path) -> bytes:
    """The answer of Dataverse's API for the record."""
    entries = [
        {"label": path.name, "dataFile": {"id": number, "filesize": path.stat().st_size, "md5": files.md5(path)}}
        for number, path in enumerate(offered(folder))
    ]
    return json.dumps({"status": "OK", "data": {"latestVersion": {"files": entries}}}).encode()


class Server(BaseHTTPRequestHandler):
    """CONNECT is answered by TLS on the same connection, and what comes through it by the host that was named."""

    images: Path
    weights: Path
    context: ssl.SSLContext
    host = ""

    def log_message(self, *arguments: object) -> None:
        """Nothing: the walk's log is the client's."""

    def do_CONNECT(self) -> None:
        """Become the host that is asked for."""
        self.host = self.path.partition(":")[0]
        if self.host not in (DATAVERSE, KERAS):
            return self.send_error(403, "the walk has no such host")
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.close_connection = False

    def do_HEAD(self) -> None:
        """Only that the server is there."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """A list, or a file from where the client has it."""
        if self.host == DATAVERSE and self.path.startswith("/api/datasets/"):
            return self.give(listing(self.images))
        match = re.match(r"/api/access/datafile/(\d+)", self.path)
        if self.host == DATAVERSE and match:
            return self.give_file(offered(self.images)[int(match[1])])
        if self.host == KERAS and self.path.rpartition("/")[2].startswith("mobilenet_v2"):
            return self.give_file(self.weights / "mobilenet_v2.h5")
        return self.send_error(404)

    def give(self, content: bytes) -> None:
        """All of it."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def give_file(self, path: Path) -> None:
        """The rest of a file."""
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - start))
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        with path.open("rb") as stream:
            stream.seek(start)
            while chunk := stream.read(1 << 20):
                self.wfile.write(chunk)


def main() -> None:
    """Serve until the walk ends."""
    images, weights, scratch = map(Path, sys.argv[1:])
    key, certificate = scratch / "key.pem", scratch / "certificate.pem"
    names = f"subjectAltName=DNS:{DATAVERSE},DNS:{KERAS}"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=walk"]
    subprocess.run([*command, "-addext", names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    Server.images, Server.weights = images, weights
    Server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Server.context.load_cert_chain(certificate, key)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    os.umask(0o077)
    main()
