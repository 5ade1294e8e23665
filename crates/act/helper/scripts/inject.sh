# Has a server of Python run a file between two of its instructions, and prints what it wrote.
# Arguments: process, directory, seconds; the program is in COHORT_SCRIPT, and what it is to watch in COHORT_WATCH.
pid=$1 out=$2 seconds=$3
printf '%s\nwatch("%s", %s, %s, "%s")\n' "$COHORT_SCRIPT" "$out" "$seconds" $$ "${COHORT_WATCH:-memory}" > "$out/probe.py"
run="exec(compile(open('$out/probe.py').read(), '<cohort>', 'exec'), dict())"
# Nothing is called but what is safe wherever it was stopped: memory of the kernel's, and a note for the interpreter.
gdb -nx -q -batch -iex 'set auto-load off' -ex 'set width 0' -ex "attach $pid" \
  -ex 'set $room = ((char *(*)(long, long, long, long, long, long)) mmap)(0, 4096, 3, 0x22, -1, 0)' \
  -ex "set {char[$((${#run} + 1))]} \$room = \"$run\"" \
  -ex 'print ((int (*)(void *, void *)) Py_AddPendingCall)((void *) PyRun_SimpleString, $room)' \
  -ex detach > "$out/gdb.txt" 2>&1
if ! grep -q '^\$1 = 0' "$out/gdb.txt"; then
  tail -n 3 "$out/gdb.txt" >&2
  exit 1
fi
left=$(( (seconds + 5) * 10 ))
while [ ! -e "$out/grown" ]; do
  if [ ! -d "/proc/$pid" ]; then echo "the server ended" >&2; exit 1; fi
  if [ $left -le 0 ]; then echo "its main thread runs no Python" >&2; exit 1; fi
  left=$((left - 1))
  sleep 0.1
done
if grep '^failed: ' "$out/grown" >&2; then exit 1; fi
rm -f "$out/probe.py" "$out/gdb.txt"
cat "$out/grown" && rm -f "$out/grown"
