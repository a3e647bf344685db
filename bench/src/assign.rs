//! Planning: how long assignors need to say which task goes where, and what the leader makes of it needs in all.

use std::time::Instant;

use clap::Args;
use lrmf_core::assignor::{
    Assignor, Candidate, ConsistentHashing, LoadAware, LoadReport, MemberIx, Placement, Problem,
    StickyBalanced, StickyWeighted, StringOrderEvenly, ZoneAware,
};
use lrmf_core::{InstanceId, Task};
use serde_json::json;

use crate::leading::{self, Led};
use crate::report::Report;

#[derive(Args)]
pub(crate) struct Options {
    /// The number of tasks
    #[arg(long, default_value_t = 1_000_000)]
    tasks: usize,
    /// The number of members
    #[arg(long, default_value_t = 10_000)]
    members: usize,
}

pub(crate) fn run(options: &Options, runs: usize) -> anyhow::Result<Vec<Report>> {
    anyhow::ensure!(options.members > 1, "--members is {}; at least 2 are needed", options.members);
    let zones = ZoneAware::default();
    let loads = LoadAware::default();
    let assignors: [&dyn Assignor; 6] =
        [&StickyBalanced, &StickyWeighted, &ConsistentHashing::default(), &StringOrderEvenly, &zones, &loads];
    let mut reports = assignors
        .into_iter()
        .map(|assignor| measure(assignor, options, runs))
        .collect::<anyhow::Result<Vec<_>>>()?;
    reports.push(lead(options, runs)?);
    Ok(reports)
}

/// The leader's own work: news of a member taken in, the plan, the records and transactions that come of it.
fn lead(options: &Options, runs: usize) -> anyhow::Result<Report> {
    let params = json!({ "tasks": options.tasks, "members": options.members, "what": "the leader's steps" });
    let mut report = Report::new("assign", params);
    let mut led = Led::new(options.tasks, options.members)?;
    report.add("load_ms", led.load_ms);
    report.add("same_list_ms", led.relist_ms);
    for [join, loss] in leading::changes(&mut led, options.tasks, options.members, runs)? {
        report.add("join_first_ms", join.first_ms);
        report.add("join_all_ms", join.all_ms);
        report.add("join_steps", join.steps as f64);
        report.add("loss_first_ms", loss.first_ms);
        report.add("loss_all_ms", loss.all_ms);
    }
    report.add("pin_ms", led.pin(0, 1)?.all_ms);
    for [join, loss] in leading::changes(&mut led, options.tasks, options.members, runs)? {
        report.add("pinned_join_first_ms", join.first_ms);
        report.add("pinned_loss_first_ms", loss.first_ms);
    }
    report.add_peak_memory("peak_rss_mb");
    Ok(report)
}

/// A group with one member to spare.
struct Group {
    tasks: Vec<Task>,
    members: Vec<Candidate>,
}

impl Group {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let tasks = (0..options.tasks).map(|task| Task::new(format!("task-{task:09}"), "")).collect();
        let member = |member: usize| {
            let instance = InstanceId::new(&format!("member-{member:06}"))?;
            // As planners see them that look at zones and loads: three zones, everybody at half of what it bears.
            let zone = Some(format!("zone-{}", member % 3).into());
            let load =
                Some(LoadReport { per_mille: 500, tasks: u32::try_from(options.tasks / options.members)? });
            Ok(Candidate { instance, capacity: 1, zone, load })
        };
        let members = (0..=options.members).map(member).collect::<anyhow::Result<_>>()?;
        Ok(Self { tasks, members })
    }

    fn plan(
        &self,
        assignor: &dyn Assignor,
        members: &[Candidate],
        holders: &[Option<MemberIx>],
    ) -> anyhow::Result<(Vec<Placement>, f64)> {
        let problem = Problem { tasks: &self.tasks, members, holders };
        let started = Instant::now();
        let plan = assignor.plan(&problem)?;
        Ok((plan, started.elapsed().as_secs_f64() * 1000.0))
    }
}

fn measure(assignor: &dyn Assignor, options: &Options, runs: usize) -> anyhow::Result<Report> {
    let group = Group::new(options)?;
    let params = json!({ "tasks": options.tasks, "members": options.members, "assignor": assignor.name() });
    let mut report = Report::new("assign", params);
    let (all, fewer) = (&group.members[..], &group.members[..options.members]);
    for _ in 0..runs {
        let mut holders = vec![None; options.tasks];
        let (full, ms) = group.plan(assignor, fewer, &holders)?;
        report.add("full_ms", ms);
        apply(&full, &mut holders);
        let (join, ms) = group.plan(assignor, all, &holders)?;
        report.add("join_ms", ms);
        report.add("join_moves", join.len() as f64);
        report.add("join_moves_bound", options.tasks.div_ceil(options.members + 1) as f64);
        apply(&join, &mut holders);
        // The last member leaves: what it held is held by nobody.
        let gone = u32::try_from(options.members)?;
        let orphans = holders.iter_mut().filter(|holder| **holder == Some(gone));
        report.add("leave_orphans", orphans.map(|holder| *holder = None).count() as f64);
        let (leave, ms) = group.plan(assignor, fewer, &holders)?;
        report.add("leave_ms", ms);
        report.add("leave_moves", leave.len() as f64);
        apply(&leave, &mut holders);
        let (least, most) = loads(&holders, options.members);
        report.add("min_load", least as f64);
        report.add("max_load", most as f64);
    }
    report.add_peak_memory("peak_rss_mb");
    Ok(report)
}

fn apply(plan: &[Placement], holders: &mut [Option<MemberIx>]) {
    for placement in plan {
        holders[placement.task as usize] = Some(placement.to);
    }
}

fn loads(holders: &[Option<MemberIx>], members: usize) -> (usize, usize) {
    let mut loads = vec![0; members];
    holders.iter().flatten().for_each(|holder| loads[*holder as usize] += 1);
    (loads.iter().copied().min().unwrap_or(0), loads.iter().copied().max().unwrap_or(0))
}
