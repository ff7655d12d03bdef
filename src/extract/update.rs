//! Reading, setting and deleting at paths, as jq does: `null` becomes the array or object that a path needs.

use std::sync::Arc;

use jaq_json::{Error, Val, ValR};
use jaq_std::ValT as _;

/// jq's limit of an array's length.
const MAX_ARRAY_INDEX: usize = 536_870_911;

/// Returns the value at `path`, `null` where there is none.
pub(super) fn get_path(root: &Val, path: &[Val]) -> ValR {
    let mut value = root.clone();
    for step in path {
        value = match (&value, step) {
            (Val::Null, _) => return Ok(Val::Null),
            (Val::Obj(members), Val::TStr(_)) => members.get(step).cloned().unwrap_or(Val::Null),
            (Val::Arr(items), Val::Num(_)) => {
                existing_index(step, items.len())?.map_or(Val::Null, |index| items[index].clone())
            }
            (Val::Arr(items), Val::Obj(_)) => items[slice_bounds(step, items.len())?]
                .iter()
                .cloned()
                .collect(),
            _ => return Err(Error::index(value, step.clone())),
        };
    }
    Ok(value)
}

/// Sets the value at `path`; makes what is missing on the way.
pub(super) fn set_path(slot: &mut Val, path: &[Val], value: Val) -> Result<(), Error> {
    let Some((step, rest)) = path.split_first() else {
        *slot = value;
        return Ok(());
    };
    if matches!(slot, Val::Null) {
        *slot = match step {
            Val::TStr(_) => Val::obj(jaq_json::Map::default()),
            _ => Val::Arr(Arc::default()),
        };
    }
    match (&mut *slot, step) {
        (Val::Obj(members), Val::TStr(_)) => {
            let member = Arc::make_mut(members).entry(step.clone());
            set_path(member.or_insert(Val::Null), rest, value)
        }
        (Val::Arr(items), Val::Num(_)) => {
            let index = writable_index(step, items.len())?;
            let items = Arc::make_mut(items);
            if index >= items.len() {
                items.resize(index + 1, Val::Null);
            }
            set_path(&mut items[index], rest, value)
        }
        (Val::Arr(items), Val::Obj(_)) => {
            let bounds = slice_bounds(step, items.len())?;
            let mut part: Val = items[bounds.clone()].iter().cloned().collect();
            set_path(&mut part, rest, value)?;
            let Val::Arr(part) = part else {
                return Err(Error::str(
                    "a slice of an array can only be assigned another array",
                ));
            };
            Arc::make_mut(items).splice(bounds, part.iter().cloned());
            Ok(())
        }
        _ => Err(Error::index(slot.clone(), step.clone())),
    }
}

/// Deletes at `paths`, which are sorted; what is not there is no error.
pub(super) fn delete_paths(slot: &mut Val, paths: &[&[Val]]) -> Result<(), Error> {
    if paths.is_empty() || matches!(slot, Val::Null) {
        return Ok(());
    }
    if paths[0].is_empty() {
        *slot = Val::Null;
        return Ok(());
    }
    let mut doomed = Vec::new();
    for group in paths.chunk_by(|a, b| a[0] == b[0]) {
        let step = &group[0][0];
        // The shortest path of a group stands first.
        if group[0].len() == 1 {
            doomed.push(step);
            continue;
        }
        let rests: Vec<&[Val]> = group.iter().map(|path| &path[1..]).collect();
        let mut part = get_path(slot, std::slice::from_ref(step))?;
        if !matches!(part, Val::Null) {
            delete_paths(&mut part, &rests)?;
            set_path(slot, std::slice::from_ref(step), part)?;
        }
    }
    match slot {
        _ if doomed.is_empty() => {}
        Val::Obj(members) if doomed.iter().all(|step| matches!(step, Val::TStr(_))) => {
            let doomed: std::collections::HashSet<&Val> = doomed.into_iter().collect();
            Arc::make_mut(members).retain(|name, _| !doomed.contains(name));
        }
        Val::Arr(items) => {
            // Marked first and removed in one pass, since every removal would move the indices of
            // the others.
            let mut is_doomed = vec![false; items.len()];
            for step in doomed {
                match step {
                    Val::Num(_) => {
                        if let Some(index) = existing_index(step, items.len())? {
                            is_doomed[index] = true;
                        }
                    }
                    Val::Obj(_) => is_doomed[slice_bounds(step, items.len())?].fill(true),
                    _ => return Err(cannot_delete(slot, step)),
                }
            }
            let mut is_doomed = is_doomed.into_iter();
            Arc::make_mut(items).retain(|_| !is_doomed.next().unwrap_or_default());
        }
        _ => return Err(cannot_delete(slot, doomed[0])),
    }
    Ok(())
}

fn cannot_delete(value: &Val, step: &Val) -> Error {
    Error::str(format_args!("cannot delete {step} of {value}"))
}

/// Rounds an index down, and counts a negative one from the end.
fn index_from_start(step: &Val, length: usize) -> Result<f64, Error> {
    let index = step
        .as_f64()
        .ok_or_else(|| Error::typ(step.clone(), "number"))?
        .floor();
    Ok(if index < 0.0 {
        index + length as f64
    } else {
        index
    })
}

fn existing_index(step: &Val, length: usize) -> Result<Option<usize>, Error> {
    let index = index_from_start(step, length)?;
    Ok((index >= 0.0 && index < length as f64).then_some(index as usize))
}

fn writable_index(step: &Val, length: usize) -> Result<usize, Error> {
    let index = index_from_start(step, length)?;
    if index < 0.0 || index.is_nan() {
        return Err(Error::str("out of bounds negative array index"));
    }
    if index > MAX_ARRAY_INDEX as f64 {
        return Err(Error::str("array index too large"));
    }
    Ok(index as usize)
}

/// Returns the range of `{start, end}`: the start is rounded down, the end up.
fn slice_bounds(step: &Val, length: usize) -> Result<std::ops::Range<usize>, Error> {
    let Val::Obj(members) = step else {
        return Err(Error::typ(step.clone(), "slice"));
    };
    let bound = |name: &'static str, default: f64| match members.get(&Val::utf8_str(name)) {
        None | Some(Val::Null) => Ok(default),
        Some(bound) => bound
            .as_f64()
            .ok_or_else(|| Error::str("start and end of an array slice must be numbers")),
    };
    let length = length as f64;
    // Clamped: a bound beyond the array is no error, as in jq.
    let absolute = |bound: f64| if bound < 0.0 { bound + length } else { bound }.clamp(0.0, length);
    let start = absolute(bound("start", 0.0)?).floor();
    let end = absolute(bound("end", length)?).ceil();
    Ok(start as usize..end.max(start) as usize)
}
