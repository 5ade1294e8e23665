import random

import pytest

from shop.tenants import Logs


@pytest.fixture
def logs(tmp_path):
    logs = Logs(tmp_path)
    yield logs
    logs.close()


def test_a_file_for_each(logs, tmp_path):
    logs.write("ann", "x")
    logs.write("bob", "y")
    logs.write("ann", "z")
    logs.close()
    assert (tmp_path / "ann.log").read_text() == "x\nz\n"


def test_any_number_of_tenants(logs):
    tenants = random.randint(1, 1030)
    for tenant in range(tenants):
        logs.write(f"tenant-{tenant}", "hello")
    assert len(logs.files) == tenants
