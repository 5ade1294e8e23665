class Cache:
    """The least recently used entry goes first."""

    def __init__(self, room):
        self.room = room
        self.entries = {}
        self.order = []

    def get(self, key, default=None):
        if key not in self.entries:
            return default
        self.touch(key)
        return self.entries[key]

    def put(self, key, value):
        if key in self.entries:
            self.entries[key] = value
            return  # MISTAKE
        if len(self.entries) >= self.room:
            oldest = self.order.pop(0)
            del self.entries[oldest]
        self.entries[key] = value
        self.order.append(key)

    def touch(self, key):
        self.order.remove(key)
        self.order.append(key)

    def clear(self):
        self.entries.clear()
        self.order.clear()


# TESTS


def test_empty():
    assert Cache(2).get("a", 7) == 7


def test_put_get():
    cache = Cache(2)
    cache.put("a", 1)
    assert cache.get("a") == 1


def test_evicts():
    cache = Cache(1)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") is None


def test_get_keeps():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a")
    cache.put("c", 3)
    assert cache.get("a") == 1


def test_put_keeps():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.put("a", 3)
    cache.put("c", 4)
    assert cache.get("a") == 3


def test_clear():
    cache = Cache(2)
    cache.put("a", 1)
    cache.clear()
    assert cache.get("a") is None
