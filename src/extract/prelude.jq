# What the library of filters has in place of jaq's own, or beyond it.

# Loops, each round under watch. `repeat` is jq's, which begins with its input.
def repeat(f): def rec: ., (f | __round | rec); rec;
def recurse(f): def rec: ., (f | __round | rec); rec;
def while(cond; update): def rec: if cond then ., (update | __round | rec) else empty end; rec;
def until(cond; update): def rec: if cond then . else update | __round | rec end; rec;

# A path as long as a text would make a value as deep.
def getpath($path):
  if ($path | length) > 1000 then error("a path of more than 1000 steps")
  else reduce $path[] as $p (.; __object | .[$p]) end;

# jaq's own write all of what is no time into their error, however long that takes.
def __time: if isarray | not then . elif .[:6] | length == 6 and all(isnumber) then .[:6]
  else error("cannot convert this array to time") end;
def mktime: __time | __mktime;
def strftime($format): __time | __strftime($format);

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
