# What the library of filters has in place of jaq's own, or beyond it. Results are those of jq 1.7.

# `repeat` of jq begins with its input.
def repeat(f): def rec: ., (f | rec); rec;

# A path as long as a text would make a value as deep.
def getpath($path):
  if ($path | length) > 1000 then error("a path of more than 1000 steps")
  else reduce $path[] as $p (.; .[$p]) end;

# Operators: the right side varies slowest, as in jq.
def __mul(l; r): r as $r | l as $l | $l | __multiply($r);
def __div(l; r): r as $r | l as $l | $l | __divide($r);
def __rem(l; r): r as $r | l as $l | $l | __remainder($r);

# Updates along the paths of the input, `null` on the way becomes what the path needs.
def __assign(p; $value): [path(p)] as $paths | __set_paths($paths; $value);
def __update(p; f): [path(p)] as $paths | __update_paths($paths; f);
def setpath($path; $value): __set_paths([$path]; $value);
def del(f): [path(f)] as $paths | delpaths($paths);
def map_values(f): .[] |= f;
def walk(f): def w: if isobject then map_values(w) elif isarray then map(w) else . end | f; w;
def pick(f): . as $top | reduce path(f) as $p (null; setpath($p; $top | getpath($p)));
def paths: path(..) | select(length > 0);
def paths(f): path(.. | select(f)) | select(length > 0);
def to_entries: [keys_unsorted[] as $k | {key: $k, value: .[$k]}];
def with_entries(f): to_entries | map(f) | from_entries;
def flatten($depth): if $depth < 0 then error("flatten depth must not be negative")
  else [def items($depth): .[] | if isarray and $depth > 0 then items($depth - 1) else . end; items($depth)] end;
def flatten: flatten(1000000000);

# jq treats null as an empty text.
def join($s):
  if length == 0 then ""
  else [.[] | if . == null then "" elif . >= [] then error("string and \(type) cannot be added")
      else tostring end, $s] | .[:-1] | add end;

# jq's `from_entries` takes keys of many names.
def from_entries:
  reduce .[] as $x ({}; . + {
    ($x | if type == "object" then if has("key") then .key elif has("k") then .k elif has("name") then .name
      elif has("Key") then .Key elif has("K") then .K else .Name end else .[0] end
      | if type == "string" then . elif type == "null" then "null" else tojson end):
    ($x | if type == "object" then if has("value") then .value elif has("v") then .v
      elif has("Value") then .Value else .V end else .[1] end)
  });

def toarray: if isarray then . else [.] end;
def have_literal_numbers: true;
def have_decnum: true;
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] |= $row);
def INDEX(f): INDEX(.[]; f);
def JOIN($idx; key): [.[] | [., $idx[key]]];
def JOIN($idx; stream; key): stream | [., $idx[key]];
def JOIN($idx; stream; key; f): stream | [., $idx[key]] | f;
def leaf_paths: paths(scalars);
def nth($n; f): if $n < 0 then error("out of bounds negative array index") else first(skip($n; f)) end;
def combinations: if length == 0 then [] else .[0][] as $x | (.[1:] | combinations) as $w | [$x] + $w end;
def combinations($n): . as $dot | [range($n)] | map($dot) | combinations;
def ascii: [.] | implode;
def reverse: [.[length - 1 - range(0; length)]];
def indices($i): if . == null then null else __indices($i) end;
def index($i): indices($i) | .[0];
def rindex($i): indices($i) | .[-1];

# Numbers.
def gamma: lgamma;
def lgamma_r: [lgamma, if . > 0 or floor % 2 == 0 then 1 else -1 end];
def nearbyint: rint;
def isnormal: isnumber and (isinfinite or isnan | not) and fabs >= 2.2250738585072014e-308;
def normals: select(isnormal);

def splits($re): splits($re; null);

# Texts that are no strings pass through.
def ltrimstr($x): if isstring and ($x | isstring) and startswith($x) then .[($x | length):] else . end;
def rtrimstr($x): if isstring and ($x | isstring) and endswith($x) then .[:length - ($x | length)] else . end;
def trimstr($x): ltrimstr($x) | rtrimstr($x);

# Regular expressions.
def __groups: [.captures[] | select(.name != null) | {(.name): .string}] | add // {};
def match($re; $flags): __matches($re; $flags) | .[];
def match($val): if $val | type == "array" then match($val[0]; $val[1]) else match($val; null) end;
def test($re; $flags): __is_match($re; $flags);
def test($val): if $val | type == "array" then test($val[0]; $val[1]) else test($val; null) end;
def capture($re; $flags): match($re; $flags) | __groups;
def capture($val): match($val) | __groups;
def scan($re; $flags): match($re; "g" + $flags) | if .captures | length > 0 then [.captures[].string] else .string end;
def scan($re): scan($re; null);
def split($re; $flags): [__edits($re; $flags + "g") | .[0][][0], .[1]];
def splits($re; $flags): split($re; $flags) | .[];
def sub($re; f; $flags): . as $in | __edits($re; $flags) as [$edits, $tail]
  | [$edits[] | .[0] as $gap | .[1] | [f] | map($gap + .)] as $columns
  | ([$columns[] | length] | max // 0) as $n
  | if $n == 0 then $in else range($n) as $i | [$columns[] | select(length > $i) | .[$i]] | add + $tail end;
def sub($re; f): sub($re; f; "");
def gsub($re; f; $flags): sub($re; f; $flags + "g");
def gsub($re; f): sub($re; f; "g");

# Dates: seconds are whole.
def mktime: __mktime | floor;
# The name of a zone is passed over, as by the C library.
def strptime($format): if type == "string" and ($format | type == "string" and endswith("%Z"))
  then sub("\\s*[A-Za-z]+\\s*$"; "") | __strptime($format[:-2] | rtrim) else __strptime($format) end;
def todateiso8601: strftime("%Y-%m-%dT%H:%M:%SZ");
def todate: todateiso8601;
def date: todate;
def dateadd(u; n): . + n;
def datesub(u; n): . - n;

# Formats.
def @text: tostring;
def @json: tojson;
def __replace($old; $new): split($old) | join($new);
def @sh: [if type == "array" then .[] else . end
    | if type == "string" then "'" + __replace("'"; "'\\''") + "'"
      elif type == "array" or type == "object" then error("\(type) can not be escaped for shell")
      else tostring end] | join(" ");
def @base64d: tostring | until(endswith("=") | not; .[:-1])
  | . + "=" * ((4 - length % 4) % 4) | decode_base64 | __lossy;
def @base32: tostring | __base32;
def @base32d: tostring | __base32d;
def __row($kind; text): if type == "array" then . else error("\(type) cannot be a \($kind) row") end
  | map(if type == "string" then text elif type == "null" then ""
      elif type == "number" or type == "boolean" then tostring
      else error("\(type) is not valid in a \($kind) row") end);
def @csv: __row("csv"; "\"" + __replace("\""; "\"\"") + "\"") | join(",");
def @tsv: __row("tsv"; __replace("\\"; "\\\\") | __replace("\t"; "\\t") | __replace("\n"; "\\n") | __replace("\r"; "\\r")) | join("\t");
def format($name): if $name == "text" then @text elif $name == "json" then @json elif $name == "csv" then @csv
  elif $name == "tsv" then @tsv elif $name == "html" then @html elif $name == "uri" then @uri elif $name == "sh" then @sh
  elif $name == "base64" then @base64 elif $name == "base64d" then @base64d elif $name == "base32" then @base32
  elif $name == "base32d" then @base32d else error("\($name) is not a valid format") end;

# Streams of events.
def tostream: path(def r: (.[]?|r), .; r) as $p | getpath($p)
  | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def truncate_stream(stream): . as $n | null | stream
  | . as $input | if (.[0] | length) > $n then setpath([0]; .[0][$n:]) else empty end;
def truncate_stream($depth; stream): $depth | truncate_stream(stream);
def fromstream(events): {x: null, e: false} as $init
  | foreach events as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
        else setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
