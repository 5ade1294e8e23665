"""A small shop: prices, a cart, and a worker that sends receipts."""

import datetime
import threading

RATES = {"EUR": 1.0}


def load_rates():
    RATES["USD"] = 1.1


def price(amount, currency):
    return amount * RATES[currency]


def due(placed):
    """The day after an order was placed, as the customer's calendar has it."""
    return datetime.datetime.fromtimestamp(placed).date() + datetime.timedelta(days=1)


class Receipts:
    """Sends receipts from a thread of its own."""

    def __init__(self):
        self.sent = []

    def send(self, order):
        thread = threading.Thread(target=self._send, args=(order,))
        thread.start()

    def _send(self, order):
        digest = 7
        for _ in range(150_000):
            digest = digest * 31 % 1_000_003
        self.sent.append((order, digest))
