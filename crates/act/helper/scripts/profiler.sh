# Prints where a process runs. Arguments: process, directory, seconds.
pid=$1 out=$2 seconds=$3
# Software events are there in virtual machines too. Without those of BPF, and without looking up what each program was built from, it
# ends a second sooner, and leaves no copies of programs in ~/.debug.
record() {
  perf record -q --no-bpf-event -BN -F 99 --call-graph dwarf,8192 -o "$out/perf.data" "$@" -- sleep "$seconds" 2>"$out/warnings"
}
while read -r key value; do
  case $key in Cpus_allowed_list:) cpus=$value ;; esac
done < "/proc/$pid/status"
# By CPU, and what else runs there is left out below. A clock of the process's own would be set and stopped whenever one of its
# threads goes on or waits, which costs it more than all samples do.
cpus_max=16
by_cpu=
if [ "$(getconf _NPROCESSORS_ONLN)" -le $cpus_max ] && record -C "$cpus" -e cpu-clock:I; then by_cpu=1; fi
if [ ! -d "/proc/$pid" ]; then echo "the server ended" >&2; exit 1; fi
# Who may not see what others do may still see its own.
if [ -z "$by_cpu" ] && ! record -p "$pid" -e cpu-clock; then cat "$out/warnings" >&2; exit 1; fi
# Of all files only the process's own are there to be read: tables of symbols of whatever else ran take seconds.
files=$out/files
set --
if [ "$(readlink /proc/self/ns/mnt)" = "$(readlink "/proc/$pid/ns/mnt")" ]; then
  awk '{ at = index($0, "/"); if (at) print substr($0, at) }' "/proc/$pid/maps" | sort -u | while IFS= read -r file; do
    mkdir -p "$files${file%/*}" && ln -s "$file" "$files$file"
  done
  if [ -d "$files" ]; then set -- --symfs "$files"; fi
fi
perf script -i "$out/perf.data" "$@" --pid "$pid" --no-inline -F comm,tid,time,ip,sym,dso 2>"$out/warnings" || { cat "$out/warnings" >&2; exit 1; }
rm -rf "$out/perf.data" "$out/warnings" "$files"
