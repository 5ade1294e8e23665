"""A server with a thread for each caller, one of whose calls lets time pass."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def pay():
    time.sleep(0.06)


LOCK = threading.Lock()
KEPT = []


def buy():
    with LOCK:
        time.sleep(1000)


def remember():
    KEPT.append(open("/dev/null"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/pay":
            pay()
        if self.path == "/buy":
            buy()
        if self.path == "/open":
            remember()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
