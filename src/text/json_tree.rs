//! The members, items and scalars of JSON text, in its order and with its digits.
//!
//! The text is read level by level. A [`serde_json::Value`] would not do: with `arbitrary_precision`,
//! `serde_json` represents a number as an object with a private key, and a provider could send that object.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The values directly below a JSON value.
pub(crate) enum JsonChildren<'j> {
    /// The members of an object, duplicates included.
    Members(Vec<(Cow<'j, str>, &'j str)>),
    /// The items of an array.
    Items(Vec<&'j str>),
    /// A scalar has none.
    None,
}

/// Returns the values directly below `json`, which must be valid JSON without white space around it.
pub(crate) fn json_children(json: &str) -> JsonChildren<'_> {
    let children = match json.as_bytes().first() {
        Some(b'{') => {
            serde_json::from_str(json).map(|OrderedMembers(members)| JsonChildren::Members(members))
        }
        Some(b'[') => serde_json::from_str(json).map(|items: Vec<&RawValue>| {
            JsonChildren::Items(items.into_iter().map(RawValue::get).collect())
        }),
        _ => Ok(JsonChildren::None),
    };
    // The caller's text is valid JSON.
    children.unwrap_or(JsonChildren::None)
}

/// Calls `visit` with the dotted path and the text of each scalar in `json`, until it breaks. The paths begin
/// with `path`. The recursion is as deep as `json`, which has at most [`MAX_DEPTH`](super::MAX_DEPTH) levels.
pub(crate) fn visit_scalars(
    json: &str,
    path: &mut String,
    visit: &mut impl FnMut(&str, &str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match json_children(json) {
        JsonChildren::Members(members) => members
            .into_iter()
            .try_for_each(|(key, value)| visit_child(&key, value, path, visit)),
        JsonChildren::Items(items) => items
            .into_iter()
            .enumerate()
            .try_for_each(|(index, item)| visit_child(&index.to_string(), item, path, visit)),
        JsonChildren::None => visit(path, json),
    }
}

fn visit_child(
    key: &str,
    value: &str,
    path: &mut String,
    visit: &mut impl FnMut(&str, &str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let length = path.len();
    if length > 0 {
        path.push('.');
    }
    path.push_str(key);
    let flow = visit_scalars(value, path, visit);
    path.truncate(length);
    flow
}

/// Returns the characters of a JSON string with its quotes. A surrogate without its pair, which JSON text may
/// hold and no string can, becomes replacement characters.
pub(crate) fn decode_json_string(json: &str) -> Cow<'_, str> {
    if !json.contains('\\') {
        return Cow::Borrowed(json.trim_matches('"'));
    }
    serde_json::from_str(json).map_or_else(
        |_| {
            let bytes: Vec<u8> =
                serde_json::from_str(json).map_or_else(|_| Vec::new(), |JsonBytes(bytes)| bytes);
            Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
        },
        Cow::Owned,
    )
}

/// An object's members in the order of the text, duplicates included.
struct OrderedMembers<'j>(Vec<(Cow<'j, str>, &'j str)>);

impl<'de> Deserialize<'de> for OrderedMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderedMembersVisitor;
        impl<'de> Visitor<'de> for OrderedMembersVisitor {
            type Value = OrderedMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                // The text of a key, not its characters: one unpaired surrogate would hide all members.
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((decode_json_string(key.get()), value.get()));
                }
                Ok(OrderedMembers(members))
            }
        }
        deserializer.deserialize_map(OrderedMembersVisitor)
    }
}

/// The bytes of a JSON string: UTF-8, with unpaired surrogates encoded like characters.
struct JsonBytes(Vec<u8>);

impl<'de> Deserialize<'de> for JsonBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonBytesVisitor;
        impl Visitor<'_> for JsonBytesVisitor {
            type Value = JsonBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(JsonBytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(JsonBytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars_of(json: &str) -> Vec<(String, String)> {
        let mut scalars = Vec::new();
        let _ = visit_scalars(json, &mut String::new(), &mut |path, text| {
            scalars.push((path.to_owned(), text.to_owned()));
            ControlFlow::Continue(())
        });
        scalars
    }

    #[test]
    fn scalars_keep_order_and_digits() {
        let json = r#"{"b":[1.50,null,{"c":-2E3}],"a":"x\"y","e":{},"d":[[]],"t":true,"a":0}"#;
        let expected = [
            ("b.0", "1.50"),
            ("b.1", "null"),
            ("b.2.c", "-2E3"),
            ("a", r#""x\"y""#),
            ("t", "true"),
            ("a", "0"),
        ];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(scalars_of(json), expected);
        assert_eq!(scalars_of("7"), [(String::new(), "7".to_owned())]);
    }

    #[test]
    fn unpaired_surrogate_hides_nothing() {
        let scalars = scalars_of(r#"{"\ud800k":1,"\u00e9":"\udc00"}"#);
        assert!(scalars[0].0.ends_with('k'), "{scalars:?}");
        assert_eq!(scalars[1].0, "é");
        assert!(decode_json_string(r#""a\udc00""#).starts_with('a'));
        assert_eq!(decode_json_string(r#""\ud83d\ude00\n""#), "😀\n");
    }

    #[test]
    fn private_key_of_numbers_is_an_object() {
        for token in ["Number", "RawValue"] {
            let json = format!(r#"{{"a":{{"$serde_json::private::{token}":"[1,"}}}}"#);
            let path = format!("a.$serde_json::private::{token}");
            assert_eq!(scalars_of(&json), [(path, "\"[1,\"".to_owned())]);
        }
    }
}
