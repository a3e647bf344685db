//! The conformance suite of [`GroupTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the groups that it looks at, so that it works on a
//! table that has others, beside other users of it.

use std::sync::Arc;

use dtf_model::error::{InvalidInput, StoreError};
use dtf_model::group::{DEFAULT_GROUP, GroupTable, MAX_QUOTA, ResourceGroup, all_groups};
use dtf_model::limits::Limits;
use dtf_model::param::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS};
use uuid::Uuid;

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn GroupTable>) {
    the_default_group_is_there(&table).await;
    a_group_is_read_back(&table).await;
    a_group_is_replaced_whole(&table).await;
    names_are_compared_exactly(&table).await;
    groups_are_listed_by_name_in_pages(&table).await;
    what_is_out_of_range_is_refused(&table).await;
}

fn unique() -> String {
    Uuid::new_v4().to_string()
}

async fn set(table: &Arc<dyn GroupTable>, group: &ResourceGroup) {
    must(table.set_group(group).await);
}

/// A fresh table has it, and it can be changed like any other.
pub async fn the_default_group_is_there(table: &Arc<dyn GroupTable>) {
    let Some(there) = must(table.group(DEFAULT_GROUP).await) else { panic!("there is no default group") };
    set(table, &there).await;
    assert!(must(all_groups(&**table).await).iter().any(|group| group.name == DEFAULT_GROUP));
}

/// Everything that is said of a group comes back, at full width.
pub async fn a_group_is_read_back(table: &Arc<dyn GroupTable>) {
    let mut name = unique();
    name.extend(std::iter::repeat_n('漢', MAX_NAME_CHARS - name.chars().count()));
    assert_eq!(must(table.group(&name).await), None);
    let group = ResourceGroup {
        paused: true,
        name: name.clone(),
        quota: MAX_QUOTA,
        limits: Limits { running: Some(u32::MAX), rate: Some(1) },
        description: "𝄞".repeat(MAX_DESCRIPTION_CHARS),
    };
    set(table, &group).await;
    assert_eq!(must(table.group(&name).await), Some(group));
}

/// Setting a group replaces all of it: a value that is not given again is gone.
pub async fn a_group_is_replaced_whole(table: &Arc<dyn GroupTable>) {
    let limits = Limits { running: Some(3), rate: Some(5) };
    let named = ResourceGroup::named(unique());
    set(table, &ResourceGroup { quota: 7, limits, description: "first".into(), ..named.clone() }).await;
    set(table, &named).await;
    set(table, &named).await;
    assert_eq!(must(table.group(&named.name).await), Some(named));
}

/// Names that differ in case, in a space or in how a letter is composed are different names.
pub async fn names_are_compared_exactly(table: &Arc<dyn GroupTable>) {
    let stem = unique();
    let names = ["a", "A", "ä", "a\u{308}", "a b", "a  b"].map(|end| format!("{stem}{end}"));
    for (quota, name) in (1..).zip(&names) {
        set(table, &ResourceGroup { quota, ..ResourceGroup::named(name) }).await;
    }
    for (quota, name) in (1..).zip(&names) {
        assert_eq!(must(table.group(name).await).map(|group| group.quota), Some(quota), "{name:?}");
    }
    assert_eq!(must(table.group(&format!("{stem}a ")).await), None);
}

/// By the bytes of their names, each once, however small the pages are.
pub async fn groups_are_listed_by_name_in_pages(table: &Arc<dyn GroupTable>) {
    let stem = unique();
    let mut names = ["b", "a", "é", "z z", "Z", "🦀"].map(|end| format!("{stem}{end}"));
    for name in &names {
        set(table, &ResourceGroup::named(name)).await;
    }
    names.sort_unstable();
    let mut listed: Vec<String> = Vec::new();
    while listed.len() < names.len() {
        let after = listed.last().unwrap_or(&stem);
        let page = must(table.groups(Some(after), 2).await);
        assert_eq!(page.len(), 2, "behind {after:?}");
        listed.extend(page.into_iter().map(|group| group.name));
    }
    assert_eq!(listed, names);
    assert!(must(table.groups(None, 0).await).is_empty());
}

/// And nothing is written.
pub async fn what_is_out_of_range_is_refused(table: &Arc<dyn GroupTable>) {
    let named = ResourceGroup::named(unique());
    let wrong = [
        ResourceGroup { quota: 0, ..named.clone() },
        ResourceGroup { quota: MAX_QUOTA + 1, ..named.clone() },
        ResourceGroup { limits: Limits { running: Some(0), rate: None }, ..named.clone() },
        ResourceGroup { limits: Limits { running: None, rate: Some(0) }, ..named.clone() },
        ResourceGroup { description: "x".repeat(MAX_DESCRIPTION_CHARS + 1), ..named.clone() },
        ResourceGroup::named(format!("{} ", named.name)),
        ResourceGroup::named(format!("{}\n.", named.name)),
        ResourceGroup::named("x".repeat(MAX_NAME_CHARS + 1)),
        ResourceGroup::named(""),
    ];
    for group in wrong {
        let refused = table.set_group(&group).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{group:?}: {refused:?}");
    }
    assert_eq!(must(table.group(&named.name).await), None);
    let refused = table.set_group(&ResourceGroup::named("")).await;
    assert!(matches!(refused, Err(StoreError::InvalidInput(InvalidInput::Empty(_)))), "{refused:?}");
}
