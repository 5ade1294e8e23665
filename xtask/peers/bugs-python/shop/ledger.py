"""Accounts that several tills book on."""


class Account:
    def __init__(self):
        self.balance = 0
        self.lines = []

    def deposit(self, amount, text):
        balance = self.balance
        self.lines.append(f"{text:>20} {amount:>10.2f}")
        self.balance = balance + amount
