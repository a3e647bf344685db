//! The conformance suite of [`DefinedTypeTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the types that it looks at, so that it works on a table that has
//! others.

use std::sync::Arc;

use dtf_model::defined_type::{DefinedType, DefinedTypeTable, MAX_DEFINITION_BYTES};
use dtf_model::error::StoreError;
use dtf_model::param::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS};
use serde_json::{Value, json};
use uuid::Uuid;

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn DefinedTypeTable>) {
    a_definition_is_read_back(&table).await;
    a_definition_follows_the_one_before(&table).await;
    names_are_compared_exactly_and_listed_in_pages(&table).await;
    a_deleted_type_is_gone_and_may_be_defined_anew(&table).await;
    what_is_out_of_range_is_refused(&table).await;
}

fn unique() -> String {
    Uuid::new_v4().simple().to_string()
}

fn named(name: &str) -> DefinedType {
    DefinedType {
        name: name.to_owned(),
        version: 1,
        description: String::new(),
        schema: Value::Null,
        template: json!({}),
        updated_at: 1_800_000_000_000,
        updated_by: String::new(),
    }
}

/// Everything that is said of a type comes back, at full width.
pub async fn a_definition_is_read_back(table: &Arc<dyn DefinedTypeTable>) {
    let largest = "𝄞".repeat((MAX_DEFINITION_BYTES - 2) / 4);
    let definition = DefinedType {
        description: "𝄞".repeat(MAX_DESCRIPTION_CHARS),
        schema: json!(largest),
        template: json!({"a": [null, 1.5, {"b": "漢 \u{1b} \" \\"}]}),
        updated_at: u64::try_from(i64::MAX).unwrap_or(u64::MAX),
        updated_by: "é".repeat(MAX_NAME_CHARS),
        ..named(&format!("漢{}{}", unique(), ".".repeat(MAX_NAME_CHARS - 33)))
    };
    assert_eq!(must(table.defined_type(&definition.name).await), None);
    assert!(must(table.define_type(&definition).await));
    assert_eq!(must(table.defined_type(&definition.name).await), Some(definition));
}

/// A version is written behind the one before it, and nowhere else.
pub async fn a_definition_follows_the_one_before(table: &Arc<dyn DefinedTypeTable>) {
    let name = unique();
    let version = |version| DefinedType { version, template: json!(version), ..named(&name) };
    assert!(!must(table.define_type(&version(2)).await), "there is no first one");
    assert_eq!(must(table.defined_type(&name).await), None);
    assert!(must(table.define_type(&version(1)).await));
    assert!(must(table.define_type(&version(2)).await));
    for other in [1, 2, 4] {
        assert!(!must(table.define_type(&version(other)).await), "version {other} does not follow");
    }
    assert_eq!(must(table.defined_type(&name).await), Some(version(2)));
}

/// Types are listed by the bytes of their names, page by page.
pub async fn names_are_compared_exactly_and_listed_in_pages(table: &Arc<dyn DefinedTypeTable>) {
    let prefix = unique();
    let names: Vec<_> = ["", "-", "A", "a", "é"].map(|end| format!("{prefix}{end}")).into();
    for name in &names {
        assert!(must(table.define_type(&named(name)).await), "{name} is a name of its own");
    }
    assert_eq!(must(table.defined_type(&format!("{} ", names[0])).await), None);
    let below = prefix[..31].to_owned();
    let (mut after, mut listed) = (Some(below), Vec::new());
    loop {
        let page = must(table.defined_types(after.as_deref(), 2).await);
        after = page.last().map(|last| last.name.clone());
        listed.extend(page.into_iter().map(|listed| listed.name).filter(|name| name.starts_with(&prefix)));
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, names);
}

/// A type that was deleted is not there any more; its name is free.
pub async fn a_deleted_type_is_gone_and_may_be_defined_anew(table: &Arc<dyn DefinedTypeTable>) {
    let definition = named(&unique());
    assert!(must(table.define_type(&definition).await));
    assert!(must(table.delete_type(&definition.name).await));
    assert!(!must(table.delete_type(&definition.name).await));
    assert_eq!(must(table.defined_type(&definition.name).await), None);
    assert!(must(table.define_type(&definition).await));
}

/// A definition that cannot be kept is refused, and nothing is written.
pub async fn what_is_out_of_range_is_refused(table: &Arc<dyn DefinedTypeTable>) {
    let good = named(&unique());
    for wrong in [
        DefinedType { name: String::new(), ..good.clone() },
        DefinedType { name: "a:b".to_owned(), ..good.clone() },
        DefinedType { name: "a".repeat(MAX_NAME_CHARS + 1), ..good.clone() },
        DefinedType { version: 0, ..good.clone() },
        DefinedType { description: "a".repeat(MAX_DESCRIPTION_CHARS + 1), ..good.clone() },
        DefinedType { updated_by: "a".repeat(MAX_NAME_CHARS + 1), ..good.clone() },
        DefinedType { schema: json!("a".repeat(MAX_DEFINITION_BYTES)), ..good.clone() },
        DefinedType { template: json!("a".repeat(MAX_DEFINITION_BYTES)), ..good.clone() },
    ] {
        let refused = table.define_type(&wrong).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
    }
    assert_eq!(must(table.defined_type(&good.name).await), None);
}
