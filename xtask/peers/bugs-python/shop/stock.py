"""What is in store, and what was ordered: each has a lock of its own."""

import threading


class Shelf:
    def __init__(self, log, **amounts):
        self.lock = threading.Lock()
        self.amounts = dict(amounts)
        self.log = open(log, "a", buffering=1)

    def note(self, text):
        self.log.write(text + "\n")


def move(source, target, article):
    """Moves one from a shelf to another."""
    with source.lock:
        source.note(f"one {article} less")
        source.amounts[article] -= 1
        with target.lock:
            target.note(f"one {article} more")
            target.amounts[article] = target.amounts.get(article, 0) + 1
