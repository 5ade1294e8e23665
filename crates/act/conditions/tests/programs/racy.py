"""Small programs with a race each, which hardly ever shows. Exit code 1 when it does."""

import os
import queue
import sys
import tempfile
import threading
import time


def together(*functions):
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(1)
    return not any(thread.is_alive() for thread in threads)


class Account:
    def __init__(self, balance):
        self.balance = balance

    def current(self):
        return self.balance

    def set(self, balance):
        self.balance = balance

    def deposit(self, amount):
        self.set(self.current() + amount)


def lost_update():
    account = Account(0)

    def work():
        for _ in range(200):
            account.deposit(1)

    together(work, work)
    return account.balance != 400


def check_then_act():
    account = Account(100)

    def work():
        if account.current() >= 100:
            account.deposit(-100)

    together(work, work)
    return account.balance < 0


def lock_order():
    one, two = threading.Lock(), threading.Lock()

    def nothing():
        pass

    def work(first, second):
        for _ in range(20):
            with first:
                nothing()
                with second:
                    nothing()

    return not together(lambda: work(one, two), lambda: work(two, one))


def missed_wakeup():
    condition = threading.Condition()

    def wait():
        with condition:
            condition.wait()

    def tell():
        time.sleep(0.003)
        with condition:
            condition.notify()

    return not together(wait, tell)


def cache_made_twice():
    cache, made = {}, []

    def make():
        made.append(1)
        return len(made)

    def work():
        if "key" not in cache:
            cache["key"] = make()

    together(work, work, work)
    return len(made) != 1


def file_lost_update():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "count")
        with open(path, "w") as file:
            file.write("0")

        def work():
            with open(path) as file:
                count = int(file.read() or 0)
            with open(path, "w") as file:
                file.write(str(count + 1))

        together(work, work)
        with open(path) as file:
            return file.read() != "2"


def message_order():
    messages = queue.Queue()
    together(lambda: messages.put(1), lambda: messages.put(2))
    return [messages.get(), messages.get()] != [1, 2]


def compute():
    value = 1
    for _ in range(12_000_000):
        value = value * 3 & 0xFFFF
    return value == -1


if __name__ == "__main__":
    kind = globals()[sys.argv[1]]
    failed = kind()
    sys.stdout.flush()
    os._exit(1 if failed else 0)
