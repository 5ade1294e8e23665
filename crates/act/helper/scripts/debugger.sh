# Stacks of all threads, three times over, and who owns the lock that each waits for. Argument: process.
pid=$1
look="thread apply all -ascending -s -- bt 64"
gdb -nx -q -batch -iex 'set auto-load off' -iex 'set print thread-events off' -ex 'set width 0' -ex 'set print elements 64' \
  -ex "attach $pid" -ex "$look" -ex detach -ex 'shell sleep 0.5' \
  -ex "attach $pid" -ex "$look" -ex detach -ex 'shell sleep 0.5' \
  -ex "attach $pid" -ex "$look" -ex detach || exit
for task in "/proc/$pid/task/"*; do
  read -r call lock rest < "$task/syscall" || continue
  case $(uname -m):$call in
    x86_64:202 | aarch64:98) ;;
    *) continue ;;
  esac
  # A pthread mutex is a word for the lock, a count, and the thread that owns it.
  owner=$(dd if="/proc/$pid/mem" bs=1 skip=$((lock + 8)) count=4 2>/dev/null | od -An -td4)
  echo "Lock: ${task##*/} $lock ${owner:-0}"
done 2>/dev/null
exit 0
