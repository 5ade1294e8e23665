"""A server with a cache in front of something slow. The products of one visitor fit into it and so do
the articles of another; not both."""

import sys
import threading
import time
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Entries that the cache has room for; what each kind of visitor asks for is 300.
ROOM = 400
# What it takes to get one that is not there.
MISS_S = 0.03

cache = OrderedDict()
lock = threading.Lock()


def get(key):
    with lock:
        if key in cache:
            cache.move_to_end(key)
            return cache[key]
    time.sleep(MISS_S)
    with lock:
        cache[key] = b"%s\n" % key.encode()
        if len(cache) > ROOM:
            cache.popitem(last=False)
        return cache[key]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is sent at once, not held back for the next.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        body = get(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
