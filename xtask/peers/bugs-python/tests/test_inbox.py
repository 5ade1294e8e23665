from shop.inbox import put, take


def test_messages_are_taken_once(tmp_path):
    put(tmp_path, "a")
    put(tmp_path, "b")
    assert sorted(take(tmp_path)) == ["a", "b"]
    assert take(tmp_path) == []


def test_the_oldest_message_is_not_forgotten(tmp_path):
    put(tmp_path, "first")
    for number in range(30):
        put(tmp_path, f"later {number}")
    assert "first" in take(tmp_path, limit=30)
