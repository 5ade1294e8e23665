import asyncio

from shop.events import Events


def test_flushing_waits(tmp_path):
    asyncio.run(Events(tmp_path / "log").flush())
    assert (tmp_path / "log").read_text() == "flushed\n"


def test_events_are_recorded(tmp_path):
    async def visit():
        events = Events(tmp_path / "log")
        for page in range(5):
            await events.record(f"page {page}")
        await asyncio.sleep(0.012)

    asyncio.run(visit())
    assert len((tmp_path / "log").read_text().splitlines()) == 5
