# Runs inside a server of Python, once it has come between two instructions: notes what is allocated from now on, and
# writes what of that is still there in the end, as folded stacks. Where it cannot, it says why.
def watch(out, seconds, asked_by):
    import gc, os, threading, time, tracemalloc

    def write(text):
        with open(out + "/grown.part", "w") as file:
            file.write(text)
        os.rename(out + "/grown.part", out + "/grown")

    if tracemalloc.is_tracing():
        return write("failed: tracemalloc is used by the server itself\n")
    began = time.monotonic()
    tracemalloc.start(12)

    def asked():
        return os.path.exists("/proc/%d" % asked_by)

    def run():
        try:
            while time.monotonic() - began < seconds and asked():
                time.sleep(0.1)
            if asked():
                gc.collect()
                told()
        except Exception as error:
            write("failed: %r\n" % error)
        finally:
            tracemalloc.stop()

    def told():
        span = time.monotonic() - began
        snapshot = tracemalloc.take_snapshot()
        tracemalloc.stop()
        mine = threading.__file__, tracemalloc.__file__
        lines = ["seconds %.3f" % span]
        for it in snapshot.statistics("traceback"):
            frames = ["(%s:%d)" % (frame.filename, frame.lineno) for frame in it.traceback]
            if it.traceback[-1].filename not in mine[1:] and not any("<cohort>" in frame for frame in frames):
                lines.append(";".join(frames) + " %d" % it.size)
        write("\n".join(lines) + "\n")

    threading.Thread(target=run, daemon=True, name="cohort-growth").start()
