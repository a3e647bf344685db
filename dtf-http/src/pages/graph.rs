//! The graph of a flow, drawn on the server: tasks in columns, each behind all that it waits for.

use std::collections::{BTreeMap, HashMap};

use dtf_api::{Flow, Task, TaskStatus};

/// The width of a task.
const WIDTH: u64 = 164;
/// The height of a task.
const HEIGHT: u64 = 44;
/// The distance between columns.
const ACROSS: u64 = 50;
/// The distance between the tasks of a column.
const DOWN: u64 = 12;
/// The most tasks that are drawn.
const MOST: usize = 400;
/// The longest name that is drawn, in characters.
const NAME: usize = 18;

/// A task of the graph.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// The name, as long as there is room for.
    pub(crate) short: String,
    pub(crate) status: &'static str,
    pub(crate) x: u64,
    pub(crate) y: u64,
}

/// A dependency of the graph.
pub(crate) struct Edge {
    pub(crate) path: String,
    pub(crate) when: &'static str,
}

/// A graph, with its size.
pub(crate) struct Graph {
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) node_width: u64,
    pub(crate) node_height: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
}

/// The state under which a flow counts a task.
fn state(task: &Task) -> &'static str {
    let has_failed =
        task.progress.is_some_and(|progress| progress.counts.failed + progress.counts.timed_out > 0);
    match task.status {
        _ if task.waits => "waiting",
        TaskStatus::Completed if has_failed => "failed",
        TaskStatus::Exceptional => "failed",
        status => status.name(),
    }
}

/// Draws a flow; none where it has too many tasks.
pub(crate) fn graph(flow: &Flow) -> Option<Graph> {
    if flow.tasks.len() > MOST {
        return None;
    }
    // Ids grow along dependencies, so one pass knows all columns.
    let mut columns: BTreeMap<u64, u64> = flow.tasks.iter().map(|task| (task.id, 0)).collect();
    for task in &flow.tasks {
        let before = flow
            .edges
            .iter()
            .filter(|edge| edge.task == task.id)
            .filter_map(|edge| columns.get(&edge.on))
            .max();
        let column = before.map_or(0, |before| before + 1);
        columns.insert(task.id, column);
    }
    let mut filled: HashMap<u64, u64> = HashMap::new();
    let mut nodes = Vec::with_capacity(flow.tasks.len());
    for task in &flow.tasks {
        let column = columns.get(&task.id).copied().unwrap_or_default();
        let row = filled.entry(column).or_default();
        let name = task.flow_task.clone().unwrap_or_else(|| task.id.to_string());
        let cut = name.chars().count() > NAME;
        let short = if cut { name.chars().take(NAME - 1).chain(['…']).collect() } else { name.clone() };
        let status = state(task);
        let (x, y) = (1 + column * (WIDTH + ACROSS), 1 + *row * (HEIGHT + DOWN));
        nodes.push(Node { id: task.id, name, short, status, x, y });
        *row += 1;
    }
    let places: HashMap<u64, (u64, u64)> = nodes.iter().map(|node| (node.id, (node.x, node.y))).collect();
    let edges = flow.edges.iter().filter_map(|edge| {
        let ((from_x, from_y), (to_x, to_y)) = (places.get(&edge.on)?, places.get(&edge.task)?);
        let (from_x, from_y, to_y) = (from_x + WIDTH, from_y + HEIGHT / 2, to_y + HEIGHT / 2);
        let (one, two) = (from_x + ACROSS / 2, to_x.saturating_sub(ACROSS / 2));
        let path = format!("M{from_x} {from_y} C{one} {from_y} {two} {to_y} {to_x} {to_y}");
        Some(Edge { path, when: edge.when.name() })
    });
    let (width, height) = nodes
        .iter()
        .fold((0, 0), |(width, height): (u64, u64), node| (width.max(node.x), height.max(node.y)));
    let (width, height) = (width + WIDTH + 1, height + HEIGHT + 1);
    let edges = edges.collect();
    Some(Graph { width, height, node_width: WIDTH, node_height: HEIGHT, nodes, edges })
}
