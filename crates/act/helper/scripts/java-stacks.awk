# From what `jfr print --events jdk.ExecutionSample` writes to folded stacks. Of what is the platform's, or of a library that
# many programs have, no place is told: only own code has one.
function frame(text,   name, class, file, line) {
  line = text; if (!sub(/.*\) line: /, "", line)) line = ""
  name = text; sub(/\(.*/, "", name); sub(/^[ \t]+/, "", name)
  if (name ~ /^(java|javax|jdk|sun|com\.sun|kotlin|scala|groovy|akka|reactor)\./ ||
      name ~ /^(org\.(springframework|apache|eclipse|hibernate|jboss|slf4j|postgresql)|io\.(netty|undertow|vertx|micrometer))\./ ||
      name ~ /^(com\.(fasterxml|google|zaxxer|mysql)|ch\.qos)\./ || line == "") return name
  class = name; sub(/\.[^.]*$/, "", class); sub(/.*\./, "", class); sub(/\$.*/, "", class)
  return name " (" class ".java:" line ")"
}
/stackTrace = \[/ { depth = 0; inside = 1; next }
inside && /^ *\]/ {
  inside = 0; stack = ""
  for (at = depth; at > 0; at--) stack = stack (stack == "" ? "" : ";") frames[at]
  if (stack != "" && stack !~ /jdk\.jfr\.internal/) count[stack]++
  next
}
inside && !/^ *\.\.\.$/ { frames[++depth] = frame($0) }
END { for (stack in count) print stack " " count[stack] }
