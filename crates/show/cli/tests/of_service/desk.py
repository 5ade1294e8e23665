"""A desk that takes orders from those who have signed in. Two faults: a code is cut after three bytes (an answer of 500), and fewer
pieces than none end the process. With a lock file as its second word it does not begin again after that."""

import json
import os
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIGNED_IN = set()


class Desk(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, {"healthy": True})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        try:
            said = json.loads(self.rfile.read(length))
            if not isinstance(said, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError):
            return self.answer(400, {"error": "no JSON object"})
        if self.path == "/sign-in":
            token = secrets.token_hex(12)
            SIGNED_IN.add(token)
            return self.answer(200, {"token": token})
        if self.headers.get("X-Token") not in SIGNED_IN:
            return self.answer(401, {"error": "sign in first"})
        code, pieces = said.get("code"), said.get("pieces")
        if not isinstance(code, str) or not isinstance(pieces, int):
            return self.answer(422, {"error": "code and pieces"})
        if pieces < 0:
            if LOCK:
                open(LOCK, "w").close()
            os.abort()
        try:
            shelf = code.encode()[:3].decode()
        except UnicodeDecodeError as error:
            return self.answer(500, {"error": f"shelf: {error.reason}"})
        self.answer(201, {"shelf": shelf, "pieces": pieces})


LOCK = sys.argv[2] if len(sys.argv) > 2 else ""
if LOCK and os.path.exists(LOCK):
    sys.exit("desk: the lock is there")
ThreadingHTTPServer(("", int(sys.argv[1])), Desk).serve_forever()
