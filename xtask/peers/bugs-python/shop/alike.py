"""Failures that look alike. What is raised at one place is one bug, whatever values it names."""

import json
import uuid


def port(text):
    return int(text)


def amount(text):
    return int(text)


def customer(customers, key):
    return customers[key]


def article(articles, key):
    return articles[key]


def connect(host, port):
    raise ConnectionError(f"{host}:{port} refused the connection after {port % 97 + 3} ms")


def login(host, port):
    raise ConnectionError(f"{host}:{port} refused the password after {port % 97 + 3} ms")


def load(path):
    with open(path) as file:
        return json.load(file)


def save(path, value):
    with open(path, "x") as file:
        json.dump(value, file)


def release(handle):
    if handle.startswith("h-"):
        raise RuntimeError(f"handle {handle} at {hex(id(handle))} was released twice")
    raise RuntimeError(f"handle {handle} at {hex(id(handle))} was never held")


def handle():
    return f"h-{uuid.uuid4()}"


def total(lines):
    return sum(line["cents"] for line in lines)


def count(lines):
    return sum(line["count"] for line in lines)


def depth(tree):
    return 1 + max(depth(branch) for branch in tree)


def size(tree):
    return 1 + sum(size(branch) for branch in tree)
