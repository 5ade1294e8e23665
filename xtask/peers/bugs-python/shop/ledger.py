"""Accounts that several tills book on."""


def line(amount, text):
    return f"{text:>20} {amount:>10.2f}"


class Account:
    def __init__(self):
        self.balance = 0
        self.lines = []

    def deposit(self, amount, text):
        balance = self.balance
        self.lines.append(line(amount, text))
        self.balance = balance + amount
