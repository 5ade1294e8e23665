import time

import pytest

from shop.helper import Helper, ask


def test_nobody_is_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        ask(tmp_path / "nobody")


def test_the_helper_answers(tmp_path):
    helper = Helper(tmp_path / "helper")
    helper.start()
    time.sleep(0.004)
    assert ask(tmp_path / "helper").startswith(b"0,1,2,")
