//! One run: processes start, faults happen for a while, everything is healed, and all tasks have to be held; then all members
//! leave.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::assignor::Assignor;
use crate::config::CoordinatorConfig;
use crate::coordination::TxnLimits;
use crate::driver::{Board, Driver, HeldTasks, Listeners, MemberStatus, Place, Ports};
use crate::ids::{GroupId, InstanceId};
use crate::protocol::leader::{LeaderConfig, MoveLimits};
use crate::protocol::node::NodeConfig;
use crate::protocol::{Command, Exit};
use crate::session::SharedSession;
use crate::sim::oracle::{Observed, Violation};
use crate::sim::rng::Rng;
use crate::sim::world::{Failure, Plan, settings, settings_of};
use crate::task::Task;
use crate::tenure::Tenure;

use super::clock::ProcessClock;
use super::link::Link;
use super::process::Driven;
use super::state::{Shared, State};
use super::user::{User, busy};

/// The time between two looks of the world at what is due.
const LOOK: Duration = Duration::from_millis(20);

/// The settings of the members: every limit of the user's code is short.
fn short_limits(settings: CoordinatorConfig) -> CoordinatorConfig {
    CoordinatorConfig {
        plan_timeout: Duration::from_secs(2),
        assign_timeout: Duration::from_secs(3),
        revoke_timeout: Duration::from_secs(3),
        provider_timeout: Duration::from_secs(2),
        ..settings
    }
}

/// Runs a plan. The same plan runs in the same way each time.
///
/// # Errors
/// The first property that did not hold.
pub(crate) fn run(plan: &Plan) -> Result<u64, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        let mut world = World::new(plan);
        let outcome = world.live(plan).await;
        let mut state = world.shared.lock();
        match outcome {
            Ok(()) => Ok(state.steps),
            Err(violation) => Err(Failure {
                violation,
                at: state.now(),
                steps: state.steps,
                misfortunes: state.misfortunes,
                trace: state.trace.take().unwrap_or_default(),
            }),
        }
    })
}

pub(super) struct World {
    pub(super) shared: Shared,
    pub(super) instances: Vec<InstanceId>,
    plan: Plan,
    /// The processes that are to start, and the pauses that are to end.
    pub(super) starts: Vec<(Duration, InstanceId)>,
    pub(super) resumes: Vec<(Duration, usize)>,
}

impl World {
    fn new(plan: &Plan) -> Self {
        let mut rng = Rng::new(plan.seed);
        let members = 2 + rng.below(if plan.small { 1 } else { 3 });
        let count = 2 + rng.below(if plan.small { 1 } else { 6 });
        let name = |name: &&str| InstanceId::new(name).unwrap();
        let instances = ["a", "b", "c", "d"][..members as usize].iter().map(name).collect();
        let tasks = (0..count).map(|task| Task::new(format!("task-{task}"), "0")).collect();
        let shared = Shared::new(rng, tasks, plan.only.clone(), plan.traced);
        Self { shared, instances, plan: plan.clone(), starts: Vec::new(), resumes: Vec::new() }
    }

    async fn live(&mut self, plan: &Plan) -> Result<(), Violation> {
        for instance in self.instances.clone() {
            let after = self.shared.lock().rng.millis(0..300);
            self.starts.push((after, instance));
        }
        self.until(plan.faulty_for, true).await?;
        self.heal();
        // What hung runs into its limit first; then sessions end, and what failed is tried again, later and later.
        let limits = short_limits(settings());
        let bound = limits.ttl * 3 + limits.assign_timeout + limits.plan_timeout + Duration::from_secs(90);
        let healed = self.shared.lock().now();
        self.until(healed + Duration::from_secs(1), false).await?;
        while let Err(violation) = self.all_held() {
            if self.shared.lock().now() > healed + bound {
                return Err(violation);
            }
            let soon = self.shared.lock().now() + LOOK * 10;
            self.until(soon, false).await?;
        }
        self.all_leave().await
    }

    /// Lets time pass, with faults or without.
    async fn until(&mut self, end: Duration, faults: bool) -> Result<(), Violation> {
        let mut next = self.shared.lock().now() + Duration::from_millis(500);
        loop {
            let now = self.shared.lock().now();
            if now >= end {
                return Ok(());
            }
            if faults && now >= next {
                self.fault();
                next = now + self.shared.lock().rng.millis(5..1500);
            }
            self.due(now);
            {
                let mut state = self.shared.lock();
                state.store.expire(now);
                state.spread();
                state.check();
                let outcome = state.ends_well();
                state.violated(outcome);
                if let Some(violation) = state.violation.take() {
                    return Err(violation);
                }
            }
            sleep(LOOK.min(end - now)).await;
        }
    }

    fn due(&mut self, now: Duration) {
        for (at, instance) in std::mem::take(&mut self.starts) {
            if at <= now { self.start(&instance) } else { self.starts.push((at, instance)) }
        }
        for (at, ix) in std::mem::take(&mut self.resumes) {
            if at <= now { self.shared.lock().resume(ix) } else { self.resumes.push((at, ix)) }
        }
    }

    fn start(&mut self, instance: &InstanceId) {
        let mut state = self.shared.lock();
        let ix = state.processes.len();
        state.note(|| format!("{instance} starts (process {ix})"));
        let rate = 995_000 + state.rng.below(10_001);
        let clock = Arc::new(ProcessClock::new(state.origin, rate));
        let limits = state.limits();
        let most = if state.rng.per_mille(300) { 1 } else { 1000 };
        let user = Arc::new(User { shared: self.shared.clone(), process: ix });
        let settings = short_limits(settings_of(self.plan.seed, instance));
        let leader = LeaderConfig {
            keys: state.keys.clone(),
            assignor: Assignor::name(&*user),
            limits,
            settle: settings.settle,
            mode: settings.mode,
            companions: settings.companions,
            provider_period: settings.provider_period,
            moves: MoveLimits { most, ..MoveLimits::from(&settings) },
            patience: settings.ttl,
            has_floor: true,
            rules: self.plan.rules,
        };
        let config = NodeConfig { instance: instance.clone(), settings, leader };
        let link = Arc::new(Link { shared: self.shared.clone(), process: ix, limits });
        // As a process with members in several groups does.
        let shares = state.rng.per_mille(300);
        let tenure = Tenure::new(clock.clone());
        let (of_plans, of_sessions) = (self.shared.clone(), self.shared.clone());
        let ports = Ports {
            store: if shares { Arc::new(SharedSession::with_clock(link, clock.clone())) } else { link },
            worker: user.clone(),
            provider: user.clone(),
            floor: Some(user.clone()),
            assignor: user,
            clock: clock.clone(),
            tenure: tenure.clone(),
            place: Place::Simulated(Arc::new(move || busy(&of_plans))),
            incarnations: Arc::new(move || of_sessions.lock().incarnation()),
        };
        let (commands, receiver) = mpsc::channel(16);
        let (to_held, held) = watch::channel(HeldTasks::new());
        let (to_status, status) = watch::channel(MemberStatus::default());
        let listeners = Arc::new(Listeners::default());
        let board = Board {
            group: GroupId::new("p", "b", "t").unwrap(),
            instance: instance.clone(),
            events: listeners.clone(),
            held: to_held,
            status: to_status,
        };
        let events = listeners.listen();
        let (driver, actions) = Driver::new(ports, config, receiver, CancellationToken::new(), board);
        let life = tokio::spawn(driver.run(actions)).abort_handle();
        state.processes.push(Driven {
            instance: instance.clone(),
            clock,
            commands,
            status,
            held,
            events,
            tenure,
            life,
            running: Default::default(),
            beyond_reach: Default::default(),
            left_behind: Default::default(),
            failed: Default::default(),
            session: None,
            stopping: false,
            told_to_end: false,
            killed: false,
            paused: false,
            resumed: Arc::default(),
            pause_ended: Duration::ZERO,
            cut_until: Duration::ZERO,
        });
    }

    fn heal(&mut self) {
        let now = {
            let mut state = self.shared.lock();
            state.note(|| "healed".to_owned());
            state.faulty = false;
            state.room = None;
            let now = state.now();
            for ix in 0..state.processes.len() {
                state.processes[ix].cut_until = now;
                state.resume(ix);
                // A process in which something hangs or has panicked is ended by its supervisor.
                let process = &state.processes[ix];
                let hangs = !process.beyond_reach.is_empty() || !process.left_behind.is_empty();
                if hangs && process.is_up() {
                    state.kill(ix);
                }
            }
            now
        };
        self.starts.clear();
        self.resumes.clear();
        for instance in &self.instances {
            let stays = |process: &Driven| process.is_up() && !process.told_to_end;
            let up = self.shared.lock().processes.iter().any(|p| stays(p) && p.instance == *instance);
            if !up {
                self.starts.push((now, instance.clone()));
            }
        }
    }

    /// P6.
    fn all_held(&self) -> Result<(), Violation> {
        let state = self.shared.lock();
        for task in &state.tasks {
            let holds = |process: &&Driven| {
                process.is_up()
                    && process.held.borrow().get(&task.key).is_some_and(|h| h.task.value == task.value)
            };
            let holders: Vec<_> = state.processes.iter().filter(holds).collect();
            if holders.len() != 1 || !state.oracle.session_lives(holders[0]) {
                let names: Vec<_> = holders.iter().map(|process| process.instance.to_string()).collect();
                return Err(format!("P6: {} is held by {names:?} long after the last fault", task.key));
            }
        }
        Ok(())
    }

    /// Every member that is told to leave has left by its limits, and nothing of it runs.
    async fn all_leave(&mut self) -> Result<(), Violation> {
        let limits = short_limits(settings());
        let bound = limits.drain_timeout + limits.assign_timeout + limits.revoke_timeout + limits.ttl;
        let told = {
            let mut state = self.shared.lock();
            state
                .processes
                .iter_mut()
                .filter(|p| p.is_up())
                .for_each(|process| process.order(Command::Close));
            state.now()
        };
        self.until(told + bound, false).await?;
        let state = self.shared.lock();
        match state.processes.iter().find(|process| process.is_up()) {
            Some(process) => Err(format!("P8: {} was told to leave and is still there", process.instance)),
            None => Ok(()),
        }
    }
}

impl State {
    /// Writes of few operations, or of few bytes; but not both, as a split takes several operations.
    fn limits(&mut self) -> TxnLimits {
        match self.rng.below(10) {
            0..3 => TxnLimits { ops: 5, bytes: 1 << 20 },
            3..5 => TxnLimits { ops: 128, bytes: 2048 },
            _ => TxnLimits { ops: 128, bytes: 1 << 20 },
        }
    }

    fn resume(&mut self, ix: usize) {
        let now = self.now();
        let process = &mut self.processes[ix];
        if std::mem::take(&mut process.paused) {
            process.clock.go_on();
            process.pause_ended = now;
            process.resumed.notify_waiters();
        }
    }

    /// A driver ends as it is told to, with nothing running, and never by a defect.
    fn ends_well(&mut self) -> Result<(), Violation> {
        for process in self.processes.iter().filter(|process| !process.killed) {
            let (name, running) = (&process.instance, &process.running);
            let Some(exit) = process.exit() else { continue };
            if let Exit::Failed(why) = &exit {
                return Err(format!("D1: the driver of {name} has failed: {why}"));
            }
            let named = |key: &Arc<str>| matches!(&exit, Exit::StillRunning(keys) if keys.contains(key));
            let mut left = running.keys().chain(process.left_behind.keys());
            if let Some(key) = left.find(|key| !named(key)) {
                return Err(format!("D1: {name} has ended ({exit:?}) and does not say that {key} may run"));
            }
        }
        Ok(())
    }
}
