"""Tests that fail always. The name up to `__` says which bug it is: those of one name are the same bug."""

import random

from shop import alike


def test_port__a():
    alike.port("80a")


def test_port__b():
    alike.port(f"port {random.randrange(10**6)}")


def test_amount__a():
    alike.amount("80a")


def test_customer__a():
    alike.customer({}, f"customer-{random.randrange(10**6)}")


def test_customer__b():
    alike.customer({"ann": 1}, "bob")


def test_article__a():
    alike.article({}, f"article-{random.randrange(10**6)}")


def test_connect__a():
    alike.connect("127.0.0.1", random.randrange(1024, 65536))


def test_connect__b():
    alike.connect("10.0.0.7", random.randrange(1024, 65536))


def test_login__a():
    alike.login("127.0.0.1", random.randrange(1024, 65536))


def test_load__a(tmp_path):
    alike.load(tmp_path / f"{random.randrange(10**6)}.json")


def test_empty__a(tmp_path):
    (tmp_path / "empty.json").write_text("")
    alike.load(tmp_path / "empty.json")


def test_save__a(tmp_path):
    for _ in range(2):
        alike.save(tmp_path / f"same-{tmp_path.name}.json", 1)


def test_twice__a():
    alike.release(alike.handle())


def test_twice__b():
    alike.release("h-" + "x" * random.randrange(5, 50))


def test_never__a():
    alike.release(f"n-{random.randrange(10**6)}")


def test_total__a():
    alike.total([{"cents": random.randrange(1000)}, {"count": 3}])


def test_total__b():
    alike.total([{"count": n} for n in range(random.randrange(1, 9))])


def test_count__a():
    alike.count([{"cents": 3}])


def test_depth__a():
    tree = []
    tree.append(tree)
    alike.depth(tree)


def test_size__a():
    tree = []
    tree.append(tree)
    alike.size(tree)


def test_sum__a():
    left = random.randrange(10**6)
    assert left + left == 2 * left + 1, "sums"


def test_product__a():
    left = random.randrange(1, 10**6)
    assert left * left == left, "products"


def test_colours__a():
    assert sorted(["red", "green"]) == ["red", "green", f"blue {random.random()}"]
