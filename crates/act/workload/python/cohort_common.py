"""What a warm worker and a single try of a test share: which options are left out, and what the
reports of one test come to.

Needs Python 3.8 and pytest 6, and nothing else.
"""

import io
import os
import stat
import tempfile

from _pytest._io import TerminalWriter as _Terminal

# Most characters kept of a failure's text, and of each captured section.
TEXT_CHARS_MAX = 256 * 1024
SECTION_CHARS_MAX = 1024 * 1024
# Largest file without a name that each forked process gets a copy of.
SCRATCH_BYTES_MAX = 1024 * 1024

# What stands in the way of running tests one by one in many processes: option -> (value, note).
OPTIONS_UNSET = {
    "numprocesses": (None, "-n of pytest-xdist is left out: Cohort decides how many tests run at once"),
    "dist": ("no", None),
    "distload": (False, None),
    "tx": ([], None),
    "maxprocesses": (None, None),
    "looponfail": (False, None),
    "maxfail": (0, None),
    "usepdb": (False, "--pdb is left out: no terminal is attached"),
    "trace": (False, "--trace is left out: no terminal is attached"),
    "pastebin": (None, None),
}


def clean(text):
    """`text` as Unicode that every reader accepts (no lone surrogates)."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cut(text, chars_max):
    """`text` and how many characters were cut out of its middle."""
    dropped = len(text) - chars_max
    if dropped <= 0:
        return clean(text), 0
    half = chars_max // 2
    return clean(text[:half] + "\n... %d characters left out ...\n" % dropped + text[-half:]), dropped


def named(items):
    """Items by unique name: the node id, with a number behind it when it occurs again."""
    found = {}
    for item in items:
        base = name = clean(item.nodeid)
        count = 1
        while name in found:
            count += 1
            name = "%s #%d" % (base, count)
        found[name] = item
    return found


# An outcome earlier in this list outweighs those after it.
OUTCOMES = ("failed", "error", "xpassed", "xfailed", "passed", "skipped")


def judge(config, reports):
    """The one outcome of a test from its reports, its texts and its captured output.

    Of a test that a plugin ran again, the last attempt counts.
    """
    starts = [at for at, report in enumerate(reports) if report.when == "setup"]
    reports = reports[starts[-1] :] if starts else reports
    seen, message, texts = [], None, []
    for report in reports:
        status = config.hook.pytest_report_teststatus(report=report, config=config)
        category = status[0] if status else None
        if report.failed and category not in ("failed", "error"):
            category = "failed"
        elif category not in OUTCOMES and report.when == "call":
            category = report.outcome  # a plugin has its own word for it
        if category in OUTCOMES:
            seen.append(category)
        if report.failed:
            message = message or message_of(report)
            heading = "ERROR at %s of %s\n" % (report.when, report.nodeid) if report.when != "call" else ""
            texts.append(heading + longrepr(report))
        elif report.skipped and not message:
            message = reason_of(report)
    outcome = next((one for one in OUTCOMES if one in seen), "skipped")
    text, dropped = cut("\n".join(texts), TEXT_CHARS_MAX)
    sections = []
    shown = getattr(config.option, "showcapture", "all")
    for title, content in reports[-1].sections if reports else ():
        if shown != "all" and shown not in title:
            continue
        content, left_out = cut(content, SECTION_CHARS_MAX)
        sections.append([clean(title), content])
        dropped += left_out
    return {
        "outcome": outcome,
        "message": clean(message) if message and outcome != "passed" else None,
        "text": text,
        "sections": sections,
        "dropped": dropped,
        "duration": sum(report.duration for report in reports),
    }


def longrepr(report):
    """The traceback as pytest prints it, its first line's indentation included."""
    shown = io.StringIO()
    report.toterminal(_Terminal(shown))
    return shown.getvalue().lstrip("\n").rstrip()


def message_of(report):
    """The line pytest's short summary shows."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    return lines[0] if crash is not None else lines[-1]


def reason_of(report):
    if hasattr(report, "wasxfail"):
        reason = report.wasxfail
        return reason[len("reason: ") :] if reason.startswith("reason: ") else reason
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return None


# ---- what forked processes share -----------------------------------------------------------------


def is_scratch(descriptor):
    """Whether this is a small file without a name, such as pytest keeps captured output in."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink or status.st_size > SCRATCH_BYTES_MAX:
        return False
    return not os.readlink("/proc/self/fd/%d" % descriptor).startswith("/memfd:")


def has_children():
    try:
        with open("/proc/self/task/%d/children" % os.getpid()) as file:
            return bool(file.read().strip())
    except OSError:
        return False


def own_scratch():
    """Gives this process its own copy of each file without a name.

    Forked processes share position and content of what was open before. All objects that write to
    such a file (logging handlers made while output was captured) stay valid.
    """
    copies = {}
    for descriptor, value in descriptors().items():
        try:
            if not is_scratch(descriptor):
                continue
        except OSError:  # the listing itself was open when it was made
            continue
        if value not in copies:
            copies[value] = tempfile.TemporaryFile(buffering=0)
            copies[value].write(os.pread(descriptor, SCRATCH_BYTES_MAX, 0))
            copies[value].seek(os.lseek(descriptor, 0, os.SEEK_CUR))
        os.dup2(copies[value].fileno(), descriptor, inheritable=os.get_inheritable(descriptor))
    for copy in copies.values():
        copy.close()


def descriptors():
    """Open descriptors -> (kind, device, inode) of what they lead to."""
    found = {}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            status = os.fstat(int(name))
        except OSError:
            continue
        found[int(name)] = (stat.S_IFMT(status.st_mode), status.st_dev, status.st_ino)
    return found
