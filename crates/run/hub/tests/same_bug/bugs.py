"""Small programs that fail, each in its own way; values come from SEED, so no two runs say the same."""

import faulthandler
import json
import os
import queue
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

SEED = int(os.environ.get("SEED", "1"))
OTHER = "OTHER" in os.environ


class CartError(Exception):
    pass


def parse(text):
    return int(text)


def price(order):
    return order["price"]


def name(order):
    return order["name"]


def fetch(port):
    return socket.create_connection(("127.0.0.1", port), timeout=1)


def load(path):
    with open(path) as file:
        return file.read()


def reserve(item):
    raise CartError(f"item {item} of cart {uuid.uuid4()} is gone at {time.time()}")


def check(got, expected):
    assert got == expected, f"{got} is not {expected}"


def wait_for(lock):
    while not lock.acquire(timeout=0.01):
        pass


def wait_for_answer(one):
    while True:
        try:
            one.recv(1)
        except TimeoutError:
            continue


def assert_values():
    assert sorted([SEED, 3]) == [SEED + 1], f"sum {SEED}"


def two_asserts():
    if OTHER:
        assert SEED == SEED + 1
    assert SEED + 2 == SEED


def helper_asserts():
    if OTHER:
        check(SEED, SEED + 1)
    check(SEED, SEED + 2)


def no_price():
    price({f"key{SEED}": 1})


def no_name():
    name({"price": SEED})


def no_number():
    parse(f"{SEED}x")


def no_number_elsewhere():
    for text in ["1", "2", f"n{SEED}"]:
        parse(text)


def divided():
    return SEED / (SEED - SEED)


def none_returned():
    order = None if SEED else []
    return order.total


def no_file():
    load(os.path.join(tempfile.gettempdir(), f"order-{SEED}.json"))


def refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    fetch(port)


def gone():
    reserve(SEED)


def chained():
    try:
        price({})
    except KeyError as error:
        raise CartError(f"cart {SEED} has no price") from error


def too_deep():
    def down(depth):
        return down(depth + 1) + SEED

    down(0)


def bad_json():
    json.loads('{"order": ' + str(SEED) + " " * (SEED % 9) + "oops}")


def not_unicode():
    bytes([65] * (SEED % 7) + [0xC0 + SEED % 16, 65]).decode()


def changed():
    orders = {SEED: 1}
    for order in orders:
        orders[order + 1] = 2


def empty():
    queue.Queue().get(timeout=0.001 * (SEED % 5))


def child_failed():
    subprocess.run([sys.executable, "-c", f"raise SystemExit({SEED % 5 + 1})"], check=True)


def too_many_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (40 + SEED % 20, 100))
    files = []
    while True:
        files.append(tempfile.TemporaryFile())


def exits():
    print(f"worker {os.getpid()} lost its lease on {tempfile.gettempdir()}", file=sys.stderr)
    sys.exit(7)


def thread_raised():
    failed = []

    def work():
        try:
            reserve(SEED)
        except CartError as error:
            failed.append(error)

    worker = threading.Thread(target=work, name=f"worker-{SEED}")
    worker.start()
    worker.join()
    raise failed[0]


def stuck_on_lock():
    lock = threading.Lock()
    lock.acquire()
    wait_for(lock)


def stuck_on_answer():
    one, other = socket.socketpair()
    one.settimeout(0.01)
    wait_for_answer(one)
    other.close()


def out_of_memory():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
    held = []
    while True:
        held.append(bytearray(40_000_000 + SEED))


def crashed():
    import ctypes

    faulthandler.enable()
    ctypes.string_at(SEED % 1000)


def aborted():
    faulthandler.enable()
    os.abort()


if __name__ == "__main__":
    if sys.argv[1].startswith("stuck"):
        faulthandler.dump_traceback_later(0.2 + 0.05 * (SEED % 4), exit=True)
    globals()[sys.argv[1]]()
