//! Structs that are read from objects only: serde takes a list, too, as the fields in their order.

/// Implements `Serialize` and `Deserialize` of structs with `#[serde(remote = "Self")]`, by what is derived for them.
macro_rules! only_objects {
    ($($name:ident),+) => { $(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Object;

                impl<'de> serde::de::Visitor<'de> for Object {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                        $name::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }

                from.deserialize_map(Object)
            }
        }
    )+ };
}

pub(crate) use only_objects;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Limits, NewTask, SetGroup};

    #[test]
    fn a_list_is_no_object() {
        let limits: Limits = serde_json::from_value(json!({"running": 3})).unwrap();
        assert_eq!((limits.running, limits.rate), (Some(3), None));
        assert_eq!(serde_json::to_value(limits).unwrap(), json!({"running": 3, "rate": null}));
        for wrong in [json!({"limits": [3, null]}), json!({"limits": 3}), json!({"limits": {"runing": 3}})] {
            assert!(serde_json::from_value::<SetGroup>(wrong.clone()).is_err(), "{wrong}");
        }
        for (field, value) in
            [("creator", json!([7, "ada"])), ("after", json!([[7, "ended"]])), ("unique", json!(["key"]))]
        {
            let task = |value| serde_json::from_value::<NewTask>(json!({"type": "noop", field: value}));
            assert!(task(value).unwrap_err().to_string().contains("expected an object"), "{field}");
        }
    }
}
