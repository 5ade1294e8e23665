"""A shop with baskets, and two things that go wrong in it.

    server.py PORT

A line of 7 or more counts as one less in the total; and of lines that are added at the same time one is forgotten in it.
"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()
BASKETS = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.said = json.loads(text or b"{}")
        self.do_GET()

    def do_GET(self):
        token = self.headers.get("X-Token")
        if self.path == "/login":
            with LOCK:
                token = f"{os.getpid()}-{len(BASKETS) + 1000}"
                BASKETS[token] = {"lines": [], "total": 0}
            return self.answer(200, {"token": token})
        if not self.path.startswith("/basket"):
            return self.answer(200, {"path": self.path})
        if token not in BASKETS:
            return self.answer(401, {"error": "who are you?"})
        basket = BASKETS[token]
        if self.command == "POST":
            count = self.said["count"]
            total = basket["total"]
            if "slow" in self.path:
                time.sleep(0.05)
            else:
                total = basket["total"]
            with LOCK:
                basket["lines"].append(count)
                basket["total"] = total + count - (count >= 7)
            return self.answer(201, {"lines": len(basket["lines"])})
        self.answer(200, basket)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server((os.environ.get("HOST", "127.0.0.1"), int(sys.argv[1])), Handler).serve_forever()
