import threading

from shop.stock import Shelf, move


def test_one_is_moved(tmp_path):
    front, back = Shelf(tmp_path / "front", pen=3), Shelf(tmp_path / "back")
    move(front, back, "pen")
    assert (front.amounts, back.amounts) == ({"pen": 2}, {"pen": 1})


def test_shelves_are_filled_from_both_sides(tmp_path):
    front, back = Shelf(tmp_path / "front", pen=50), Shelf(tmp_path / "back", book=50)

    workers = [
        threading.Thread(target=move, args=(front, back, "pen"), daemon=True),
        threading.Thread(target=move, args=(back, front, "book"), daemon=True),
    ]
    for worker in workers:
        (tmp_path / worker.name).write_text("\n".join(f"shelf {shelf}: empty" for shelf in range(1000)))
        worker.start()
    for worker in workers:
        worker.join()
    assert front.amounts["book"] == back.amounts["pen"] == 1
