"""Messages as files in a folder; names are made up."""

import os
import uuid


def put(folder, text):
    path = os.path.join(folder, f"{uuid.uuid4().hex}.msg")
    with open(path, "w") as file:
        file.write(text)
    return path


def take(folder, limit=10):
    """The texts of the oldest messages, and removes them."""
    texts = []
    for name in os.listdir(folder)[:limit]:
        path = os.path.join(folder, name)
        with open(path) as file:
            texts.append(file.read())
        os.remove(path)
    return texts
