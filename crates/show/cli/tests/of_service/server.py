"""A server with a path for each thing that servers do, right or wrong.

    server.py PORT

Over TLS when the environment names a CERTIFICATE (a file with its key).
Calls that name themselves (X-Call) are written to the file `access`, a line each, before they are answered.
"""

import json
import os
import signal
import ssl
import sys
import time
import traceback
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCESS = os.open("access", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
STARTED = time.monotonic()
# Only this process knows it.
TOKEN = f"{os.getpid()}-{STARTED}"
# From then on /burst fails.
BURST_S = 3
# From then on /old/13 ends it.
OLD_S = 5
# What /keep never lets go of.
KEPT = []


def price(number):
    if number == 13:
        raise ValueError(f"no price for {number}")
    return number * 10


def tell_nonsense():
    """What the receiver of OpenTelemetry answers to bytes that are none."""
    request = urllib.request.Request(
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces",
        data=b"\xff\x00 this is no span" * 99,
        headers={"Content-Type": "application/x-protobuf"},
    )
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


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
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self):
        if "X-Call" in self.headers:
            os.write(ACCESS, (self.headers["X-Call"] + "\n").encode())
        kind, _, number = self.path.split("?")[0].strip("/").partition("/")
        number = int(number or 0)
        if kind == "crash" and number == 13:
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(9)
        elif kind == "old" and number == 13 and time.monotonic() - STARTED > OLD_S:
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(9)
        elif kind == "keep":
            KEPT.append(os.urandom(40_000))
            self.answer(200, {})
        elif kind == "percent":
            try:
                self.answer(200, 100 // (json.loads(self.body)["code"] - 50))
            except Exception:  # as frameworks do: whatever it was, the answer is the same
                traceback.print_exc()
                self.answer(500, "Internal Server Error")
        elif kind == "price":
            self.answer(200, {"price": price(number)})
        elif kind == "total":
            self.answer(200, {"total": number + (number % 5 == 0)})
        elif kind == "burst":
            self.answer(500 if time.monotonic() - STARTED > BURST_S else 200, {})
        elif kind == "session":
            self.answer(201, {"token": TOKEN})
        elif kind == "first":
            # One file for all instances.
            try:
                os.close(os.open("first", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                self.answer(201, {})
            except FileExistsError:
                self.answer(409, {})
        elif kind == "own":
            self.answer(200 if self.headers.get("X-Token") == TOKEN else 401, {})
        elif kind == "slow":
            time.sleep(0.15)
            self.answer(200, {"number": number})
        elif kind == "flaky":
            self.answer(503 if number == 4 else 200, {})
        elif kind == "gone":
            self.answer(404, {"error": "no such thing"}) if number == 4 else self.answer(200, {"number": number})
        elif kind == "nonsense":
            self.answer(200, {"status": tell_nonsense()})
        elif kind == "garbage":
            self.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            self.close_connection = True
        elif kind == "endless":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"x")
            time.sleep(9)
        else:
            self.answer(201 if self.command == "POST" else 200, {"number": number})

    do_DELETE = do_GET

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        # A caller that is killed resets its connections.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


server = Server((os.environ.get("HOST", "127.0.0.1"), int(sys.argv[1])), Handler)
if "CERTIFICATE" in os.environ:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["CERTIFICATE"])
    # Whoever connects and says nothing keeps nobody else waiting.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
