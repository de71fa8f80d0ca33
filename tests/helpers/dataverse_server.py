"""A local HTTP server that answers like Dataverse, and misbehaves on demand."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

DOI = "doi:10.0/TEST"


@dataclass
class Dataverse:
    """What the server offers, what it does wrong, and what it was asked."""

    files: dict[
        str, bytes
    ]  # by label; one that ends in .tab is served in another form unless the original is asked for
    url: str = ""
    cuts: list[int] = field(default_factory=list)  # close the next contents after so many bytes
    statuses: list[int] = field(default_factory=list)  # give these instead of the next contents
    damaged: int = 0  # so many of the next contents have a wrong byte
    ranges: bool = True  # False: answer 200 with everything, whatever range is asked for
    shift: int = 0  # answer ranges from so many bytes later than asked for
    surplus: bytes = b""  # more than there should be, after every content
    md5: dict[str, str] = field(default_factory=dict)  # wrong entries of the list
    restricted: bool = False
    listing: bytes | None = None  # an answer in place of the list
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # (path, range) of all requests
    tickets: int = 0

    def listed(self) -> bytes:
        """The answer of the API for the dataset."""
        if self.listing is not None:
            return self.listing
        files = []
        for number, (label, content) in enumerate(self.files.items(), start=1):
            md5 = self.md5.get(label, hashlib.md5(content).hexdigest())
            file: dict[str, Any] = {"id": number, "filename": label, "filesize": len(content), "md5": md5}
            file["checksum"] = {"type": "MD5", "value": md5}
            if label.endswith(".tab"):
                file |= {"filesize": 1, "originalFileName": label[:-4], "originalFileSize": len(content)}
            files.append({"label": label, "restricted": self.restricted, "dataFile": file})
        return json.dumps({"status": "OK", "data": {"latestVersion": {"files": files}}}).encode()

    def contents(self) -> list[tuple[str, str | None]]:
        """The requests for content that reached the store."""
        return [entry for entry in self.asked if entry[0].startswith("/store/")]


@contextmanager
def serving(dataverse: Dataverse) -> Iterator[Dataverse]:
    """Serve `dataverse` at its `url`, on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            cut = dataverse.cuts.pop(0) if self.path.startswith("/store/") and dataverse.cuts else None
            self.wfile.write(content[:cut])
            self.close_connection = True

        def do_GET(self) -> None:
            dataverse.asked.append((self.path, self.headers["Range"]))
            if re.search("python|urllib", self.headers["User-Agent"] or "python", re.IGNORECASE):
                return self.answer(403)
            if self.path.startswith("/api/datasets/:persistentId/?persistentId=doi"):
                return self.answer(200, dataverse.listed())
            if match := re.fullmatch(r"/api/access/datafile/(\d+)(\?format=original)?", self.path):
                dataverse.tickets += 1
                form = "original" if match[2] else "archival"
                return self.answer(303, Location=f"/store/{dataverse.tickets}/{match[1]}/{form}")
            if match := re.fullmatch(r"/store/(\d+)/(\d+)/(original|archival)", self.path):
                return self.store(int(match[1]), int(match[2]), match[3])
            return self.answer(404)

        def store(self, ticket: int, number: int, form: str) -> None:
            if ticket != dataverse.tickets or self.asked_before():
                return self.answer(403)  # a presigned address is good for one request here
            if dataverse.statuses:
                return self.answer(dataverse.statuses.pop(0))
            label, content = list(dataverse.files.items())[number - 1]
            if label.endswith(".tab") and form == "archival":
                content = content.replace(b",", b"\t")
            if dataverse.damaged:
                dataverse.damaged -= 1
                content = bytes([content[0] ^ 1]) + content[1:]
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            if not wanted or not dataverse.ranges:
                return self.answer(200, content + dataverse.surplus)
            start = int(wanted[1]) + dataverse.shift
            if start >= len(content):
                return self.answer(416)
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, content[start:] + dataverse.surplus, Content_Range=span)

        def asked_before(self) -> bool:
            return sum(path == self.path for path, _ in dataverse.asked) > 1

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        dataverse.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield dataverse
        finally:
            server.shutdown()
            thread.join()
