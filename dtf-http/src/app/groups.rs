//! Resource groups.

use dtf_api as api;
use dtf_model::group::ResourceGroup;
use uuid::Uuid;

use super::{App, Change};
use crate::convert;
use crate::problem::Failed;

impl App {
    /// Returns all resource groups, by name.
    ///
    /// # Errors
    /// A store failed.
    pub async fn groups(&self) -> Result<Vec<api::Group>, Failed> {
        let groups = self.client.groups().await?.into_iter();
        let mut groups: Vec<_> =
            groups.filter(|group| self.caller.sees(&group.name)).map(convert::group).collect();
        self.measure(&mut groups).await;
        Ok(groups)
    }

    /// Adds what the tasks of groups do now.
    async fn measure(&self, groups: &mut [api::Group]) {
        let Ok(look) = self.active().await else { return };
        let Some(numbers) = look.by_group() else { return };
        let all: u64 = numbers.values().map(|(running, _)| running).sum();
        for group in groups {
            let (running, waiting) = numbers.get(group.name.as_str()).copied().unwrap_or_default();
            // Whoever sees some groups only does not see what runs besides.
            let share = self.caller.groups.is_empty().then(|| running as f64 / all.max(1) as f64);
            group.measured = Some(api::MeasuredGroup { running, waiting, share });
        }
    }

    /// Returns a resource group.
    ///
    /// # Errors
    /// There is no such group, or a store failed.
    pub async fn group(&self, name: &str) -> Result<api::Group, Failed> {
        self.caller.check_group(name)?;
        let group = self.client.group(name).await?;
        let missing = || Failed::not_found(format!("there is no resource group {name:?}"));
        let mut group = group.map(convert::group).ok_or_else(missing)?;
        self.measure(std::slice::from_mut(&mut group)).await;
        Ok(group)
    }

    /// Makes or changes a resource group, and returns it.
    ///
    /// # Errors
    /// A value is not allowed, or a store failed.
    pub async fn set_group(&self, name: &str, set: api::SetGroup) -> Result<api::Group, Failed> {
        // A share of one group is taken from the others; a pause is its own.
        match set {
            api::SetGroup { quota: None, limits: None, description: None, paused: Some(_) } => {
                self.group(name).await?;
            }
            _ => self.caller.check_unlimited()?,
        }
        let mut group = self.client.group(name).await?.unwrap_or_else(|| ResourceGroup::named(name));
        group.quota = set.quota.unwrap_or(group.quota);
        group.limits = set.limits.map_or(group.limits, convert::model_limits);
        group.description = set.description.unwrap_or(group.description);
        group.paused = set.paused.unwrap_or(group.paused);
        let detail = format!("quota {}{}", group.quota, if group.paused { ", paused" } else { "" });
        let (target, request) = (format!("group {name}"), Uuid::new_v4());
        self.noted(Change { action: "group.set", target, detail, request }, |client| async move {
            client.set_group(&group).await?;
            Ok(convert::group(group))
        })
        .await
    }
}
