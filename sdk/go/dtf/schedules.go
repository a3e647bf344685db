package dtf

import (
	"context"
	"fmt"
	"net/url"
)

// Schedule is a schedule, as it was when it was asked for.
type Schedule struct {
	Name string `json:"name"`
	When string `json:"when"`
	// Words is When in words.
	Words  string `json:"words"`
	Zone   string `json:"zone"`
	Paused bool   `json:"paused"`
	// Upcoming are the next ten due times in milliseconds since the Unix epoch.
	Upcoming []int64 `json:"upcoming"`
}

// NewSchedule is a schedule that is about to be created by [Schedules.Create].
type NewSchedule struct {
	// Name is its name; no two schedules have the same.
	Name string
	// When is a cron expression, "@daily" or the like, or an interval such as "@every 90s".
	When string
	// Task is the task that each due time creates, such as map[string]any{"type": "noop", "param": …}. Either this or Flow. In texts of a
	// param, {{due}} stands for the due time.
	Task map[string]any
	// Flow is the flow that each due time creates.
	Flow *FlowBuilder
	// Zone is the time zone, such as "Europe/Berlin". Default "UTC".
	Zone string
	// Overlap says what happens while a task of it has not ended: skip, queue_one, allow or cancel_other. Default "skip".
	Overlap string
	// Fields are further fields, such as "catch_up_ms" and "jitter_ms".
	Fields map[string]any
}

// Schedules are the schedules of a service: tasks and flows that are created again and again.
type Schedules struct{ client *Client }

// Schedules returns the schedules of the service.
func (c *Client) Schedules() Schedules { return Schedules{c} }

// Create creates a schedule.
func (s Schedules) Create(ctx context.Context, schedule NewSchedule) (*Schedule, error) {
	body := map[string]any{"name": schedule.Name, "when": schedule.When}
	switch {
	case (schedule.Task == nil) == (schedule.Flow == nil):
		return nil, fmt.Errorf("schedule %q needs a Task or a Flow, and not both", schedule.Name)
	case schedule.Task != nil:
		body["task"] = schedule.Task
	case schedule.Flow.err != nil:
		return nil, schedule.Flow.err
	default:
		body["flow"] = schedule.Flow
	}
	for name, value := range map[string]string{"zone": schedule.Zone, "overlap": schedule.Overlap} {
		if value != "" {
			body[name] = value
		}
	}
	for name, value := range schedule.Fields {
		body[name] = value
	}
	created := new(Schedule)
	return created, s.client.post(ctx, "/v1/schedules", body, created)
}

// Get returns a schedule.
func (s Schedules) Get(ctx context.Context, name string) (*Schedule, error) {
	schedule := new(Schedule)
	_, err := s.client.send(ctx, "GET", schedulePath(name), "", nil, schedule)
	return schedule, err
}

// List calls `see` with the schedules, by name, until `see` returns an error.
func (s Schedules) List(ctx context.Context, see func(*Schedule) error) error {
	return pages(ctx, s.client, "/v1/schedules", "schedules", see)
}

// Pause has due times pass without effect.
func (s Schedules) Pause(ctx context.Context, name string) (*Schedule, error) {
	schedule := new(Schedule)
	return schedule, s.client.steer(ctx, schedulePath(name), "pause", schedule)
}

// Resume resumes a paused schedule.
func (s Schedules) Resume(ctx context.Context, name string) (*Schedule, error) {
	schedule := new(Schedule)
	return schedule, s.client.steer(ctx, schedulePath(name), "resume", schedule)
}

// Trigger creates a task of a schedule at once, and returns it; of a flow, its first one.
func (s Schedules) Trigger(ctx context.Context, name string) (*Task, error) {
	task := new(Task)
	return task, s.client.post(ctx, schedulePath(name)+"/trigger", nil, task)
}

// Backfill has the tasks of a period's due times created that are missing, so many at once. Times are in milliseconds since the Unix epoch.
func (s Schedules) Backfill(ctx context.Context, name string, from, until int64, concurrency int) (*Schedule, error) {
	schedule := new(Schedule)
	body := map[string]any{"from": from, "until": until, "concurrency": concurrency}
	return schedule, s.client.post(ctx, schedulePath(name)+"/backfill", body, schedule)
}

// Delete deletes a schedule; its tasks stay.
func (s Schedules) Delete(ctx context.Context, name string) error {
	_, err := s.client.send(ctx, "DELETE", schedulePath(name), "", nil, nil)
	return err
}

func schedulePath(name string) string { return "/v1/schedules/" + url.PathEscape(name) }
