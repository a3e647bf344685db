//! The conformance suite of [`TokenTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each makes the tokens that it looks at, so that it works on a table that
//! has others.

use std::sync::Arc;

use dtf_model::error::StoreError;
use dtf_model::param::MAX_NAME_CHARS;
use dtf_model::token::{ApiToken, MAX_TOKEN_ID_CHARS, MAX_TOKEN_SCOPES, TokenRole, TokenTable};
use uuid::Uuid;

use super::must;

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn TokenTable>) {
    a_token_is_read_back(&table).await;
    a_token_that_is_there_stays(&table).await;
    a_use_is_noted_and_never_goes_back(&table).await;
    a_removed_token_is_gone(&table).await;
    ids_are_compared_exactly_and_listed_in_pages(&table).await;
    what_is_out_of_range_is_refused(&table).await;
}

fn unique() -> String {
    Uuid::new_v4().simple().to_string()
}

fn named(id: &str) -> ApiToken {
    ApiToken {
        id: id.to_owned(),
        digest: "0123456789abcdef".repeat(4),
        name: "a token".to_owned(),
        role: TokenRole::Reader,
        groups: Vec::new(),
        types: Vec::new(),
        created_at: 1_800_000_000_000,
        created_by: String::new(),
        expires_at: None,
        last_used: None,
    }
}

/// Everything that is said of a token comes back, at full width.
pub async fn a_token_is_read_back(table: &Arc<dyn TokenTable>) {
    for role in TokenRole::ALL {
        let token = ApiToken {
            name: "𝄞".repeat(MAX_NAME_CHARS),
            role,
            groups: vec!["a \"group\"".to_owned(), "漢".repeat(MAX_NAME_CHARS)],
            types: vec!["Δ".repeat(MAX_NAME_CHARS); MAX_TOKEN_SCOPES],
            created_by: "é".repeat(MAX_NAME_CHARS),
            expires_at: Some(u64::try_from(i64::MAX).unwrap_or(u64::MAX)),
            last_used: Some(7),
            ..named(&unique())
        };
        assert_eq!(must(table.token(&token.id).await), None);
        must(table.add_token(&token).await);
        assert_eq!(must(table.token(&token.id).await), Some(token));
    }
}

/// Adding another one with the same id changes nothing: a call that is sent again has no second effect.
pub async fn a_token_that_is_there_stays(table: &Arc<dyn TokenTable>) {
    let token = named(&unique());
    must(table.add_token(&token).await);
    must(table.add_token(&ApiToken { role: TokenRole::Admin, ..token.clone() }).await);
    assert_eq!(must(table.token(&token.id).await), Some(token));
}

/// The last use only grows.
pub async fn a_use_is_noted_and_never_goes_back(table: &Arc<dyn TokenTable>) {
    let token = named(&unique());
    must(table.add_token(&token).await);
    for (at, noted) in [(5, 5), (9, 9), (7, 9)] {
        must(table.touch_token(&token.id, at).await);
        assert_eq!(must(table.token(&token.id).await).and_then(|token| token.last_used), Some(noted));
    }
    must(table.touch_token(&unique(), 1).await);
}

/// Removing says whether it was there.
pub async fn a_removed_token_is_gone(table: &Arc<dyn TokenTable>) {
    let token = named(&unique());
    must(table.add_token(&token).await);
    assert!(must(table.remove_token(&token.id).await));
    assert!(!must(table.remove_token(&token.id).await));
    assert_eq!(must(table.token(&token.id).await), None);
}

/// By the bytes of their ids, each once, however small the pages are; `a` is not `A`.
pub async fn ids_are_compared_exactly_and_listed_in_pages(table: &Arc<dyn TokenTable>) {
    let stem = &unique()[..20];
    let mut ids = ["b", "a", "A", "z9", "0"].map(|end| format!("{stem}{end}"));
    for id in &ids {
        must(table.add_token(&named(id)).await);
    }
    ids.sort_unstable();
    let mut listed: Vec<String> = Vec::new();
    while listed.len() < ids.len() {
        let after = listed.last().map_or(stem, String::as_str);
        let page = must(table.tokens(Some(after), 2).await);
        assert!(!page.is_empty(), "behind {after:?}");
        listed.extend(page.into_iter().map(|token| token.id).take_while(|id| id.starts_with(stem)));
    }
    assert_eq!(listed, ids);
    assert!(must(table.tokens(None, 0).await).is_empty());
    assert_eq!(must(table.token(&format!("{stem}a ")).await), None);
}

/// And nothing is written.
pub async fn what_is_out_of_range_is_refused(table: &Arc<dyn TokenTable>) {
    let token = named(&unique());
    let wrong = [
        ApiToken { name: " ".into(), ..token.clone() },
        ApiToken { name: "x".repeat(MAX_NAME_CHARS + 1), ..token.clone() },
        ApiToken { created_by: "x".repeat(MAX_NAME_CHARS + 1), ..token.clone() },
        ApiToken { digest: "00".into(), ..token.clone() },
        ApiToken { digest: "g".repeat(64), ..token.clone() },
        ApiToken { groups: vec!["g".into(); MAX_TOKEN_SCOPES + 1], ..token.clone() },
        ApiToken { types: vec!["x".repeat(MAX_NAME_CHARS + 1)], ..token.clone() },
        named(&"x".repeat(MAX_TOKEN_ID_CHARS + 1)),
        named("a_b"),
        named(""),
    ];
    for token in wrong {
        let refused = table.add_token(&token).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{token:?}: {refused:?}");
    }
    assert_eq!(must(table.token(&token.id).await), None);
}
