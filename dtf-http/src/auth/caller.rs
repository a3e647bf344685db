//! The person or program on whose behalf something is done.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use dtf_api::Code;
use dtf_model::token::{ApiToken, TokenRole};

use crate::app::App;
use crate::problem::Failed;

/// The person or program that asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name, as the audit has it.
    pub name: String,
    /// Its rights.
    pub role: TokenRole,
    /// The resource groups that it is limited to; all where empty.
    pub groups: Vec<String>,
    /// The task types that it may execute as a worker; all where empty.
    pub types: Vec<String>,
    /// The network address that it asks from; may be empty.
    pub address: String,
}

impl Caller {
    /// A caller that may do everything: a program on the stores themselves, or a request that needs no token.
    pub fn trusted(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            role: TokenRole::Admin,
            groups: Vec::new(),
            types: Vec::new(),
            address: address.to_owned(),
        }
    }

    /// The bearer of a token.
    pub(crate) fn bearer(token: &ApiToken, address: &str) -> Self {
        Self {
            name: format!("{} ({})", token.name, token.id),
            role: token.role,
            groups: token.groups.clone(),
            types: token.types.clone(),
            address: address.to_owned(),
        }
    }

    /// Returns true if it may see tasks of a group.
    pub fn sees(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|allowed| allowed == group)
    }

    /// Checks that it may act on a group.
    ///
    /// # Errors
    /// Its groups are others.
    pub fn check_group(&self, group: &str) -> Result<(), Failed> {
        if self.sees(group) {
            return Ok(());
        }
        let detail = format!("this token is for the groups {}, not for {group:?}", self.groups.join(", "));
        Err(Failed::new(Code::Forbidden, detail))
    }

    /// Checks that it may do what concerns all groups.
    ///
    /// # Errors
    /// It is limited to some groups.
    pub fn check_unlimited(&self) -> Result<(), Failed> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "this token is for the groups {} only, and this concerns all; use a token without groups",
            self.groups.join(", ")
        );
        Err(Failed::new(Code::Forbidden, detail))
    }

    /// Checks that it has a role, or one that includes it.
    ///
    /// # Errors
    /// Its role is a lower one.
    pub fn check_role(&self, least: TokenRole) -> Result<(), Failed> {
        if self.role >= least {
            return Ok(());
        }
        let (has, needs) = (self.role.name(), least.name());
        let detail = format!("this token has the role {has}; this takes the role {needs}");
        Err(Failed::new(Code::Forbidden, detail))
    }
}

/// The functions of the API as the caller of a request may use them.
pub(crate) struct Acting(pub(crate) App);

impl FromRequestParts<App> for Acting {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failed> {
        let unknown = || Failed::new(Code::Unauthenticated, "nobody has said who asks");
        let caller = parts.extensions.get::<Caller>().ok_or_else(unknown)?;
        Ok(Self(app.acting(caller.clone())))
    }
}
