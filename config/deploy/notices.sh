#!/bin/sh
# Prints the notices of the crates in the program, for the image: a list, then each license text once with the crates that
# have it. Reads Cargo.lock and the sources in cargo's registry; needs no network after a build.
set -eu
cd "$(dirname "$0")/../.."
sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Macros and build scripts are not in the program. The package itself comes first in the tree; its license is no third party's.
cargo tree --locked --offline --edges normal,no-proc-macro --prefix none --format '{p}|{l}|{r}' >"$work/tree"
sed -e 1d -e 's/ (\*)$//' "$work/tree" | sort -u >"$work/crates"

while IFS='|' read -r crate _; do
  package=$(printf %s "$crate" | sed 's/ v/-/')
  set -- "$sources"/*/"$package"
  [ -f "$1/Cargo.toml" ] || { echo "$0: the sources of $package are not in $sources" >&2; exit 1; }
  # Three levels, for the C libraries that crates contain.
  find "$1" -maxdepth 3 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'copyright*' -o -iname 'notice*' \) \
    ! -name '*.rs' >"$work/files"
  if [ ! -s "$work/files" ]; then
    {
      echo "The package has no license file. The license is the one in the list above."
      awk '/^authors = \[/ { inside = 1 } inside { print } inside && /\]/ { exit }' "$1/Cargo.toml"
    } >"$work/$package"
    echo "$work/$package" >"$work/files"
  fi
  while read -r file; do
    printf '%s|%s|%s\n' "$(sha256sum <"$file" | cut -c1-64)" "$crate" "$file"
  done <"$work/files"
done <"$work/crates" | sort >"$work/texts"

echo "resumen contains the Rust standard library (MIT OR Apache-2.0, The Rust Project contributors) and these crates:"
echo
sed 's/|/  /g' "$work/crates"
previous=
while IFS='|' read -r digest crate file; do
  if [ "$digest" != "$previous" ]; then
    # The crates with this text, then the text.
    printf '\n%s\n' "------------------------------------------------------------------------"
    grep "^$digest|" "$work/texts" | cut -d'|' -f2 | sort -u
    echo
    cat "$file"
    previous=$digest
  fi
done <"$work/texts"
