//! Each role is restarted, process by process, under load: nothing moves but what the restarted process held, and of that
//! only as much as evens out; no subtask fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtf::lrmf::Coordination;
use dtf::lrmf::admin::Admin;
use dtf::model::Role;
use integration_tests::stage::{Service, Site, until};
use lrmf_etcd::{EtcdConfig, EtcdStore};
use tokio::runtime::Runtime;

/// By part: who holds it, and the token of its holding, which is another one after each move.
type Places = BTreeMap<String, (String, u64)>;

struct Records {
    runtime: Runtime,
    store: Arc<dyn Coordination>,
}

impl Records {
    fn of(site: &Site) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let connect = EtcdStore::connect(EtcdConfig::new([site.etcd.url()]));
        let store: Arc<dyn Coordination> = Arc::new(runtime.block_on(connect).unwrap());
        Self { runtime, store }
    }

    /// Returns the holders of a role's parts; `None` while one is between two processes.
    fn places(&self, role: Role) -> Option<Places> {
        let admin = Admin::new(self.store.clone(), role.group("default").unwrap());
        let state = self.runtime.block_on(admin.read()).unwrap();
        let views = state.task_views();
        if views.iter().any(|view| view.releasing_since.is_some()) {
            return None;
        }
        let place = |view: dtf::lrmf::admin::TaskView| {
            (view.key.to_string(), (view.member.to_string(), view.token.0))
        };
        Some(views.into_iter().map(place).collect())
    }

    /// Waits until a role's parts are so many at these processes, none between them.
    fn settled(&self, role: Role, holders: &[(&str, usize)]) -> Places {
        let mut places = None;
        until(&format!("{role} has {holders:?}"), || {
            places = self.places(role);
            let count =
                |name: &str| places.iter().flatten().filter(|(_, (holder, _))| holder == name).count();
            places.is_some() && holders.iter().all(|(name, parts)| count(name) == *parts)
        });
        places.unwrap()
    }
}

fn parts(role: Role) -> usize {
    match role {
        Role::Executor => integration_tests::stage::SHARDS as usize,
        Role::Scheduler => 1,
        _ => 2,
    }
}

/// Those parts that a process has.
fn held_by(places: &Places, name: &str) -> Places {
    places
        .iter()
        .filter(|(_, (holder, _))| holder == name)
        .map(|(key, place)| (key.clone(), place.clone()))
        .collect()
}

/// Returns the number of these that have the holder and the token that they had.
fn unmoved(before: &Places, after: &Places) -> usize {
    before.iter().filter(|(key, place)| after.get(*key) == Some(place)).count()
}

#[test]
fn a_rolling_restart_of_every_role_moves_no_more_than_it_has_to() {
    let Some(site) = Site::to_harm().map(Site::with_long_sessions) else { return };
    let names = |role: Role| [format!("{role}-1"), format!("{role}-2")];
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for role in Role::ALL {
        for name in names(role) {
            let service = site.start(&name, role.name());
            services.insert(name, service);
        }
    }
    services.values().for_each(Service::until_ready);
    let records = Records::of(&site);
    for role in Role::ALL {
        let [one, two] = names(role);
        let all = parts(role);
        until(&format!("the parts of {role} are spread"), || {
            records.places(role).is_some_and(|places| {
                let [first, second] = [&one, &two].map(|name| held_by(&places, name).len());
                first + second == all && first.abs_diff(second) <= 1
            })
        });
    }
    let mut tasks = Vec::new();
    for role in Role::ALL {
        let task = site.submit(4000, 5, &[]);
        task.goes_on(100);
        let elsewhere: Vec<_> = Role::ALL.into_iter().filter(|other| *other != role).collect();
        let before: Vec<_> = elsewhere.iter().map(|other| records.places(*other).unwrap()).collect();
        for at in [0, 1] {
            restart(&site, &records, role, &mut services, &names(role), at);
        }
        for (other, before) in elsewhere.iter().zip(&before) {
            assert_eq!(records.places(*other).as_ref(), Some(before), "{other}, while {role} was restarted");
        }
        tasks.push(task);
    }
    tasks.iter().for_each(|task| site.balance(task));
    services.values_mut().for_each(Service::ends_well);
}

fn restart(
    site: &Site,
    records: &Records,
    role: Role,
    services: &mut BTreeMap<String, Service>,
    names: &[String; 2],
    at: usize,
) {
    let (name, other, all) = (&names[at], &names[1 - at], parts(role));
    let before = records.places(role).unwrap();
    services.get_mut(name).unwrap().ends_well();
    let alone = records.settled(role, &[(other, all)]);
    // What the other one had, it has had without a break.
    let kept = held_by(&before, other);
    assert_eq!(unmoved(&kept, &alone), kept.len(), "{role}: {before:?} {alone:?}");
    services.insert(name.clone(), site.serve(name, role.name()));
    let back = all / 2;
    let both = records.settled(role, &[(name, back), (other, all - back)]);
    assert_eq!(unmoved(&alone, &both), all - back, "{role}: {alone:?} {both:?}");
}
