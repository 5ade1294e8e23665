import random
import threading
import time


class Loader:
    """Loads each name once."""

    def __init__(self):
        self.loaded = {}
        self.loads = 0

    def get(self, name):
        if name not in self.loaded:
            value = self.load(name)  # MISTAKE
            self.loaded[name] = value
        return self.loaded[name]

    def load(self, name):
        time.sleep(random.random() / 100)
        self.loads += 1
        return name.upper()


def in_threads(loader, names):
    threads = [threading.Thread(target=loader.get, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
        time.sleep(random.random() / 100)
    for thread in threads:
        thread.join()


# TESTS


def test_once():
    loader = Loader()
    in_threads(loader, ["a", "a"])
    assert loader.get("a") == "A"
    assert loader.loads == 1
