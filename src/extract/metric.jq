# What the program of a source's metrics has before the filters of the operator. A series is an array of texts: its value
# and the values of its labels. A text in place of that array tells why the series is left out.

def __metric_message: if type == "string" then . else tojson end | .[:200];

def __metric_type: if . == null then "null" else "an \(type)" end;

def __metric_one($what; f): (try [limit(2; f)] catch error("\($what): \(__metric_message)"))
  | if length == 1 then .[0] else error("\($what): \(if length == 0 then "no result" else "several results" end)") end;

def __metric_scalar($what): if type == "string" then .
  elif type == "number" and (isnan or isinfinite) then error("\($what): a number that is not finite")
  elif type == "number" or type == "boolean" then tojson
  else error("\($what): \(__metric_type)") end;

def __metric_value(f): __metric_one("value"; f)
  | if type == "boolean" then (if . then "1" else "0" end) else __metric_scalar("value") | .[:400] end;

def __metric_label($what; f): __metric_one($what; f) | __metric_scalar($what)
  | if utf8bytelength > __metric_max_bytes then error("\($what): a text of more than \(__metric_max_bytes) bytes") else . end;

def __metric(each; row): [limit(__metric_max_series; (try (each | [.]) catch {message: "each: \(__metric_message)"})
  | if type == "array" then .[0] | (try row catch __metric_message) else .message end)];

