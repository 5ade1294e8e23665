class Heap:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)
        place = len(self.items) - 1
        while place > 0:
            parent = (place - 1) // 2
            if self.items[parent] <= self.items[place]:
                break
            self.swap(parent, place)
            place = parent

    def pop(self):
        if not self.items:
            raise IndexError("empty")
        self.swap(0, len(self.items) - 1)
        least = self.items.pop()
        self.sink(0)
        return least

    def sink(self, place):
        size = len(self.items)
        while True:
            child = 2 * place + 1
            if child >= size:
                return
            if child + 1 < size and self.items[child + 1] > self.items[child]:  # MISTAKE
                child += 1
            if self.items[place] <= self.items[child]:
                return
            self.swap(place, child)
            place = child

    def swap(self, one, other):
        items = self.items
        items[one], items[other] = items[other], items[one]


# TESTS


def drained(items):
    heap = Heap()
    for item in items:
        heap.push(item)
    return [heap.pop() for _ in items]


def test_empty():
    try:
        Heap().pop()
    except IndexError:
        return
    raise AssertionError("something came")


def test_one():
    assert drained([1]) == [1]


def test_two():
    assert drained([2, 1]) == [1, 2]


def test_three():
    assert drained([3, 1, 2]) == [1, 2, 3]


def test_many():
    assert drained([5, 3, 8, 1, 9, 2]) == [1, 2, 3, 5, 8, 9]


def test_push_keeps_the_least_first():
    heap = Heap()
    for item in (4, 6, 2):
        heap.push(item)
    assert heap.items[0] == 2
