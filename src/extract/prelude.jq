# What the library of filters has in place of jaq's own, or beyond it.

# `repeat` of jq begins with its input.
def repeat(f): def rec: ., (f | rec); rec;

# A path as long as a text would make a value as deep.
def getpath($path):
  if ($path | length) > 1000 then error("a path of more than 1000 steps")
  else reduce $path[] as $p (.; .[$p]) end;

# jq treats null as an empty text.
def join($s):
  if length == 0 then ""
  else reduce .[1:][] as $x (.[0] | if . == null then "" else tostring end;
    . + $s + ($x | if . == null then "" else tostring end)) end;

# From here on beyond jaq's. jq's `from_entries` also takes `k`, `v`, `name` and the like.
def from_entries:
  reduce .[] as $x ({}; . + {
    ($x | if type == "object" then if has("key") then .key elif has("k") then .k elif has("name") then .name
      elif has("Key") then .Key elif has("K") then .K else .Name end else .[0] end
      | if type == "string" then . elif type == "null" then "null" else tojson end):
    ($x | if type == "object" then if has("value") then .value elif has("v") then .v
      elif has("Value") then .Value else .V end else .[1] end)
  });

def toarray: if type == "array" then . else [.] end;
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] |= $row);
def INDEX(f): INDEX(.[]; f);
def leaf_paths: paths(scalars);
def date: todate;

# Rows of text.
def __row($kind; text): if type == "array" then . else error("\(type) cannot be a \($kind) row") end
  | map(if type == "string" then text elif type == "null" then ""
      elif type == "number" or type == "boolean" then tostring
      else error("\(type) is not valid in a \($kind) row") end);
def @csv: __row("csv"; "\"" + gsub("\""; "\"\"") + "\"") | join(",");
def @tsv: __row("tsv"; gsub("\\\\"; "\\\\") | gsub("\t"; "\\t") | gsub("\n"; "\\n") | gsub("\r"; "\\r")) | join("\t");

# Streams of events.
def tostream: path(def r: (.[]?|r), .; r) as $p | getpath($p)
  | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def truncate_stream(stream): . as $n | null | stream
  | . as $input | if (.[0] | length) > $n then setpath([0]; .[0][$n:]) else empty end;
def fromstream(events): {x: null, e: false} as $init
  | foreach events as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
        else setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
