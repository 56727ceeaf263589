# The measurements one by one, as a JSON array.
BEGIN { FS = "\t"; printf "[" }
{
  printf "%s\n  {\"row\":\"%s\",\"round\":%d,\"gateway\":\"%s\",\"requests\":%d,\"per_second\":%s,\"cpu_us\":%s,\"p50_ms\":%s,\"p99_ms\":%s,\"errors\":%d}", (NR > 1 ? "," : ""), $1, $2, $3, $4, $5, $6, $7, $8, $9
}
END { print "\n]" }
