//! The types of the HTTP API: what requests and responses look like on the wire. There is no IO here, so clients and servers
//! share them.
//!
//! Times are milliseconds since the Unix epoch, durations are milliseconds, ids are numbers. Requests refuse fields that they do
//! not know; clients must ignore response fields that they do not know, since new ones may be added within `/v1`.

mod audit;
mod bulk;
mod cluster;
mod event;
mod failure;
mod flow;
mod group;
mod history;
mod hook;
mod item;
mod object;
mod problem;
mod result;
mod schedule;
mod task;
mod task_type;
mod timeline;
mod token;
mod work;
mod worker;

pub use audit::{AuditEntry, AuditOutcome, AuditPage, AuditQuery};
pub use bulk::{Bulk, BulkAction, BulkRequest, BulkStatus, Refused};
pub use cluster::{Cluster, Finding, RoleState, Shape, Verdict};
pub use event::{ActiveTask, ActiveTasks, StreamEvent};
pub use failure::{Failure, FailureKind, FailurePage, FailureQuery};
pub use flow::{
    After, Condition, Flow, FlowAfter, FlowCounts, FlowEdge, FlowPage, FlowQuery, FlowSummary, FlowTask,
    NewFlow,
};
pub use group::{Group, Limits, MeasuredGroup, SetGroup};
pub use history::{GroupHistory, History, HistoryQuery, Span};
pub use hook::{Hook, HookDelivery, HookState, SigningSecret};
pub use item::{Fed, FeedQuery, ItemFeed, ProducerQuery};
pub use problem::{Code, Problem};
pub use result::{KeptResult, ResultPage, ResultQuery};
pub use schedule::{
    BackfillView, DueCause, DueEntry, DueOutcome, DueTotals, NewBackfill, NewSchedule, Overlap, Schedule,
    SchedulePage, ScheduleQuery,
};
pub use task::{
    Counts, Creator, NewTask, Progress, Task, TaskControl, TaskPage, TaskQuery, TaskResult, TaskStatus,
    Unique, UniqueWhile,
};
pub use task_type::{DefineType, Definition, TaskType, TypeQuery};
pub use timeline::{Moment, TimelineEntry};
pub use token::{CreatedToken, NewToken, Token, TokenRole};
pub use work::{
    Beat, ItemNote, ItemReport, Leave, News, Poll, RemoteWorker, ReportWork, Reported, RunningItem,
    RunningQuery, Work, WorkItem, WorkerInfo,
};
pub use worker::{
    Drain, Eviction, Freeze, Holding, HoldingState, KnownType, Member, MemberState, Move, Part, Pin,
    Placement, Role, Slots, StuckCall, Worker,
};
