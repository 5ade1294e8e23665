"""One test in a process of its own, after those that are to run before it in the same process.

COHORT_ATTEMPT names a JSON file: {"names": [...], "report": path, "seed": text or null, "basetemp": path,
"finish": whether the session is to end as pytest ends it, "batch": null or how often it is run}. The names are those of the plan; the last one
is what it is about. What it came to is written to `report` with the process id behind it, in one piece:
the outcome and the texts of `cohort_common.judge`, and {"begun": true} alone while the test runs.

A batch is {"runs", "us", "progress", "scratch"}: up to so many runs, none of them begun after that time, each in
a process that is forked once all is imported and collected, until one does not pass. This process then ends
as the last of them did. How many passed before the one under way stands in the file `progress`.

The user's own arguments hold, but for what they select, and for what would be written beside the suite:
reports, caches and coverage are those of the campaign and not of a try. Loaded with `-p cohort_attempt`.
"""

import json
import os
import pathlib
import shutil
import signal
import sys
import time
import warnings

import pytest

from cohort_common import OPTIONS_UNSET, clean, has_children, judge, named, own_scratch

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
_exit, _fork, _wait, _now = os._exit, os.fork, os.waitpid, time.monotonic
_present = set(os.listdir(os.environ["TMPDIR"]))
_reports = []
_target = False
_given = []


def _report(process):
    return "%s.%d" % (_order["report"], process)


def _write(result):
    path = _report(os.getpid())
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(path + ".new", path)


def _basetemp():
    """Several copies of a test may run at once, and each empties its own at first."""
    return "%s-%d" % (_order["basetemp"], os.getpid())


def _unset(option):
    for name, (value, _) in OPTIONS_UNSET.items():
        if hasattr(option, name):
            setattr(option, name, value)
    for name, value in OPTIONS_APART.items():
        if hasattr(option, name):
            setattr(option, name, value)
    if hasattr(option, "basetemp"):
        option.basetemp = _basetemp()
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
    batch = _order.get("batch")
    if batch and _is_forkable(session.config):
        _fork_runs(session.config, batch)
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


# ---- several runs --------------------------------------------------------------------------------


def _is_forkable(config):
    """Whether each run can have a copy of this process. (The campaign's collector was found to be forkable.)"""
    tasks = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 2
    made = set(os.listdir(os.environ["TMPDIR"])) - _present
    live = getattr(config.option, "capture", "fd") == "no"
    return tasks == 1 and not made and not live and not has_children()


def _fork_runs(config, batch):
    """Returns in each process that is to make a run. This process ends here."""
    since, passed = _now(), 0
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    while True:
        _tell(batch["progress"], passed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = _fork()
        if child == 0:
            own_scratch()
            _own_basetemp(config)
            return
        status = _wait(child, 0)[1]
        if status != 0:
            _end_as(status)
        over = (_now() - since) * 1e6 >= batch["us"] or passed + 1 >= batch["runs"]
        if over or has_children() or not _has_passed(child) or not _emptied(batch["scratch"]):
            _exit(0)
        os.unlink(_report(child))
        passed += 1


def _tell(path, passed):
    with open(path + ".new", "w") as file:
        file.write(str(passed))
    os.replace(path + ".new", path)


def _own_basetemp(config):
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        factory._basetemp = None
        factory._given_basetemp = pathlib.Path(_basetemp())


def _has_passed(child):
    """What was skipped did not pass."""
    with open(_report(child), encoding="utf-8") as file:
        return json.load(file).get("outcome") in ("passed", "xpassed", "xfailed")


def _emptied(scratch):
    if scratch is None:
        return True
    try:
        for entry in os.scandir(scratch):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    except OSError:
        return False
    return True


def _end_as(status):
    """Ends this process as its child ended."""
    if os.WIFEXITED(status):
        _exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(number, signal.SIG_DFL)
    except (OSError, ValueError):
        pass
    os.kill(os.getpid(), number)
    _exit(128 + number)


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
