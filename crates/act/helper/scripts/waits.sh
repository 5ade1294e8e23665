# Prints where threads stop and when they go on. Arguments: process, directory, seconds. Inside a mount namespace of its own.
pid=$1 out=$2 seconds=$3
mount -t tracefs none /sys/kernel/tracing || exit 1
counts() {
  awk '/^voluntary_ctxt_switches/ { split(FILENAME, part, "/"); print part[5], $2 }' "/proc/$pid/task/"*/status 2>/dev/null
}
before=$(counts)
sleep 1
# Those that wait least often, as many as wait a thousand times a second together. Threads that wait more often hand work to each
# other; each wait is short, and to record them all would cost the server much.
threads=$({ echo "$before"; counts; } |
  awk '$1 in had { print $2 - had[$1], $1 } { had[$1] = $2 }' | sort -n |
  awk '{ sum += $1 } NR > 1 && sum > 1000 { exit } { printf "%s%s", comma, $2; comma = "," }')
if [ -z "$threads" ]; then echo "the server ended" >&2; exit 1; fi
perf record -q --no-bpf-event -BN -m 2M --switch-events -e sched:sched_switch --filter 'prev_state & 0xff' --call-graph dwarf,8192 \
  -t "$threads" -o "$out/perf.data" -- sleep "$seconds" >&2 || exit 1
nice -n 10 perf script -i "$out/perf.data" --no-inline --show-switch-events -F comm,tid,time,event,trace,ip,sym,dso 2>"$out/warnings" |
  head -c 16000000
rm -f "$out/perf.data" "$out/warnings"
