# Prints the system calls of a process, of its threads and of all that it started. Arguments: process, port of the server,
# directory, seconds. What is read and written is not shown: there are secrets in it.
pid=$1 port=$2 out=$3 seconds=$4
processes=$pid
below() {
  for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do processes="$processes $child"; below "$child"; done
}
below "$pid"
began=$(date +%s.%N)
timeout -s INT "$seconds" strace -f -qq -yy -ttt -T -s 0 -o "$out/calls" -p "$processes" >&2
ended=$?
# 124: its time was over.
if [ "$ended" != 124 ] && [ ! -s "$out/calls" ]; then
  rm -f "$out/calls"
  echo "the server ended" >&2
  exit 1
fi
ended=$(date +%s.%N)
awk -v began="$began" -v ended="$ended" -v port="$port" 'BEGIN { printf "seconds %.3f port %s\n", ended - began, port }'
head -c 16000000 "$out/calls"
rm -f "$out/calls"
