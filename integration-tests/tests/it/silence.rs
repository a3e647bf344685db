//! A process that hears nothing, and is not told that it is alone: what it sends is lost, and its connections stay. It stops by
//! itself; its work goes on elsewhere; what it did meanwhile counts no more than once; afterwards it takes part again.
//!
//! A wire is pulled where the system permits network namespaces of one's own; elsewhere a proxy swallows everything.

use integration_tests::stage::{Network, ROLES, SHARDS, Service, Site, until};
use test_servers::proxy::Passage;
use test_servers::wire::{Where, Wire, alone};

/// The parts of all roles.
const PARTS: u64 = 2 + 2 + 1 + SHARDS + 2;

/// The connection between a process and everything else.
enum Way {
    Wire(Wire),
    Proxies(Box<Network>),
}

impl Way {
    fn new(place: &Where, site: &Site) -> Self {
        match place {
            Where::Shared(_) => Self::Proxies(Box::new(site.network())),
            Where::Alone | Where::Done => {
                let user = format!("'root'@'{}'", Wire::FROM);
                site.change(&format!("CREATE USER {user}; GRANT ALL ON *.* TO {user}"));
                Self::Wire(Wire::lay().unwrap())
            }
        }
    }

    fn start(&self, site: &Site, instance: &str, roles: &str) -> Service {
        match self {
            Self::Wire(wire) => site.start_behind(wire, instance, roles),
            Self::Proxies(network) => site.start_with(instance, roles, &network.settings),
        }
    }

    fn cut(&self) {
        match self {
            Self::Wire(wire) => wire.pull().unwrap(),
            Self::Proxies(network) => network.let_pass(Passage::Nothing),
        }
    }

    fn heal(&self) {
        match self {
            Self::Wire(wire) => wire.plug().unwrap(),
            Self::Proxies(network) => network.let_pass(Passage::Open),
        }
    }
}

/// Two processes have these roles, so many parts together, and one of the two hears nothing for a while; a third one has the
/// other roles, if there are any.
fn silence(test: &str, roles: &str, parts: u64) {
    let place = alone(test).unwrap();
    if place == Where::Done {
        return;
    }
    let Some(site) = Site::to_harm() else { return };
    let others: Vec<_> = ROLES.into_iter().filter(|role| roles != "all" && *role != roles).collect();
    let rest = (!others.is_empty()).then(|| site.serve("rest", &others.join(",")));
    let way = Way::new(&place, &site);
    let (cut, mut other) = (way.start(&site, "cut", roles), site.start("other", roles));
    cut.until_ready();
    other.until_ready();
    let task = site.submit_with(6000, 10, |param| param.held = true, &[]);
    until("both have work", || cut.parts() > 0 && other.parts() > 0);
    task.goes_on(300);
    way.cut();
    until("it has stopped, and says so to who asks it beside the wire", || cut.says_parts() == Some(0));
    until("it says why", || cut.whole_log().contains("\"fenced\""));
    until("the other one has all parts", || other.parts() == parts);
    task.goes_on(500);
    assert_eq!(cut.parts(), 0);
    way.heal();
    until("it is back, with parts", || cut.is_ready() && cut.parts() > 0);
    site.balance(&task);
    other.ends_well();
    until("it has all parts", || cut.parts() == parts);
    site.balance(&site.submit(1000, 0, &[]));
    drop((cut, rest));
}

#[test]
fn an_executor_hears_nothing() {
    silence("silence::an_executor_hears_nothing", "executor", SHARDS);
}

#[test]
fn a_process_with_all_roles_hears_nothing() {
    silence("silence::a_process_with_all_roles_hears_nothing", "all", PARTS);
}
