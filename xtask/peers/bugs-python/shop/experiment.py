"""Which variant of a page a visitor sees."""

import random


def variant(share=0.5):
    return "new" if random.random() < share else "old"


def shares(visitors, share=0.5):
    """How large the share of the new variant was."""
    return sum(variant(share) == "new" for _ in range(visitors)) / visitors
