from shop.daemon import Daemon


def test_a_daemon_leaves_a_mark(tmp_path):
    daemon = Daemon(tmp_path / "mark")
    assert int((tmp_path / "mark").read_text()) == daemon.process.pid
    daemon.stop()
    daemon.process.wait()


def test_a_daemon_can_be_started_again(tmp_path):
    for _ in range(2):
        daemon = Daemon(tmp_path / "mark")
        daemon.stop()
        assert not (tmp_path / "mark").exists()
