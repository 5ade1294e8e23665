# Records who lets go of which lock: system calls of locks between threads, and a probe where a lock of tokio's is let go of.
# Arguments: process, directory, seconds. Inside a mount namespace of its own.
pid=$1 out=$2 seconds=$3
mount -t tracefs none /sys/kernel/tracing && cd /sys/kernel/tracing || exit 1
program=/proc/$pid/exe
name=Semaphore18add_permits_locked
at=$(readelf -sW "$program" 2>/dev/null | awk -v name="$name" 'index($8, name) && $4 == "FUNC" { print $2; exit }')
probe=
if [ -n "$at" ]; then
  # From the address in memory to that in the file.
  for part in $(readelf -lW "$program" | awk '$1 == "LOAD" { print $2 "," $3 "," $5 }'); do
    IFS=, read -r offset begin size <<PART
$part
PART
    if [ $((0x$at >= begin && 0x$at < begin + size)) = 1 ]; then
      printf 'p:cohort_%s/released %s:0x%x lock=%%di\n' "$pid" "$(readlink "$program")" $((0x$at - begin + offset)) >> uprobe_events &&
        probe="-e cohort_$pid:released"
    fi
  done
fi
perf record -q --no-bpf-event -BN -m 2M -e syscalls:sys_enter_futex $probe --call-graph dwarf,8192 -p "$pid" -o "$out/perf.data" -- sleep "$seconds" || exit 1
perf script -i "$out/perf.data" --no-inline -F comm,tid,time,event,trace,ip,sym,dso 2>"$out/warnings" | head -c 16000000
rm -f "$out/perf.data" "$out/warnings"
