//! The least role that each route takes: the one table of it. A route without an entry is refused to everybody.

use axum::http::Method;
use dtf_model::token::TokenRole;

/// The right that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Least {
    /// None: it tells nothing of the cluster.
    Open,
    /// This role, or one that includes it.
    Role(TokenRole),
}

const OPEN: Least = Least::Open;
const WORKER: Least = Least::Role(TokenRole::Worker);
const READER: Least = Least::Role(TokenRole::Reader);
const OPERATOR: Least = Least::Role(TokenRole::Operator);
const ADMIN: Least = Least::Role(TokenRole::Admin);

/// The routes, by method and path.
pub(crate) const ROUTES: &[(Method, &str, Least)] = &[
    // The API.
    (Method::GET, "/openapi.json", OPEN),
    (Method::GET, "/v1/tasks", READER),
    (Method::POST, "/v1/tasks", OPERATOR),
    (Method::GET, "/v1/tasks/{id}", READER),
    (Method::POST, "/v1/tasks/{id}/pause", OPERATOR),
    (Method::POST, "/v1/tasks/{id}/resume", OPERATOR),
    (Method::POST, "/v1/tasks/{id}/cancel", OPERATOR),
    (Method::POST, "/v1/tasks/{id}/retry", OPERATOR),
    (Method::GET, "/v1/tasks/{id}/failures", READER),
    (Method::GET, "/v1/tasks/{id}/failures/kinds", READER),
    (Method::GET, "/v1/tasks/{id}/result", READER),
    (Method::GET, "/v1/tasks/{id}/results", READER),
    (Method::GET, "/v1/tasks/{id}/events", READER),
    (Method::POST, "/v1/tasks/{id}/hooks/{hook}/deliver", OPERATOR),
    (Method::GET, "/v1/tasks/{id}/items", READER),
    (Method::POST, "/v1/tasks/{id}/items", OPERATOR),
    (Method::POST, "/v1/tasks/{id}/close", OPERATOR),
    (Method::GET, "/v1/tasks/{id}/timeline", READER),
    (Method::GET, "/v1/events", READER),
    (Method::GET, "/v1/history", READER),
    (Method::POST, "/v1/bulk", OPERATOR),
    (Method::GET, "/v1/bulk/{id}", READER),
    (Method::GET, "/v1/groups", READER),
    (Method::GET, "/v1/groups/{name}", READER),
    (Method::PUT, "/v1/groups/{name}", OPERATOR),
    // Whoever has it can sign in the name of the group.
    (Method::GET, "/v1/groups/{name}/signing-secret", OPERATOR),
    (Method::POST, "/v1/groups/{name}/signing-secret", OPERATOR),
    (Method::GET, "/v1/types", READER),
    (Method::GET, "/v1/types/{name}", READER),
    (Method::PUT, "/v1/types/{name}", OPERATOR),
    (Method::DELETE, "/v1/types/{name}", OPERATOR),
    (Method::GET, "/v1/workers", READER),
    (Method::PUT, "/v1/workers/{name}/drain", OPERATOR),
    (Method::GET, "/v1/placement/{role}", READER),
    (Method::POST, "/v1/placement/{role}/pin", OPERATOR),
    (Method::POST, "/v1/placement/{role}/unpin", OPERATOR),
    (Method::POST, "/v1/placement/{role}/freeze", OPERATOR),
    (Method::POST, "/v1/placement/{role}/unfreeze", OPERATOR),
    // These break off what runs.
    (Method::POST, "/v1/placement/{role}/evict", ADMIN),
    (Method::POST, "/v1/placement/{role}/force-release", ADMIN),
    (Method::GET, "/v1/cluster", READER),
    (Method::GET, "/v1/doctor", READER),
    (Method::GET, "/v1/schedules", READER),
    (Method::POST, "/v1/schedules", OPERATOR),
    (Method::GET, "/v1/schedules/{name}", READER),
    (Method::DELETE, "/v1/schedules/{name}", OPERATOR),
    (Method::POST, "/v1/schedules/{name}/pause", OPERATOR),
    (Method::POST, "/v1/schedules/{name}/resume", OPERATOR),
    (Method::POST, "/v1/schedules/{name}/trigger", OPERATOR),
    (Method::POST, "/v1/schedules/{name}/backfill", OPERATOR),
    (Method::GET, "/v1/flows", READER),
    (Method::POST, "/v1/flows", OPERATOR),
    (Method::GET, "/v1/flows/{id}", READER),
    (Method::GET, "/v1/flows/{id}/events", READER),
    (Method::POST, "/v1/flows/{id}/pause", OPERATOR),
    (Method::POST, "/v1/flows/{id}/resume", OPERATOR),
    (Method::POST, "/v1/flows/{id}/cancel", OPERATOR),
    (Method::POST, "/v1/flows/{id}/retry", OPERATOR),
    (Method::GET, "/v1/tokens", ADMIN),
    (Method::POST, "/v1/tokens", ADMIN),
    (Method::DELETE, "/v1/tokens/{id}", ADMIN),
    (Method::GET, "/v1/audit", ADMIN),
    (Method::POST, "/v1/work/poll", WORKER),
    (Method::POST, "/v1/work/report", WORKER),
    (Method::POST, "/v1/work/beat", WORKER),
    (Method::POST, "/v1/work/leave", WORKER),
    (Method::GET, "/v1/work/workers", READER),
    (Method::GET, "/v1/work/items", READER),
    (Method::POST, "/v1/work/workers/{name}/drain", OPERATOR),
    // The files of the dashboard, and the way in.
    (Method::GET, "/assets/style.css", OPEN),
    (Method::GET, "/assets/htmx.min.js", OPEN),
    (Method::GET, "/assets/live.js", OPEN),
    (Method::GET, "/assets/charts.js", OPEN),
    (Method::GET, "/assets/uplot.min.js", OPEN),
    (Method::GET, "/assets/uplot.css", OPEN),
    (Method::GET, "/favicon.ico", OPEN),
    (Method::GET, "/docs", OPEN),
    (Method::GET, "/login", OPEN),
    (Method::POST, "/login", OPEN),
    (Method::POST, "/logout", OPEN),
    // The dashboard.
    (Method::GET, "/", READER),
    (Method::GET, "/tasks", READER),
    (Method::POST, "/tasks", OPERATOR),
    (Method::GET, "/tasks/new", OPERATOR),
    (Method::GET, "/tasks/{id}", READER),
    (Method::POST, "/tasks/{id}/{action}", OPERATOR),
    (Method::POST, "/tasks/{id}/hooks/{hook}/deliver", OPERATOR),
    (Method::POST, "/bulk", OPERATOR),
    (Method::GET, "/bulk/{id}", READER),
    (Method::GET, "/groups", READER),
    (Method::POST, "/groups", OPERATOR),
    (Method::GET, "/groups/{name}", READER),
    (Method::POST, "/groups/{name}", OPERATOR),
    (Method::POST, "/groups/{name}/pause", OPERATOR),
    (Method::POST, "/groups/{name}/resume", OPERATOR),
    (Method::GET, "/types", READER),
    (Method::GET, "/types/{name}", READER),
    (Method::POST, "/types/{name}/tasks", OPERATOR),
    (Method::GET, "/workers", READER),
    (Method::POST, "/workers/{name}/drain", OPERATOR),
    (Method::GET, "/cluster", READER),
    (Method::GET, "/placement/{role}", READER),
    (Method::POST, "/placement/{role}/pin", OPERATOR),
    (Method::POST, "/placement/{role}/unpin", OPERATOR),
    (Method::POST, "/placement/{role}/freeze", OPERATOR),
    (Method::POST, "/placement/{role}/unfreeze", OPERATOR),
    (Method::POST, "/placement/{role}/evict", ADMIN),
    (Method::POST, "/placement/{role}/force-release", ADMIN),
    (Method::GET, "/schedules", READER),
    (Method::POST, "/schedules", OPERATOR),
    (Method::GET, "/schedules/new", OPERATOR),
    (Method::GET, "/schedules/{name}", READER),
    (Method::POST, "/schedules/{name}/pause", OPERATOR),
    (Method::POST, "/schedules/{name}/resume", OPERATOR),
    (Method::POST, "/schedules/{name}/trigger", OPERATOR),
    (Method::POST, "/schedules/{name}/backfill", OPERATOR),
    (Method::POST, "/schedules/{name}/delete", OPERATOR),
    (Method::GET, "/flows", READER),
    (Method::GET, "/flows/{id}", READER),
    (Method::POST, "/flows/{id}/{action}", OPERATOR),
    (Method::GET, "/tokens", ADMIN),
    (Method::POST, "/tokens", ADMIN),
    (Method::POST, "/tokens/{id}/revoke", ADMIN),
    (Method::GET, "/audit", ADMIN),
];

/// Returns the right that a route takes; `None` where the table has no such route.
pub(crate) fn least_role(method: &Method, path: &str) -> Option<Least> {
    ROUTES.iter().find(|(of, at, _)| of == method && *at == path).map(|(_, _, least)| *least)
}
