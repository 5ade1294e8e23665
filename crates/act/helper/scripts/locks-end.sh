# Takes away the probe that locks.sh made. Argument: process.
mount -t tracefs none /sys/kernel/tracing && cd /sys/kernel/tracing || exit 1
if grep -q "cohort_$1/" uprobe_events; then
  echo "-:cohort_$1/released" >> uprobe_events
fi
