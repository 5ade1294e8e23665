import random
import resource

import pytest

from shop.canvas import Canvas

MIB = 1 << 20


@pytest.fixture
def small_machine():
    """A gibibyte is all that a process may have where this is used."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1024 * MIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_canvas_is_white():
    assert Canvas(3, 2).point(2, 1) == b"\xff" * 4


def test_pictures_of_any_size(small_machine):
    width, height = (int(2 ** random.uniform(5, 14)) for _ in range(2))
    canvas = Canvas(width, height)
    assert canvas.point(width - 1, height - 1) == b"\xff" * 4
