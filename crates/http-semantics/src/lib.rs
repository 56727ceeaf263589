//! RFC 9110 rules on messages: path, host, hop-by-hop fields, forwarding fields, problem details. No I/O.
