"""On which day something happened."""

import datetime


def day(stamp):
    """The day of a time stamp (seconds since 1970, UTC)."""
    return datetime.datetime.fromtimestamp(stamp).date()


def by_day(stamps):
    days = {}
    for stamp in stamps:
        days.setdefault(day(stamp).isoformat(), []).append(stamp)
    return days
