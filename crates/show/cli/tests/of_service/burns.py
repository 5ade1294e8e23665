"""A server that fails now and then, and whose answers cost as many steps as they are asked for."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def count_slowly(steps):
    total = 0
    for step in range(steps):
        total += step * step % 7
    return total


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fails = self.path == "/fail"
        body = str(count_slowly(10 if self.path == "/health" else 200_000)).encode()
        self.send_response(500 if fails else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
