# Prints the system calls of a process, of its threads and children. Arguments: process, port of the server, directory, seconds.
pid=$1 port=$2 out=$3 seconds=$4
processes=$pid
for child in $(cat "/proc/$pid/task/"*/children 2>/dev/null); do processes="$processes $child"; done
timeout -s INT "$seconds" strace -f -qq -yy -T -s 256 -o "$out/calls" -p "$processes" >&2
ended=$?
# 124: its time was over.
if [ "$ended" != 124 ] && [ "$ended" != 0 ] && [ ! -s "$out/calls" ]; then exit "$ended"; fi
echo "seconds $seconds port $port"
head -c 16000000 "$out/calls"
rm -f "$out/calls"
