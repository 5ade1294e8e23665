"""One test in a process of its own, after those that are to run before it in the same process.

COHORT_ATTEMPT names a JSON file: {"names": [...], "report": path, "seed": text or null, "basetemp": path,
"finish": whether the session is to end as pytest ends it}. The names are those of the plan; the last one
is what it is about. What it came to is written to `report` with the process id behind it, in one piece:
the outcome and the texts of `cohort_common.judge`, and {"begun": true} alone while the test runs.

The user's own arguments hold, but for what they select, and for what would be written beside the suite:
reports, caches and coverage are those of the campaign and not of a try. Loaded with `-p cohort_attempt`.
"""

import json
import os
import sys

import pytest

from cohort_common import OPTIONS_UNSET, clean, judge, named

# What this process is not to write, or not to be told by earlier runs: option -> value.
OPTIONS_APART = {
    "xmlpath": None,
    "htmlpath": None,
    "report_log": None,
    "json_report": False,
    "log_file": None,
    "lf": False,
    "failedfirst": False,
    "newfirst": False,
    "stepwise": False,
    "stepwise_skip": False,
    "cacheclear": False,
    "cov_source": [],
    "no_cov": True,
    "durations": None,
    "collectonly": False,
}


def _take_order():
    path = os.environ.pop("COHORT_ATTEMPT")
    here = os.path.dirname(os.path.abspath(__file__))
    paths = os.environ.get("PYTHONPATH", "")
    if paths == here:
        del os.environ["PYTHONPATH"]
    elif paths.startswith(here + os.pathsep):
        os.environ["PYTHONPATH"] = paths[len(here + os.pathsep) :]
    sys.path[:] = [part for part in sys.path if part != here]
    with open(path, encoding="utf-8") as file:
        return json.load(file)


_order = _take_order()
_exit = os._exit
_reports = []
_target = False
_given = []


def _write(result):
    path = "%s.%d" % (_order["report"], os.getpid())
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(path + ".new", path)


def _unset(option):
    for name, (value, _) in OPTIONS_UNSET.items():
        if hasattr(option, name):
            setattr(option, name, value)
    for name, value in OPTIONS_APART.items():
        if hasattr(option, name):
            setattr(option, name, value)
    if hasattr(option, "basetemp"):
        # Several copies of a test may run at once, and each empties its own at first.
        option.basetemp = "%s-%d" % (_order["basetemp"], os.getpid())
    if _order.get("seed") is not None and hasattr(option, "randomly_seed"):
        option.randomly_seed = int(_order["seed"])


@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(early_config):
    _unset(early_config.known_args_namespace)
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_cmdline_main(config):
    _unset(config.option)
    yield


def _base(name):
    """The node id of a name of the plan, without the number of one that occurs again."""
    head, sharp, number = name.rpartition(" #")
    return head if sharp and number.isdigit() else name


def _argument(config, name):
    """The argument by which pytest finds a node id from where it was started."""
    root = getattr(config, "rootpath", None) or config.rootdir
    path, colons, rest = name.partition("::")
    return os.path.join(str(root), path) + colons + rest


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    global _given
    config = session.config
    _given = list(config.args)
    config.args = list(dict.fromkeys(_argument(config, _base(name)) for name in _order["names"]))


@pytest.hookimpl(hookwrapper=True)
def pytest_collection(session):
    """Collects no more than what is run; all of it where a name cannot be found alone."""
    outcome = yield
    is_usage = outcome.excinfo is not None and issubclass(outcome.excinfo[0], pytest.UsageError)
    if is_usage or not _all_found(session):
        session.config.args = _given
        session.perform_collect()
        outcome.force_result(True)


def _all_found(session):
    found = named(session.items)
    return all(name in found for name in _order["names"])


def pytest_runtest_logreport(report):
    if _target:
        _reports.append(report)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    global _target
    names = _order["names"]
    found = named(session.items)
    if names[-1] not in found:
        text = "test list changed: %s was collected at the start and is not found alone" % names[-1]
        _write({"outcome": "missing", "message": clean(text)})
        _end(session, 4)
        return True
    items = [found[name] for name in names if name in found]
    for at, item in enumerate(items):
        following = items[at + 1] if at + 1 < len(items) else None
        if following is None:
            _target = True
            _write({"begun": True})
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        _go_on(session)
    result = judge(items[-1].config, _reports)
    _write(result)
    _end(session, 0 if result["outcome"] in ("passed", "xpassed", "xfailed", "skipped") else 1)
    return True


def _go_on(session):
    """Forgets that a test wanted the session to stop. (pytest 8 warns of who sets it back openly.)"""
    for name in ("shouldstop", "shouldfail"):
        hidden = "_" + name
        setattr(session, hidden if hasattr(session, hidden) else name, False)


def _end(session, code):
    """Ends this process here: what pytest writes at its end is the campaign's own affair."""
    session.testsfailed = int(code != 0)
    if _order.get("finish"):
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
    _exit(code)
