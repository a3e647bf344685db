//! A process that is cut off from servers for longer than its session, while others go on and take over. What it had sent
//! comes late. The books are right every time.

use std::time::Duration;

use integration_tests::stage::{Network, ROLES, SHARDS, Service, Site, until};
use test_servers::proxy::Passage;

/// Longer than a session (5 s).
const LONG: Duration = Duration::from_secs(7);

struct Pair {
    two: [(Service, Network); 2],
    rest: Service,
    /// The number of parts of the role.
    parts: u64,
    site: Site,
}

/// Two processes with a role, each with a network of its own, and one with all other roles; none where the environment
/// names servers.
fn pair(role: &str) -> Option<Pair> {
    let site = Site::to_harm()?;
    let others: Vec<_> = ROLES.into_iter().filter(|other| *other != role).collect();
    let rest = site.start("rest", &others.join(","));
    let two = ["one", "two"].map(|instance| {
        let network = site.network();
        (site.start_with(instance, role, &network.settings), network)
    });
    rest.until_ready();
    two.iter().for_each(|(service, _)| service.until_ready());
    let parts = match role {
        "executor" => SHARDS,
        "scheduler" => 1,
        _ => 2,
    };
    Some(Pair { two, rest, parts, site })
}

impl Pair {
    /// The one that holds something, and the other.
    fn chosen(&self) -> (&(Service, Network), &(Service, Network)) {
        let mut at = 0;
        until("one of them has work", || {
            at = usize::from(self.two[0].0.parts() == 0);
            self.two[at].0.parts() > 0
        });
        (&self.two[at], &self.two[1 - at])
    }

    /// Cuts the ways to etcd, or to all servers, until the other one has taken over and gone on for a while.
    fn cut_off_and_succeeded(&self, all: bool, passage: Passage) {
        let task = self.site.submit(3000, 10, &[]);
        task.goes_on(200);
        let ((cut, network), (other, _)) = self.chosen();
        if all {
            network.let_pass(passage);
        } else {
            network.ways[0].let_pass(passage);
        }
        until(&format!("{} has what {} had", other.instance, cut.instance), || other.parts() == self.parts);
        task.goes_on(500);
        network.let_pass(Passage::Open);
        self.site.balance(&task);
        until(&format!("{} is back", cut.instance), || cut.is_ready());
    }

    /// Cuts the way to Redis only: the session goes on, and so does nothing else until it is there again.
    fn cut_off_from_redis(&self, passage: Passage) {
        let task = self.site.submit(3000, 10, &[]);
        task.goes_on(200);
        let ((_, network), _) = self.chosen();
        network.ways[2].let_pass(passage);
        // The fault's length; nothing is waited for.
        std::thread::sleep(LONG);
        network.ways[2].let_pass(Passage::Open);
        self.site.balance(&task);
    }

    fn all(role: &str) {
        let Some(mut pair) = pair(role) else { return };
        pair.cut_off_and_succeeded(false, Passage::Nothing);
        pair.cut_off_from_redis(Passage::Nothing);
        pair.cut_off_and_succeeded(true, Passage::Questions);
        for (service, _) in &mut pair.two {
            service.ends_well();
        }
        pair.rest.ends_well();
    }
}

#[test]
fn an_executor_is_cut_off() {
    Pair::all("executor");
}

#[test]
fn a_scheduler_is_cut_off() {
    Pair::all("scheduler");
}

#[test]
fn a_collector_is_cut_off() {
    Pair::all("collector");
}

#[test]
fn a_generator_is_cut_off() {
    Pair::all("generator");
}
