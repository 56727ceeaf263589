# Prints a Markdown table of the results: medians over the rounds, ratios to nginx of the same round with their spread;
# below it, for the rows that measure one part of Sluice, the ratio to Sluice without it.
# Input, tab-separated: row round subject requests rate cpu p50 p99 wrong
BEGIN {
  FS = "\t"
  split("floor nginx nginx_lua haproxy envoy traefik caddy unguarded sluice", order, " ")
  split("plain many large routes changing h2 websocket limited breaker", rows, " ")
  title["plain"] = "64 connections, 1 KB"; title["many"] = "1000 connections, 1 KB"; title["large"] = "64 connections, 100 KB"
  title["routes"] = "64 connections, 10,000 routes"; title["changing"] = "64 connections, 10 changes a second"
  title["h2"] = "HTTP/2, 8 connections, 32 streams each, 1 KB"; title["websocket"] = "WebSocket, 64 sockets, echo of 64 bytes"
  title["limited"] = "64 connections, a limit in Redis"; title["breaker"] = "64 connections, a breaker"
  name["nginx_lua"] = "nginx with Lua, a call to Redis a request"; name["unguarded"] = "Sluice without it"
  name["floor"] = "floor: HAProxy relaying TCP"; name["nginx"] = "nginx"; name["haproxy"] = "HAProxy"; name["envoy"] = "Envoy"
  name["traefik"] = "Traefik"; name["caddy"] = "Caddy"; name["sluice"] = "**Sluice**"
}
{
  seen[$1, $3] = 1
  last = $2 > last ? $2 : last
  rate[$1, $3, $2] = $5; cpu[$1, $3, $2] = $6; p50[$1, $3, $2] = $7; p99[$1, $3, $2] = $8
  wrong[$1, $3] += $9
}
END {
  print "| row | gateway | requests/s | CPU a request, µs | CPU to nginx's | p50, ms | p99, ms | p99 to nginx's | errors |"
  print "|---|---|---:|---:|---:|---:|---:|---:|---:|"
  for (r = 1; r in rows; r++) for (o = 1; o in order; o++) {
    row = rows[r]; subject = order[o]
    if (!((row, subject) in seen)) continue
    printf "| %s | %s | %.0f | %.1f | %s | %.2f | %.2f | %s | %d |\n", title[row], name[subject], median(rate), median(cpu), ratio(cpu, "nginx"), median(p50), median(p99), ratio(p99, "nginx"), wrong[row, subject]
  }
  for (r = 1; r in rows; r++) {
    row = rows[r]; subject = "sluice"
    if (!((row, subject) in seen) || !((row, "unguarded") in seen)) continue
    if (!said++) print ""
    printf "%s: CPU a request to that of Sluice without it %s, p99 %s.\n", title[row], ratio(cpu, "unguarded"), ratio(p99, "unguarded")
  }
}
function sorted(list, count,   i, j, t) {
  for (i = 2; i <= count; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
}
function middle(list, count) {
  return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
}
function median(of,   i, count, list) {
  for (i = 1; i <= last; i++) if ((row, subject, i) in of) list[++count] = of[row, subject, i] + 0
  sorted(list, count)
  return middle(list, count)
}
function ratio(of, base,   i, count, list) {
  for (i = 1; i <= last; i++)
    if ((row, subject, i) in of && (row, base, i) in of && of[row, base, i] > 0) list[++count] = of[row, subject, i] / of[row, base, i]
  if (!count) return "–"
  sorted(list, count)
  return sprintf("%.2f (%.2f–%.2f)", middle(list, count), list[1], list[count])
}
