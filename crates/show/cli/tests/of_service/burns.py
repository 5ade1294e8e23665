"""A server that fails now and then, and whose answers cost as many steps as they are asked for."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def count_slowly(steps):
    total = 0
    for step in range(steps):
        total += step * step % 7
    return total


kept = []


def remember(visitor):
    kept.append([f"{visitor} was here {time}" for time in range(200)])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fails = self.path == "/fail"
        if self.path == "/grow":
            remember(self.client_address)
        body = str(count_slowly(200_000 if self.path == "/burn" else 10)).encode()
        self.send_response(500 if fails else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
