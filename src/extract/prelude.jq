# Definitions that replace those of jaq or extend its library.

# Loops that check the limits in each round. `repeat` is that of jq, whose first output is its input.
def repeat(f): def rec: ., (f | __round | rec); rec;
def recurse(f): def rec: ., (f | __round | rec); rec;
def while(cond; update): def rec: if cond then ., (update | __round | rec) else empty end; rec;
def until(cond; update): def rec: if cond then . else update | __round | rec end; rec;

# A path of n steps creates a value of n levels, so its length is limited.
def getpath($path):
  if ($path | length) > 1000 then error("a path of more than 1000 steps")
  else reduce $path[] as $p (.; __object | .[$p]) end;

# The functions of jaq write an invalid time into their error regardless of its size.
def __time: if isarray | not then . elif .[:6] | length == 6 and all(isnumber) then .[:6]
  else error("cannot convert this array to time") end;
def mktime: __time | __mktime;
def strftime($format): __time | __strftime($format);

# Additions to the library of jaq. As in jq, `from_entries` also accepts `k`, `v`, `name` and similar keys.
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
