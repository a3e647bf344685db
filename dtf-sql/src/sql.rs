//! The statements. Each file says its parameters and its result.

pub(crate) const ACTIVE: &str = include_str!("../sql/active.sql");
pub(crate) const APPLIED: &str = include_str!("../sql/applied.sql");
/// A row of `begin_runs.sql`.
pub(crate) const BEGIN_RUNS_ROW: &str =
    "SELECT CAST(? AS SIGNED) AS task, CAST(? AS SIGNED) AS run, CAST(? AS SIGNED) AS time_now";
/// A row of `finish_all.sql`.
pub(crate) const FINISH_ALL_ROW: &str = "SELECT CAST(? AS SIGNED) AS task, CAST(? AS SIGNED) AS run, \
     CAST(? AS SIGNED) AS time_now, CAST(? AS SIGNED) AS created, CAST(? AS SIGNED) AS succeeded, \
     CAST(? AS SIGNED) AS failed, CAST(? AS SIGNED) AS cancelled, CAST(? AS SIGNED) AS timed_out, \
     ? AS result, CAST(? AS SIGNED) AS status";
pub(crate) const BEGIN_RUN: &str = include_str!("../sql/begin_run.sql");
pub(crate) const BULK: &str = include_str!("../sql/bulk/get.sql");
pub(crate) const BULKS_DUE: &str = include_str!("../sql/bulk/due.sql");
pub(crate) const TASKS_OF_BULK: &str = include_str!("../sql/bulk/tasks.sql");
pub(crate) const UPDATE_BULK: &str = include_str!("../sql/bulk/update.sql");
pub(crate) const CLOSE_ENTRY: &str = include_str!("../sql/close_entry.sql");
pub(crate) const COUNT_FAILURES: &str = include_str!("../sql/count_failures.sql");
pub(crate) const CREATED: &str = include_str!("../sql/created.sql");
pub(crate) const END: &str = include_str!("../sql/end.sql");
pub(crate) const ENTRIES: &str = include_str!("../sql/entries.sql");
pub(crate) const ERRORS: &str = include_str!("../sql/errors.sql");
pub(crate) const FAILURES: &str = include_str!("../sql/failures.sql");
pub(crate) const FINISH: &str = include_str!("../sql/finish.sql");
pub(crate) const FORGET: &str = include_str!("../sql/forget.sql");
pub(crate) const FORGETTABLE: &str = include_str!("../sql/forgettable.sql");
pub(crate) const FORGET_FAILURES: &str = include_str!("../sql/forget_failures.sql");
pub(crate) const EMPTY_ITEMS: &str = include_str!("../sql/items/empty.sql");
pub(crate) const FEED: &str = include_str!("../sql/items/feed.sql");
pub(crate) const ITEMS: &str = include_str!("../sql/items/read.sql");
pub(crate) const LAST_CHUNK: &str = include_str!("../sql/items/last_chunk.sql");
pub(crate) const LAST_OF_PRODUCERS: &str = include_str!("../sql/items/last.sql");
pub(crate) const GET: &str = include_str!("../sql/get.sql");
pub(crate) const GROUP: &str = include_str!("../sql/group.sql");
pub(crate) const GROUPS: &str = include_str!("../sql/groups.sql");
pub(crate) const GROUPS_NAMED: &str = include_str!("../sql/groups_named.sql");
pub(crate) const LIST: &str = include_str!("../sql/list.sql");
pub(crate) const NEXT_HISTORY: &str = include_str!("../sql/next_history.sql");
pub(crate) const NOTE: &str = include_str!("../sql/note.sql");
pub(crate) const OLDEST_KEPT: &str = include_str!("../sql/oldest_kept.sql");
pub(crate) const PAUSE: &str = include_str!("../sql/pause.sql");
pub(crate) const PURGED: &str = include_str!("../sql/purged.sql");
pub(crate) const REMOVE_TOKEN: &str = include_str!("../sql/remove_token.sql");
pub(crate) const REPLACE_NOTE: &str = include_str!("../sql/replace_note.sql");
pub(crate) const RESULTS: &str = include_str!("../sql/results.sql");
pub(crate) const RESUME: &str = include_str!("../sql/resume.sql");
pub(crate) const DELETE_SCHEDULE: &str = include_str!("../sql/schedule/delete.sql");
pub(crate) const SCHEDULES: &str = include_str!("../sql/schedule/list.sql");
pub(crate) const SCHEDULES_DUE: &str = include_str!("../sql/schedule/due.sql");
pub(crate) const SCHEDULE_NAMED: &str = include_str!("../sql/schedule/named.sql");
pub(crate) const SCHEDULE_NEXT: &str = include_str!("../sql/schedule/next.sql");
pub(crate) const SCHEDULE_REQUESTED: &str = include_str!("../sql/schedule/requested.sql");
pub(crate) const UPDATE_SCHEDULE: &str = include_str!("../sql/schedule/update.sql");
/// A row of `update_schedules.sql`.
pub(crate) const UPDATE_SCHEDULES_ROW: &str = "SELECT CAST(? AS SIGNED) AS schedule, CAST(? AS SIGNED) AS revision, \
     CAST(? AS SIGNED) AS next_at, ? AS state";
pub(crate) const DUE_HOOKS: &str = include_str!("../sql/hook/due.sql");
pub(crate) const NEXT_HOOK: &str = include_str!("../sql/hook/next.sql");
pub(crate) const UPDATE_HOOKS: &str = include_str!("../sql/hook/update.sql");
pub(crate) const DEPENDED_ON: &str = include_str!("../sql/flow/depended_on.sql");
pub(crate) const DEPENDENCIES: &str = include_str!("../sql/flow/dependencies.sql");
pub(crate) const END_WAITING: &str = include_str!("../sql/flow/end_waiting.sql");
pub(crate) const FLOW: &str = include_str!("../sql/flow/flow.sql");
pub(crate) const FLOWS: &str = include_str!("../sql/flow/flows.sql");
pub(crate) const FLOW_COUNTS: &str = include_str!("../sql/flow/counts.sql");
pub(crate) const FLOW_TASKS: &str = include_str!("../sql/flow/tasks.sql");
pub(crate) const FORGET_AFTER: &str = include_str!("../sql/flow/forget.sql");
pub(crate) const RELEASE: &str = include_str!("../sql/flow/release.sql");
pub(crate) const RELEASE_WITH: &str = include_str!("../sql/flow/release_with.sql");
pub(crate) const REQUESTS: &str = include_str!("../sql/flow/requests.sql");
pub(crate) const TOLD: &str = include_str!("../sql/flow/told.sql");
pub(crate) const UNIQUE_HOLDER: &str = include_str!("../sql/unique/holder.sql");
pub(crate) const UNIQUE_LAPSE: &str = include_str!("../sql/unique/lapse.sql");
pub(crate) const UNTOLD: &str = include_str!("../sql/flow/untold.sql");
pub(crate) const WITH_UNTOLD: &str = include_str!("../sql/flow/with_untold.sql");
pub(crate) const DEFINED_TYPE: &str = include_str!("../sql/defined_type/named.sql");
pub(crate) const DEFINED_TYPES: &str = include_str!("../sql/defined_type/list.sql");
pub(crate) const DELETE_TYPE: &str = include_str!("../sql/defined_type/delete.sql");
pub(crate) const UPDATE_TYPE: &str = include_str!("../sql/defined_type/update.sql");
pub(crate) const GATEWAYS: &str = include_str!("../sql/gateway/list.sql");
pub(crate) const WITHDRAW_GATEWAY: &str = include_str!("../sql/gateway/withdraw.sql");
pub(crate) const TOKEN: &str = include_str!("../sql/token.sql");
pub(crate) const TOKENS: &str = include_str!("../sql/tokens.sql");
pub(crate) const TOUCH_TOKEN: &str = include_str!("../sql/touch_token.sql");
pub(crate) const UNPURGED: &str = include_str!("../sql/unpurged.sql");

/// The oldest program, by the number of its last migration, that works with the schema as the last one here leaves it. That
/// one notes it in `tbl_cluster`.
pub(crate) const ACCEPTS: i64 = 5;

/// The statements that only SQLite understands.
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite {
    pub(crate) const FORGET_ALL_RESULTS: &str = include_str!("../sql/sqlite/forget_all_results.sql");
    pub(crate) const KEEP_RESULTS: &str = include_str!("../sql/sqlite/keep_results.sql");
    pub(crate) const APPEND_ITEMS: &str = include_str!("../sql/sqlite/append_items.sql");
    pub(crate) const DROP_ITEMS: &str = include_str!("../sql/sqlite/drop_items.sql");
    pub(crate) const FORGET_ALL_ITEMS: &str = include_str!("../sql/sqlite/forget_all_items.sql");
    pub(crate) const ANNOUNCE_GATEWAY: &str = include_str!("../sql/sqlite/announce_gateway.sql");
    pub(crate) const ADD_BULK: &str = include_str!("../sql/sqlite/add_bulk.sql");
    pub(crate) const FORGET_BULKS: &str = include_str!("../sql/sqlite/forget_bulks.sql");
    pub(crate) const ADD_ENTRIES: &str = include_str!("../sql/sqlite/add_entries.sql");
    pub(crate) const ADD_ENTRY_OF_SCHEDULE: &str = include_str!("../sql/sqlite/add_entry_of_schedule.sql");
    pub(crate) const ADD_TOKEN: &str = include_str!("../sql/sqlite/add_token.sql");
    pub(crate) const FORGET_ENTRIES: &str = include_str!("../sql/sqlite/forget_entries.sql");
    pub(crate) const FORGET_ALL_FAILURES: &str = include_str!("../sql/sqlite/forget_all_failures.sql");
    pub(crate) const BEGIN_RUNS: &str = include_str!("../sql/sqlite/begin_runs.sql");
    pub(crate) const FINISH_ALL: &str = include_str!("../sql/sqlite/finish_all.sql");
    pub(crate) const INSERT: &str = include_str!("../sql/sqlite/insert.sql");
    pub(crate) const INSERT_AFTER: &str = include_str!("../sql/sqlite/insert_after.sql");
    pub(crate) const INSERT_FLOW: &str = include_str!("../sql/sqlite/insert_flow.sql");
    pub(crate) const INSERT_FLOW_TASKS: &str = include_str!("../sql/sqlite/insert_flow_tasks.sql");
    pub(crate) const INSERT_SCHEDULE: &str = include_str!("../sql/sqlite/insert_schedule.sql");
    pub(crate) const INSERT_TYPE: &str = include_str!("../sql/sqlite/insert_type.sql");
    pub(crate) const INSERT_UNIQUE: &str = include_str!("../sql/sqlite/insert_unique.sql");
    pub(crate) const KEEP_FAILURES: &str = include_str!("../sql/sqlite/keep_failures.sql");
    pub(crate) const UPDATE_SCHEDULES: &str = include_str!("../sql/sqlite/update_schedules.sql");
    pub(crate) const NOTE_ONCE: &str = include_str!("../sql/sqlite/note_once.sql");
    pub(crate) const SET_GROUP: &str = include_str!("../sql/sqlite/set_group.sql");
    pub(crate) const MIGRATIONS: [&str; 14] = [
        include_str!("../migrations/sqlite/0001_tbl_task.sql"),
        include_str!("../migrations/sqlite/0002_tbl_resource_group.sql"),
        include_str!("../migrations/sqlite/0003_limits_retries_cluster.sql"),
        include_str!("../migrations/sqlite/0004_tbl_task_failure.sql"),
        include_str!("../migrations/sqlite/0005_type_version.sql"),
        include_str!("../migrations/sqlite/0006_history.sql"),
        include_str!("../migrations/sqlite/0007_tokens_audit_results.sql"),
        include_str!("../migrations/sqlite/0008_tbl_schedule.sql"),
        include_str!("../migrations/sqlite/0009_tbl_flow.sql"),
        include_str!("../migrations/sqlite/0010_unique.sql"),
        include_str!("../migrations/sqlite/0011_hooks.sql"),
        include_str!("../migrations/sqlite/0012_tbl_task_item.sql"),
        include_str!("../migrations/sqlite/0013_types_gateways.sql"),
        include_str!("../migrations/sqlite/0014_bulk_paused_groups.sql"),
    ];
}

/// The statements that only MySQL and MariaDB understand.
#[cfg(feature = "mysql")]
pub(crate) mod mysql {
    pub(crate) const FORGET_ALL_RESULTS: &str = include_str!("../sql/mysql/forget_all_results.sql");
    pub(crate) const KEEP_RESULTS: &str = include_str!("../sql/mysql/keep_results.sql");
    pub(crate) const APPEND_ITEMS: &str = include_str!("../sql/mysql/append_items.sql");
    pub(crate) const DROP_ITEMS: &str = include_str!("../sql/mysql/drop_items.sql");
    pub(crate) const FORGET_ALL_ITEMS: &str = include_str!("../sql/mysql/forget_all_items.sql");
    pub(crate) const ANNOUNCE_GATEWAY: &str = include_str!("../sql/mysql/announce_gateway.sql");
    pub(crate) const ADD_BULK: &str = include_str!("../sql/mysql/add_bulk.sql");
    pub(crate) const FORGET_BULKS: &str = include_str!("../sql/mysql/forget_bulks.sql");
    pub(crate) const ADD_ENTRIES: &str = include_str!("../sql/mysql/add_entries.sql");
    pub(crate) const ADD_ENTRY_OF_SCHEDULE: &str = include_str!("../sql/mysql/add_entry_of_schedule.sql");
    pub(crate) const ADD_TOKEN: &str = include_str!("../sql/mysql/add_token.sql");
    pub(crate) const FORGET_ENTRIES: &str = include_str!("../sql/mysql/forget_entries.sql");
    pub(crate) const FORGET_ALL_FAILURES: &str = include_str!("../sql/mysql/forget_all_failures.sql");
    pub(crate) const BEGIN_RUNS: &str = include_str!("../sql/mysql/begin_runs.sql");
    pub(crate) const FINISH_ALL: &str = include_str!("../sql/mysql/finish_all.sql");
    pub(crate) const INSERT: &str = include_str!("../sql/mysql/insert.sql");
    pub(crate) const LOCK: &str = include_str!("../sql/mysql/lock.sql");
    pub(crate) const INSERT_AFTER: &str = include_str!("../sql/mysql/insert_after.sql");
    pub(crate) const INSERT_FLOW: &str = include_str!("../sql/mysql/insert_flow.sql");
    pub(crate) const INSERT_FLOW_TASKS: &str = include_str!("../sql/mysql/insert_flow_tasks.sql");
    pub(crate) const INSERT_SCHEDULE: &str = include_str!("../sql/mysql/insert_schedule.sql");
    pub(crate) const INSERT_TYPE: &str = include_str!("../sql/mysql/insert_type.sql");
    pub(crate) const INSERT_UNIQUE: &str = include_str!("../sql/mysql/insert_unique.sql");
    pub(crate) const KEEP_FAILURES: &str = include_str!("../sql/mysql/keep_failures.sql");
    pub(crate) const UPDATE_SCHEDULES: &str = include_str!("../sql/mysql/update_schedules.sql");
    pub(crate) const NOTE_ONCE: &str = include_str!("../sql/mysql/note_once.sql");
    pub(crate) const SET_GROUP: &str = include_str!("../sql/mysql/set_group.sql");
    pub(crate) const UNLOCK: &str = include_str!("../sql/mysql/unlock.sql");
    pub(crate) const MIGRATIONS: [&str; 14] = [
        include_str!("../migrations/mysql/0001_tbl_task.sql"),
        include_str!("../migrations/mysql/0002_tbl_resource_group.sql"),
        include_str!("../migrations/mysql/0003_limits_retries_cluster.sql"),
        include_str!("../migrations/mysql/0004_tbl_task_failure.sql"),
        include_str!("../migrations/mysql/0005_type_version.sql"),
        include_str!("../migrations/mysql/0006_history.sql"),
        include_str!("../migrations/mysql/0007_tokens_audit_results.sql"),
        include_str!("../migrations/mysql/0008_tbl_schedule.sql"),
        include_str!("../migrations/mysql/0009_tbl_flow.sql"),
        include_str!("../migrations/mysql/0010_unique.sql"),
        include_str!("../migrations/mysql/0011_hooks.sql"),
        include_str!("../migrations/mysql/0012_tbl_task_item.sql"),
        include_str!("../migrations/mysql/0013_types_gateways.sql"),
        include_str!("../migrations/mysql/0014_bulk_paused_groups.sql"),
    ];
}
