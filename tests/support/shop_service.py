"""A real little service for tests: `shop_service.py PORT FOLDER`. Standard library only, up in a few milliseconds.

Reads FOLDER/config.json at start and exits with the parse error when it is broken. `/health` answers 503 while
FOLDER/sick exists, waits while FOLDER/slow exists, and reports the service at `depends_on` when the file names one.
"""

import http.client
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[2])
CONFIG_FILE = FOLDER / "config.json"
DEPENDS_ON: int = json.loads(CONFIG_FILE.read_text()).get("depends_on", 0) if CONFIG_FILE.exists() else 0


class Handler(BaseHTTPRequestHandler):
    """Answers what the folder says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Health."""
        if (FOLDER / "slow").exists():
            time.sleep(0.5)
        status, text = 200, "ok"
        if (FOLDER / "sick").exists():
            status, text = 503, "sick"
        elif DEPENDS_ON:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", DEPENDS_ON, timeout=0.3)
                connection.request("GET", "/health")
                if connection.getresponse().status != 200:
                    status, text = 503, "dependency is sick"
            except OSError as error:
                status, text = 503, f"dependency is away: {error}"
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Quiet."""


with (FOLDER / "starts.txt").open("a") as starts:
    starts.write(f"{os.getpid()} {os.environ.get('BRAINOPS_EFFECT_KEY', '')}\n")
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
