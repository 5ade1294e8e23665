"""Cohort within pytest: collect once, fork warm workers, run one named test at a time.

    collector   pytest up to the end of collection -> hello, collected -> fork server
                -> close: pytest's own end, with the reports of all workers
    worker      forked by the collector, or launched anew (it then collects for itself)

    hub                     worker
     | run{thread, id} ----> | set-up, call
     | <--- yielded{thread}  | before the clean-up: which test is next?
     | next{thread, id} ---> | clean-up of all that the next test does not share
     | <----- ended{thread}  |

Each message is one JSON object on one line of a Unix socket: {"kind": {fields}}.

Promises: exactly one `yielded` comes before each `ended`. What is shared between tests is set up
and torn down as in one pytest process that runs the same tests in the same order. A test that
replaces functions, streams, the clock or the environment, closes files or forks does not reach
the socket: whatever is needed while tests run is kept in `_Kept`, out of reach of patching by
module attribute. What listens to reports (JUnit XML, the cache of failed tests, a conftest) hears
those of each test's deciding run once, in the collector, in the order of collection; hooks of the
session's end that are not pytest's own run there and not in forked workers. Workers launched anew
are sessions of their own, as under pytest-xdist: such hooks run in each of them too. Loaded with
`-p cohort_worker`; does nothing when COHORT_SOCKET is not set.

Needs Python 3.8 and pytest 6, and nothing else.
"""

import _socket
import atexit
import fcntl
import gc
import hashlib
import json
import os
import pathlib
import resource
import select
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
import traceback
import warnings
import weakref

import pytest
from _pytest.reports import TestReport

from cohort_common import (
    OPTIONS_UNSET,
    TEXT_CHARS_MAX,
    clean,
    cut,
    descriptors,
    has_children,
    is_scratch,
    judge,
    named,
    own_scratch,
    reason_of,
)

# Descriptors are moved up here, where a test that closes "all" of the usual ones rarely looks.
DESCRIPTOR_MIN = 960
EXIT_BROKEN = 70
# How `--dist` of pytest-xdist keeps tests together: mode -> the part of a test that they share.
TOGETHER = {
    "loadfile": lambda name, item: name.split("::", 1)[0],
    "loadscope": lambda name, item: name.rpartition("::")[0],
    "loadgroup": lambda name, item: _xdist_group(item),
}
# Plugins whose words at the end do not rest on tests that passed.
QUIET = ("_pytest.", "pytest_cov", "xdist", "_hypothesis_", "hypothesis")
# What hears of each test while it runs, and of the end.
REPORTING = {"pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish"}
ENDING = {"pytest_sessionfinish", "pytest_terminal_summary", "pytest_unconfigure"}


class _Kept:
    """Functions needed while tests run, as they were before any test code was loaded."""

    read, write, close, open, fork = os.read, os.write, os.close, os.open, os.fork
    getpid, getpgrp, kill, killpg, exit = os.getpid, os.getpgrp, os.kill, os.killpg, os._exit
    rusage, clock_ns, socket = resource.getrusage, time.perf_counter_ns, _socket.socket
    encode = json.JSONEncoder(separators=(",", ":")).encode
    encode_any = json.JSONEncoder(separators=(",", ":"), default=repr, skipkeys=True).encode
    decode = json.JSONDecoder().decode


class _WatchedEnviron(type(os.environ)):
    """`os.environ` while tests are collected: notices who asks which xdist worker this is.

    Such tests derive names of databases or ports from it, so each worker must load them anew.
    """

    asked = None

    def _notice(self, key):
        if isinstance(key, str) and key.startswith("PYTEST_XDIST_WORKER"):
            _WatchedEnviron.asked = _WatchedEnviron.asked or _suites_own(sys._getframe(2))

    def __getitem__(self, key):
        self._notice(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        self._notice(key)
        return super().__contains__(key)


def _suites_own(frame):
    """Where the suite's own code asks, as `file:line`; None when a library does."""
    library = os.path.dirname(os.__file__) + os.sep
    own = _suites_own.__code__.co_filename
    while frame:
        name = frame.f_code.co_filename
        if name == own:
            return None
        if "site-packages" in name or "dist-packages" in name:
            return None
        if not name.startswith(("<", library)):
            return "%s:%d" % (os.path.relpath(name), frame.f_lineno)
        frame = frame.f_back
    return None


class _WatchedTempdir:
    """Notices whether the suite's own code asks for the temporary directory while it is collected:
    what it makes of the answer would lead all forked workers to the same files."""

    def __init__(self):
        self.asked = None
        self.real = tempfile.gettempdir
        tempfile.gettempdir = self

    def __call__(self):
        self.asked = self.asked or _suites_own(sys._getframe(1))
        return self.real()

    def end(self):
        tempfile.gettempdir = self.real
        return self.asked


class Start:
    """What the hub said in the environment, which is removed at once: tests do not see it."""

    def __init__(self):
        take = os.environ.pop
        self.socket = take("COHORT_SOCKET", None)
        self.token = take("COHORT_TOKEN", "")
        worker = take("COHORT_WORKER", None)
        self.worker = None if worker is None else int(worker)
        self.seed = take("COHORT_SEED", "") or None
        self.basetemp = take("COHORT_BASETEMP", None)
        self.tmpdir = take("COHORT_TMPDIR", None)
        self.reports_all = take("COHORT_REPORTS", None) == "all"
        self.present = set(os.listdir(self.tmpdir)) if self.tmpdir else set()
        self.descriptors = descriptors()
        # Same in all processes of the campaign, other in each campaign.
        self.run = hashlib.sha256((self.socket or "").encode()).hexdigest()[:32]
        _path_remove(os.path.dirname(os.path.abspath(__file__)))
        if self.socket and self.worker is None:
            os.environ.__class__ = _WatchedEnviron
            self.watched_tempdir = _WatchedTempdir()
        elif self.socket:
            os.environ.update(self.xdist_environ(self.worker, self.worker + 1))

    def xdist_environ(self, worker, workers):
        """The environment by which suites written for pytest-xdist tell their processes apart."""
        return {
            "PYTEST_XDIST_WORKER": "gw%d" % worker,
            "PYTEST_XDIST_WORKER_COUNT": str(workers),
            "PYTEST_XDIST_TESTRUNUID": self.run,
        }


def _path_remove(here):
    """Takes the directory of this file out of PYTHONPATH and sys.path; the module stays loaded."""
    paths = os.environ.get("PYTHONPATH", "")
    if paths == here:
        del os.environ["PYTHONPATH"]
    elif paths.startswith(here + os.pathsep):
        os.environ["PYTHONPATH"] = paths[len(here + os.pathsep) :]
    sys.path[:] = [part for part in sys.path if part != here]


def _high(descriptor):
    """The same open file at a high number, closed on exec."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    floor = DESCRIPTOR_MIN if limit > DESCRIPTOR_MIN + 32 or limit < 0 else max(limit - 32, 3)
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, floor)
    _Kept.close(descriptor)
    return high


class Channel:
    """The socket to the hub. When it is gone, so is the reason to run: the process ends itself."""

    def __init__(self, path):
        kept = _Kept.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        kept.connect(path)
        self.descriptor = _high(kept.detach())
        self.owner = _Kept.getpid()
        self.rest = b""
        self.on_lost = _end_group

    def close(self):
        try:
            _Kept.close(self.descriptor)
        except OSError:
            pass
        self.descriptor = -1

    def is_mine(self):
        """False in a process that a test forked: it must not speak here."""
        return _Kept.getpid() == self.owner

    def send(self, kind, **fields):
        data = _Kept.encode({kind: fields}).encode("ascii") + b"\n"
        try:
            while data:
                data = data[_Kept.write(self.descriptor, data) :]
        except OSError:
            self.on_lost()

    def has_line(self):
        return b"\n" in self.rest

    def receive(self):
        """The next message as (kind, fields)."""
        while not self.has_line():
            try:
                data = _Kept.read(self.descriptor, 65536)
            except OSError:
                data = b""
            if not data:
                self.on_lost()
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        ((kind, fields),) = _Kept.decode(line.decode("utf-8")).items()
        return kind, fields


def _end_group():
    """Ends this process and, when it leads one, its process group."""
    if _Kept.getpgrp() == _Kept.getpid():
        _Kept.killpg(0, signal.SIGKILL)
    _Kept.exit(EXIT_BROKEN)


class Meter:
    """What one test uses: this process and the children it waited for."""

    def __init__(self):
        try:
            self.reset = _high(_Kept.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            self.reset = None

    def start(self):
        try:
            # 5: the peak of resident memory counts anew from now (proc(5), clear_refs).
            _Kept.write(self.reset, b"5")
        except (OSError, TypeError):
            self.reset = None
        self.own = _Kept.rusage(resource.RUSAGE_SELF)
        self.children = _Kept.rusage(resource.RUSAGE_CHILDREN)
        self.start_ns = _Kept.clock_ns()

    def stop(self, paused_ns):
        """The usage since `start`, without `paused_ns` in which the hub was waited for."""
        wall_ns = _Kept.clock_ns() - self.start_ns - paused_ns
        own = _Kept.rusage(resource.RUSAGE_SELF)
        children = _Kept.rusage(resource.RUSAGE_CHILDREN)

        def used(field):
            before = getattr(self.own, field) + getattr(self.children, field)
            return getattr(own, field) + getattr(children, field) - before

        # KiB; without a reset it is the peak of all tests so far. Children have a peak over all
        # of them only, which is this test's when it grew.
        peak = own.ru_maxrss
        if children.ru_maxrss > self.children.ru_maxrss:
            peak += children.ru_maxrss
        return {
            "wall_us": wall_ns // 1000,
            "user_us": int(used("ru_utime") * 1e6),
            "system_us": int(used("ru_stime") * 1e6),
            "memory_peak": peak * 1024,
            "waits": used("ru_nvcsw"),
            "preemptions": used("ru_nivcsw"),
            # Blocks of 512 bytes, from the same accounts as /proc/self/io.
            "io_read": used("ru_inblock") * 512,
            "io_written": used("ru_oublock") * 512,
        }


class Next:
    """Stands for the test after this one, which is asked for only when someone looks."""

    def __init__(self, worker, thread):
        self._cohort = worker, thread
        self._asked = False
        self._known = False
        self._item = None
        self._paused_ns = 0

    def _resolve(self):
        worker, thread = self._cohort
        if not self._known and worker.channel.is_mine():
            start_ns = _Kept.clock_ns()
            if not self._asked:
                self._asked = True
                worker.channel.send("yielded", thread=thread)
            kind, fields = worker.channel.receive()
            while kind != "next" or fields["thread"] != thread:
                kind, fields = worker.channel.receive()
            self._known = True
            self._item = worker.items.get(fields.get("id"))
            self._paused_ns = _Kept.clock_ns() - start_ns
        return self._item

    def listchain(self):
        item = self._resolve()
        return item.listchain() if item is not None else []

    def __bool__(self):
        return self._resolve() is not None

    def __getattr__(self, name):
        return getattr(self._resolve(), name)

    def __eq__(self, other):
        return self._resolve() == other

    def __hash__(self):
        return hash(self._resolve())

    @property
    def __class__(self):
        return type(self._resolve())


class Silent:
    """In place of pytest's terminal reporter: answers plugins that ask for it, reports nothing."""

    def __init__(self, reporter):
        self._reporter = reporter

    def __getattr__(self, name):
        return getattr(self._reporter, name)

    def __dir__(self):
        return []


def _silence(config):
    """What plugins write to the terminal goes nowhere, and what pytest reports is not written."""
    manager = config.pluginmanager
    reporter = manager.getplugin("terminalreporter")
    if reporter is not None and not isinstance(reporter, Silent):
        reporter._tw._file = open(os.devnull, "w")
        manager.unregister(reporter)
        manager.register(Silent(reporter), "terminalreporter")


def _speak(config):
    """What plugins write to the terminal from now on (stacks of pytest-timeout, live logs): stderr."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        silent = reporter._tw._file
        reporter._tw._file = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        silent.close()


def _hash(names):
    return hashlib.sha256("\0".join(sorted(names)).encode()).hexdigest()


# ---- why a process cannot be forked -------------------------------------------------------------


def _unforkable(start, config):
    """Why workers must be launched anew, or None when forking this process is safe.

    Whatever was opened while tests were collected would be shared by all forked workers.
    """
    if _WatchedEnviron.asked:
        return "%s asks for PYTEST_XDIST_WORKER while tests are collected" % _WatchedEnviron.asked
    others = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    if others:
        return "threads were started while collecting: " + ", ".join(others)
    made = sorted(set(os.listdir(start.tmpdir)) - start.present) if start.tmpdir else []
    if made:
        return "files were made in the temporary directory while collecting: " + ", ".join(made[:3])
    asked = start.watched_tempdir.end()
    if asked:
        return "%s asks for the temporary directory while tests are collected" % asked
    opened = _opened(start.descriptors, _reports_open(config))
    if opened:
        return "files or sockets were opened while collecting: " + ", ".join(opened[:3])
    if has_children():
        return "processes were started while collecting"
    if _has_native_threads():
        return "a native library runs threads that would not survive a fork"
    return None


def _reports_open(config):
    """Descriptors of plugins that write what they hear of tests: those of a forked worker hear nothing."""
    listeners = [one.plugin for one in config.hook.pytest_runtest_logreport.get_hookimpls()]
    found = set()
    for plugin in listeners:
        for value in list(getattr(plugin, "__dict__", {}).values()):
            try:
                found.add(value.fileno())
            except Exception:
                continue
    return found


def _opened(before, apart):
    """What is open now and was not at start, leaving out copies, devices, deleted files and `apart`."""
    known = set(before.values())
    opened = []
    for descriptor, (kind, device, inode) in descriptors().items():
        if (kind, device, inode) in known or kind in (stat.S_IFCHR, stat.S_IFDIR) or descriptor in apart:
            continue
        try:
            if not is_scratch(descriptor):
                opened.append(os.readlink("/proc/self/fd/%d" % descriptor))
        except OSError:
            continue
    return opened


def _has_native_threads():
    """Whether threads outlive a trial fork.

    A library that knows how to fork ends its threads before and starts them again on demand
    (OpenBLAS registers such a handler with pthread_atfork). One that does not keeps them.
    """
    if len(os.listdir("/proc/self/task")) == 1:
        return False
    child = _fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 0.2
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.001)
    return False


def _fork():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _Kept.fork()


# ---- collector -----------------------------------------------------------------------------------


class Collector:
    """Tells the hub what there is to run, forks a worker whenever it is told to, and ends the session."""

    def __init__(self, start, notes, options):
        self.start = start
        self.notes = notes
        self.options = options
        self.errors = []
        self.skipped = []
        self.reports_all = False
        self.children = {}

    def announce(self, session):
        """Sends `collected`; true when there is something to run."""
        os.environ.__class__ = _WatchedEnviron.__mro__[1]
        self.items = named(session.items)
        option = session.config.option
        stopped = bool(session.testsfailed) and not option.continue_on_collection_errors
        together = TOGETHER.get(self.options.get("dist"), lambda name, item: None)
        self.reports_all = _hears_all(session.config)
        why_not = _unforkable(self.start, session.config)
        seed = getattr(session.config.option, "randomly_seed", None)
        self.channel = Channel(self.start.socket)
        self.channel.on_lost = self.end
        self.channel.send("hello", role="collector", token=self.start.token, pid=os.getpid())
        self.channel.send(
            "collected",
            tests=[
                {"id": name, "group": name.split("::", 1)[0], "together": together(name, item)}
                for name, item in self.items.items()
            ],
            hash=_hash(self.items),
            errors=self.errors,
            stopped=stopped,
            skipped=self.skipped,
            forkable=why_not is None,
            why_not=why_not,
            notes=self.notes,
            maxfail=self.options.get("maxfail") or _stepwise_failures(option),
            reports_all=self.reports_all,
            live=option.capture == "no",
            seed=None if seed is None else str(seed),
        )
        return bool(self.items) and not stopped

    def serve(self, session):
        """Forks until told to end. Returns the order: in each forked child, as a worker, and in this
        process when the session is to be closed."""
        gc.collect()
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = signal.signal(signal.SIGCHLD, lambda *_: None)
        wakeup = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(wake_read, select.POLLIN)
        poll.register(self.channel.descriptor, select.POLLIN)
        while True:
            if not self.channel.has_line():
                ready = dict(poll.poll())
                self._drain(wake_read)
                self._reap()
                if self.channel.descriptor not in ready:
                    continue
            kind, order = self.channel.receive()
            if kind == "finish":
                self.end()
            if kind == "close":
                signal.set_wakeup_fd(wakeup)
                signal.signal(signal.SIGCHLD, before)
                return kind, order
            if kind != "fork":
                continue
            child = _fork()
            if child:
                self.children[child] = order["worker"]
                continue
            signal.set_wakeup_fd(wakeup)
            signal.signal(signal.SIGCHLD, before)
            os.close(wake_read)
            os.close(wake_write)
            self.channel.close()
            return kind, order

    @staticmethod
    def _drain(descriptor):
        try:
            while os.read(descriptor, 4096):
                pass
        except BlockingIOError:
            pass

    def _reap(self):
        for child in list(self.children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                worker = self.children.pop(child)
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
                number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
                self.channel.send("worker_exited", worker=worker, code=code, signal=number)

    def close(self, session, order):
        """Has pytest hear what its workers reported, so that its own end is as without them."""
        config = session.config
        reporter = config.pluginmanager.getplugin("terminalreporter")
        _redirect({1: order["output"], 2: order["output"]})
        if reporter is not None:
            shown, reporter._tw._file = reporter._tw._file, open(os.devnull, "w")
        try:
            self._replay(session, order)
        finally:
            if reporter is not None:
                reporter._tw._file.close()
                reporter._tw._file = shown
        if reporter is not None:
            # Cohort says what failed, and how many there were.
            reporter._show_progress_info = False
            reporter.summary_errors = reporter.summary_failures = lambda *_: None
            reporter.summary_stats = lambda *_: None
            reporter.reportchars = "".join(one for one in reporter.reportchars if one not in "fE")
        if order["stop"] is not None:
            pytest.exit(order["stop"])
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _replay(self, session, order):
        config = session.config
        here = os.path.dirname(self.start.socket)
        spools = [os.path.join(here, name) for name in os.listdir(here) if name.startswith("reports-")]
        places = {name: place for place, name in enumerate(self.items)}
        deciding = set(order["threads"])
        found = []
        for path in spools:
            with open(path, "rb") as spool:
                start = 0
                for line in spool:
                    if line.endswith(b"\n"):
                        head = json.loads(line)
                        if head["thread"] in deciding and head["id"] in places:
                            found.append((places[head["id"]], path, start))
                    start += len(line)
        known = {place for place, _, _ in found}
        for name, message in order["failed"]:
            place = places.get(name)
            if place is not None and place not in known:
                found.append((place, None, message))
        found.sort(key=lambda one: one[0])
        items = list(self.items.values())
        for place, path, rest in found:
            if session.shouldstop:  # where pytest would have stopped (`--sw`)
                break
            if path is None:
                _hear(config, items[place], [_lost_report(items[place], rest)], [])
                continue
            with open(path, "rb") as spool:
                spool.seek(rest)
                line = json.loads(spool.readline())
            _hear(config, items[place], line["reports"], line["warnings"])

    def end(self):
        """Ends every worker and this process, without pytest's closing words."""
        for child in self.children:
            for kill in (os.killpg, os.kill):
                try:
                    kill(child, signal.SIGKILL)
                except OSError:
                    pass
        os._exit(0)


def _xdist_group(item):
    """The name in a test's mark `xdist_group`, as pytest-xdist reads it."""
    mark = item.get_closest_marker("xdist_group")
    if mark is None:
        return None
    return str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))


def _stepwise_failures(option):
    """After how many failures `--sw` stops; 0 when it is not given."""
    if not getattr(option, "stepwise", False):
        return 0
    return 2 if getattr(option, "stepwise_skip", False) else 1


def _hears_all(config):
    """Whether anything wants to hear of tests that just passed."""
    option = config.option
    shown = set(getattr(option, "reportchars", "")) & set("pPA")
    if getattr(option, "durations", None) is not None or shown or getattr(option, "stepwise", False):
        return True
    # Who speaks at the end may look at what the terminal reporter counted.
    hooks = "pytest_runtest_logreport", "pytest_terminal_summary", "pytest_sessionfinish"
    listeners = [one.plugin for name in hooks for one in getattr(config.hook, name).get_hookimpls()]
    return not all(_is_quiet(config, one) for one in listeners)


def _is_quiet(config, plugin):
    """Whether this is a plugin that passed tests mean nothing to."""
    module = _module(plugin)
    if plugin is sys.modules[__name__] or config.pluginmanager.get_name(plugin) == "terminalreporter":
        return True
    return module.startswith(QUIET) and module != "_pytest.junitxml"


def _module(plugin):
    """The name of the module that a plugin is, or comes from."""
    return getattr(plugin, "__module__", None) or getattr(plugin, "__name__", "")


def _hear(config, item, reports, noted):
    """Tells all plugins that listen where the test stands of one that ran elsewhere."""
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for one in noted:
        message = warnings.WarningMessage(
            one["message"], _category(one["category"]), one["filename"], one["lineno"]
        )
        location = one["location"] and tuple(one["location"])
        config.hook.pytest_warning_recorded.call_historic(
            kwargs=dict(warning_message=message, when=one["when"], nodeid=one["nodeid"], location=location)
        )
    for report in reports:
        if isinstance(report, dict):
            # JSON has no tuples.
            for name in ("longrepr", "location"):
                if isinstance(report.get(name), list):
                    report[name] = tuple(report[name])
            for name in ("user_properties", "sections"):
                report[name] = [tuple(pair) for pair in report.get(name, ())]
            report = config.hook.pytest_report_from_serializable(config=config, data=report)
            if report is None:
                continue
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def _category(name):
    """A class of warnings by its name; one of that name when it cannot be found."""
    module, _, last = name.rpartition(".")
    found = getattr(sys.modules.get(module), last, None)
    return found if isinstance(found, type) else type(last, (Warning,), {})


def _lost_report(item, message):
    """The report of a test whose process could not report it."""
    return TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={name: 1 for name in item.keywords},
        outcome="failed",
        longrepr=message,
        when="call",
    )


def _settle(start, order):
    """Makes a forked child a process of its own: session, cgroups, environment, output, exit."""
    os.setsid()
    for path in order.get("procs_files", ()):
        with open(path, "w") as file:
            file.write("0")
    for name, value in order.get("env", {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.environ.update(start.xdist_environ(order["worker"], order.get("workers") or order["worker"] + 1))
    tempfile.tempdir = None
    own_scratch()
    outputs = {1: order.get("stdout"), 2: order.get("stderr")}
    _redirect({number: path for number, path in outputs.items() if path})
    _own_exit()


def _redirect(outputs):
    """Points standard output and error, and every copy of them (pytest keeps some), to files."""
    for number in sorted(outputs, reverse=True):
        target = os.open(outputs[number], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        now = descriptors()
        for descriptor, value in now.items():
            standard = descriptor in (0, 1, 2)
            is_copy = value == now[number] and value[0] != stat.S_IFCHR and not standard
            if is_copy or descriptor == number:
                os.dup2(target, descriptor, inheritable=standard)
        os.close(target)


def _own_exit():
    """What the collector registered for its exit is not for its children to do."""
    atexit._clear()
    # Registered first, so run last: skips taking modules apart, whose objects were the collector's.
    atexit.register(_exit_now)
    for finalizer in list(weakref.finalize._registry):
        finalizer.atexit = False
    atexit.register(weakref.finalize._exitfunc)
    if "multiprocessing.util" in sys.modules:
        atexit.register(sys.modules["multiprocessing.util"]._exit_function)


def _exit_now():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
    _Kept.exit(0)


# ---- worker --------------------------------------------------------------------------------------


class Worker:
    """Runs the tests it is told to, one at a time."""

    def __init__(self, start, number, token):
        self.number = number
        self.reports = None
        self.warnings = []
        self.spool = None
        self.spool_path = os.path.join(os.path.dirname(start.socket), "reports-%d" % number)
        self.reports_all = start.reports_all or _collector is not None and _collector.reports_all
        self.failed_last = set()
        self.items = {}
        # The test for which fixtures were kept.
        self.kept_for = None
        self.channel = Channel(start.socket)
        self.channel.send("hello", role="worker", worker=number, token=token, pid=os.getpid())
        self.meter = Meter()
        # A process that a test forks lets go of the socket, so that it ends when this one does.
        os.register_at_fork(after_in_child=self.channel.close)

    def announce(self, items):
        self.items = named(items)
        cache = items[0].config.pluginmanager.getplugin("lfplugin") if items else None
        self.failed_last = {str(one) for one in getattr(cache, "lastfailed", None) or ()}
        self.channel.send("ready", worker=self.number, count=len(self.items), hash=_hash(self.items))

    def serve(self, session):
        while True:
            kind, order = self.channel.receive()
            if kind == "finish":
                return
            if kind == "run" and not self._run(session, order["thread"], order["id"]):
                return

    def _run(self, session, thread, name):
        """Runs one test; false when the session cannot go on after it."""
        item = self.items.get(name)
        following = Next(self, thread)
        self.reports, stop, text = [], None, ""
        self.meter.start()
        if item is None:
            following._resolve()
            self._send_ended(thread, self.meter.stop(following._paused_ns), _missing(name))
            return True
        try:
            self._tear_down_stale(session, item)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            stop = ("%s: %s" % (type(error).__name__, error)).rstrip(": ")
        except BaseException as error:  # a plugin broke: pytest calls this an internal error
            stop = "INTERNALERROR: %s: %s" % (type(error).__name__, error)
            text = traceback.format_exc()
        if not self.channel.is_mine():
            _Kept.exit(1)
        if not following._known:
            following._resolve()
            text += self._tear_down(session, item, following)
        result = judge(item.config, self.reports)
        if stop or text:
            result["outcome"] = "failed" if result["outcome"] != "error" else "error"
            result["message"] = result["message"] or clean(stop or text.strip().rpartition("\n")[2])
            result["text"] = cut(result["text"] + text, TEXT_CHARS_MAX)[0]
        usage = self.meter.stop(following._paused_ns)
        if self.warnings or self._is_heard(item, result):
            self._spool(thread, name, item.config)
        result["last"] = stop is not None
        result["stop"] = clean(stop or str(session.shouldstop)) if stop or session.shouldstop else None
        _go_on(session)
        self.kept_for = following._item
        self._send_ended(thread, usage, result)
        return stop is None

    def _is_heard(self, item, result):
        return self.reports_all or result["outcome"] != "passed" or item.nodeid in self.failed_last

    def _spool(self, thread, name, config):
        """Keeps what was reported for the collector to hear, should this be the deciding run."""
        to_data = config.hook.pytest_report_to_serializable
        reports = [to_data(config=config, report=one) for one in self.reports]
        line = {"thread": thread, "id": name, "reports": reports, "warnings": self.warnings}
        self.warnings = []
        try:
            data = _Kept.encode_any(line)
        except (TypeError, ValueError):  # properties that no report could hold
            for report in reports:
                report["user_properties"] = []
            data = _Kept.encode_any(line)
        data = data.encode("ascii") + b"\n"
        try:
            if self.spool is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self.spool = _high(_Kept.open(self.spool_path, flags, 0o600))
            while data:
                data = data[_Kept.write(self.spool, data) :]
        except OSError:
            pass  # a full disk: the hub meets it too, and says so

    def _tear_down_stale(self, session, item):
        """Undoes what was kept for a test that was announced and then not run."""
        if self.kept_for is not None and self.kept_for is not item:
            self._tear_down(session, self.kept_for, None)

    @staticmethod
    def _tear_down(session, item, following):
        """Clean-up that no plugin did; the traceback when it fails."""
        state = session._setupstate
        try:
            if "item" in state.teardown_exact.__code__.co_varnames[:2]:  # pytest 6
                state.teardown_exact(item, following)
            else:
                state.teardown_exact(following)
        except BaseException:
            return traceback.format_exc()
        return ""

    def _send_ended(self, thread, usage, result):
        self.reports = None
        self.channel.send("ended", thread=thread, usage=usage, **result)


def _go_on(session):
    """Forgets that a test wanted the session to stop. (pytest 8 warns of who sets it back openly.)"""
    for name in ("shouldstop", "shouldfail"):
        hidden = "_" + name
        setattr(session, hidden if hasattr(session, hidden) else name, False)


def _missing(name):
    text = "test list changed: %s was collected at the start and is not in this worker's list" % name
    return {"outcome": "failed", "message": text, "text": text}


def _become_worker(config, number, basetemp):
    """What pytest-xdist's own workers have, by which plugins and suites know one from another."""
    _silence(config)
    _mark_worker(config, number)
    factory = getattr(config, "_tmp_path_factory", None)
    given = getattr(config.option, "basetemp", None)
    if given:
        basetemp = os.path.join(os.path.abspath(given), "popen-gw%d" % number)
    if factory is not None and basetemp:
        os.makedirs(os.path.dirname(basetemp), exist_ok=True)
        factory._basetemp = None
        factory._given_basetemp = pathlib.Path(basetemp)


def _mark_worker(config, number):
    if hasattr(config, "workerinput"):
        return
    config.workerinput = {
        "workerid": "gw%d" % number,
        "workercount": int(os.environ["PYTEST_XDIST_WORKER_COUNT"]),
        "testrunuid": _start.run,
        "mainargv": sys.argv,
        "randomly_seed": getattr(config.option, "randomly_seed", None),
        # Where pytest-cov of the collector looks for what its workers measured.
        "cov_master_host": socket.gethostname(),
        "cov_master_topdir": os.path.abspath(os.getcwd()),
        "cov_master_rsync_roots": [],
    }
    config.workeroutput = {}


def _deafen(config):
    """A forked worker's plugins were set up to hear all tests and to conclude the session. That is
    for the collector to do, once: here they hear nothing, and only pytest's own parts end."""
    manager = config.pluginmanager
    own = sys.modules[__name__]
    for plugin in list(manager.get_plugins()):
        if plugin is own:
            continue
        callers = manager.get_hookcallers(plugin) or []
        module = _module(plugin)
        if isinstance(plugin, pytest.Session) or module == "_pytest.logging":
            continue
        quiet = set(REPORTING)
        if any(caller.name in REPORTING for caller in callers) or not module.startswith("_pytest."):
            quiet |= ENDING
        for caller in callers:
            if caller.name in quiet:
                caller._remove_plugin(plugin)
    # What was to be undone when the collector ends.
    if hasattr(config, "_cleanup_stack"):
        config._cleanup_stack.pop_all()
    else:  # pytest 7 and before
        del config._cleanup[:]


def _measure_anew(session):
    """Coverage that pytest-cov began to measure in the collector is measured for this worker alone."""
    manager = session.config.pluginmanager
    plugin = manager.getplugin("_cov")
    controller = getattr(plugin, "cov_controller", None)
    if getattr(controller, "cov", None) is None:
        return None
    controller.cov.stop()
    if manager.hasplugin("_cov_contexts"):
        manager.unregister(name="_cov_contexts")
    return plugin


# ---- hooks ---------------------------------------------------------------------------------------

_start = Start()
_notes = []
_options = {}
_collector = _worker = None
if _start.socket:
    _collector = Collector(_start, _notes, _options)


def _unset(option):
    for name, (value, note) in OPTIONS_UNSET.items():
        given = getattr(option, name, value)
        if given != value and given:
            _options[name] = given
            if note and note not in _notes:
                _notes.append(note)
        if hasattr(option, name):
            setattr(option, name, value)
    if _start.worker is not None and hasattr(option, "stepwise"):
        # Which test to go on with is for the collector to know.
        option.stepwise = False
    if _start.seed is not None and hasattr(option, "randomly_seed"):
        option.randomly_seed = int(_start.seed)


@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(early_config):
    if _start.socket:
        _unset(early_config.known_args_namespace)
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_cmdline_main(config):
    if _start.socket:
        _unset(config.option)
        if "pytest_rerunfailures" in sys.modules:
            # Its account of crashed workers is a server thread, for pytest-xdist's sake only.
            sys.modules["pytest_rerunfailures"].HAS_PYTEST_HANDLECRASHITEM = False
    yield


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if _start.socket and _start.worker is not None:
        _mark_worker(config, _start.worker)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    if _start.socket and _start.worker is not None:
        _become_worker(session.config, _start.worker, _start.basetemp)
        _measure_anew(session)


def pytest_collectreport(report):
    if _collector is None or report.passed:
        return
    found = _collector.errors if report.failed else _collector.skipped
    text = report.longreprtext if report.failed else reason_of(report) or ""
    found.append({"id": clean(report.nodeid), "text": cut(text, TEXT_CHARS_MAX)[0]})


def pytest_runtest_logreport(report):
    if _worker is not None and _worker.reports is not None:
        _worker.reports.append(report)


def pytest_warning_recorded(warning_message, when, nodeid, location):
    if _worker is not None and _worker.reports is not None and _worker.channel.is_mine():
        category = warning_message.category
        _worker.warnings.append(
            {
                "message": str(warning_message.message),
                "category": "%s.%s" % (category.__module__, category.__qualname__),
                "filename": warning_message.filename,
                "lineno": warning_message.lineno,
                "when": when,
                "nodeid": nodeid,
                "location": location and list(location),
            }
        )


def pytest_internalerror(excrepr):
    # In the collector, pytest's own reporter says it.
    if _worker is not None or _start.worker is not None:
        _Kept.write(2, ("INTERNALERROR> %s\n" % excrepr).encode("utf-8", "backslashreplace"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    global _worker
    if not _start.socket or session.config.option.collectonly:
        return None
    if _start.worker is not None:
        _worker = Worker(_start, _start.worker, _start.token)
        _worker.announce(session.items)
    else:
        if not _collector.announce(session):
            # pytest goes on as it would: "Interrupted: 1 error during collection", or no tests.
            _collector.channel.close()
            return None
        _worker = _fork_worker(session)
        if _worker is None:
            return True
    _speak(session.config)
    session.testsfailed = 0
    _worker.serve(session)
    return True


def _fork_worker(session):
    """Serves as fork server. Gives the worker in each forked child, and None in this process when the
    session is over."""
    kind, order = _collector.serve(session)
    if kind == "close":
        _collector.close(session, order)
        return None
    try:
        _settle(_start, order)
        _become_worker(session.config, order["worker"], order.get("basetemp"))
        _deafen(session.config)
        measuring = _measure_anew(session)
        if measuring is not None:
            measuring.pytest_sessionstart(session)
        worker = Worker(_start, order["worker"], order.get("token") or _start.token)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(EXIT_BROKEN)
    worker.announce(session.items)
    return worker
