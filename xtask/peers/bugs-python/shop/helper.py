"""A program beside this one that answers over a socket in the file system."""

import os
import socket
import threading


class Helper:
    def __init__(self, path):
        self.path = str(path)
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def start(self):
        self.thread.start()

    def _serve(self):
        greeting = b"".join(b"%d," % number for number in range(3000))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
            server.listen()
            caller, _ = server.accept()
            with caller:
                caller.sendall(greeting)
        os.unlink(self.path)


def ask(path):
    """Everything the helper says."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        with client.makefile("rb") as answer:
            return answer.read()
