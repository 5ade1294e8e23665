"""What happened, in a file; nobody waits for the disk."""

import asyncio


class Events:
    def __init__(self, path):
        self.path = path

    def _write(self, text):
        with open(self.path, "a") as file:
            file.write(text + "\n")

    async def _store(self, text):
        await asyncio.to_thread(self._write, text)

    async def record(self, text):
        asyncio.create_task(self._store(text))

    async def flush(self):
        await self._store("flushed")
