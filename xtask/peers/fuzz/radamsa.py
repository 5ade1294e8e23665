"""Radamsa on recorded requests: visits are sent again in order, with one request of each changed by radamsa, until the server ends.

    python radamsa.py VISITS.json PORT SEED SECONDS

What radamsa is given is what can be sent at all: the body of a request that has one, else its path and query. Cookies are kept as a
browser keeps them, so a changed request carries a session that is valid. Four visits go on at once, as Cohort's do. Prints how many
seconds it took until nobody listened any more, or `-`.
"""

import http.client
import http.cookies
import json
import random
import sys
import threading
import time

import pyradamsa

VISITS, PORT, SEED, SECONDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
BEGAN = time.monotonic()
ENDED = threading.Event()
CALLS = [0] * 4
# Its library keeps state that is not for several threads.
RADAMSA, ONE = pyradamsa.Radamsa(), threading.Lock()


def changed_by_radamsa(data, seed):
    with ONE:
        return RADAMSA.fuzz(data, seed=seed)


def visit(dice, requests):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    changed = dice.randrange(len(requests))
    cookies = {}
    for number, (method, path, body) in enumerate(requests):
        body = body.encode()
        if number == changed:
            seed = dice.randrange(1 << 31)
            if body:
                body = changed_by_radamsa(body, seed)
            else:
                path = "/" + changed_by_radamsa(path[1:].encode(), seed).decode("latin-1")
                path = "".join(c if "!" <= c <= "~" else "%%%02X" % ord(c) for c in path)
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())} if cookies else {}
        if body:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            answer.read()
        except ConnectionRefusedError:
            ENDED.set()
            return
        except (http.client.HTTPException, OSError, ValueError):
            connection.close()
            continue
        for line in answer.headers.get_all("Set-Cookie") or []:
            for name, morsel in http.cookies.SimpleCookie(line).items():
                cookies[name] = morsel.value
    connection.close()


def lane(number, visits):
    dice = random.Random(SEED * 1000 + number)
    while not ENDED.is_set() and time.monotonic() - BEGAN < SECONDS:
        visit(dice, dice.choice(visits))
        CALLS[number] += 1


def main():
    with open(VISITS) as file:
        visits = json.load(file)
    lanes = [threading.Thread(target=lane, args=(number, visits)) for number in range(4)]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join()
    took = f"{time.monotonic() - BEGAN:.2f}" if ENDED.is_set() else "-"
    print(took, sum(CALLS), flush=True)


main()
