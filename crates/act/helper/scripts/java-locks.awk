# From thread dumps of a Java virtual machine, one file for each look, to what they tell, a JSON object a line.
function text(words) { gsub(/\\/, "\\\\", words); gsub(/"/, "\\\"", words); return words }
function ours(place) {
  return place !~ /^(java|javax|jdk|sun|com\.sun|kotlin|scala)\./ && place !~ /^(org\.(springframework|apache|eclipse|hibernate)|io\.netty)\./
}
function bare(place) { while (sub(/^[a-z.]*(@[0-9.]*)?\//, "", place)) {} return place }
function spell(place) { sub(/\(/, " (", place); return place }
function tell(sentence, place,   name, at) {
  name = place; sub(/ \(.*/, "", name); at = place; sub(/.*\(/, "", at); sub(/\)$/, "", at)
  printf "{\"sentence\": \"%s\", \"function\": \"%s\", \"place\": \"%s\"}\n", text(sentence), text(name), text(at)
}
FNR == 1 { looks++; circle = 0; thread = "" }
/^Found one Java-level deadlock/ { circle = 1; if (!told_circle) members = 0; next }
/^Java stack information for the threads listed above/ { circle = 2; next }
circle == 1 && /^"/ { name = $0; sub(/":.*/, "\"", name); if (!told_circle) member[++members] = name; next }
circle == 1 && /which is held by/ { holder = $0; sub(/.*which is held by /, "", holder); if (!told_circle) held_by[name] = holder; next }
circle == 2 && /^"/ { thread = $0; sub(/":.*/, "\"", thread); next }
circle == 2 && /^\tat / { place = $0; sub(/^\tat /, "", place); place = bare(place); if (!(thread in stands) && ours(place)) stands[thread] = spell(place); next }
circle == 2 && /^Found [0-9]+ deadlock/ { told_circle = 1; circle = 0; next }
circle { next }
/^"/ { thread = $0; sub(/^"/, "", thread); sub(/".*/, "", thread); thread = "\"" thread "\""; top = ""; waits = ""; next }
/^$/ { thread = ""; next }
thread == "" { next }
/^\tat / {
  place = $0; sub(/^\tat /, "", place); place = bare(place)
  if (top == "" && ours(place)) {
    top = spell(place)
    if (waits != "") at[waits "|" top]++
  }
  next
}
/- waiting to lock </ || /- parking to wait for +</ {
  lock = $0; sub(/.*</, "", lock); sub(/>.*/, "", lock); waits = looks ":" lock; waiting[waits]++
  if ($0 ~ /parking/) parks[waits] = 1
  if (top != "") at[waits "|" top]++
  next
}
/- locked </ {
  lock = $0; sub(/.*</, "", lock); sub(/>.*/, "", lock); owner[looks ":" lock] = thread; owned[looks ":" lock] = top
  next
}
END {
  if (told_circle && members > 0) {
    for (i = 1; i <= members; i++) holds[held_by[member[i]]] = 1
    sentence = ""; first = ""
    for (i = 1; i <= members; i++) {
      name = member[i]
      # Whoever waits and holds nothing is no part of the circle.
      if (!(name in holds)) continue
      if (first == "") first = name
      sentence = sentence (sentence != "" ? ", and " : "") name " waits at " (name in stands ? stands[name] : "a place that is not told") " for a lock that " held_by[name] " holds"
    }
    if (first != "") tell("A deadlock: " sentence ".", stands[first])
  }
  best = ""
  for (key in waiting) if (!(key in parks) && (best == "" || waiting[key] > waiting[best])) best = key
  if (best != "" && waiting[best] > 1) {
    where = ""
    for (key in at) if (index(key, best "|") == 1 && (where == "" || at[key] > at[where])) where = key
    where_place = where; sub(/^[^|]*\|/, "", where_place)
    sentence = waiting[best] " threads wait for one lock"
    if (where != "") sentence = sentence ", " at[where] " of them at " where_place
    if (best in owner) sentence = sentence "; " owner[best] " holds it" (owned[best] != "" ? " and stands at " owned[best] : "")
    tell(sentence ".", owned[best] != "" ? owned[best] : where_place)
  }
}
