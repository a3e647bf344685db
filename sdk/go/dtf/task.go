package dtf

import (
	"encoding/json"
	"time"
)

// Progress is the number of a task's items by outcome.
type Progress struct {
	Created   uint64 `json:"created"`
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
	TimedOut  uint64 `json:"timed_out"`
	Cancelled uint64 `json:"cancelled"`
}

// Task is a task, as it was when it was asked for.
type Task struct {
	ID    uint64 `json:"id"`
	Type  string `json:"type"`
	Name  string `json:"name"`
	Group string `json:"group"`
	// Status is created, running, paused, cancelled, completed, exceptional or skipped.
	Status string `json:"status"`
	// Reason is the reason of the status, where there is something to say.
	Reason   string   `json:"reason"`
	Progress Progress `json:"progress"`
	// BlockedOn are the conditions that it waits for, such as a worker that has its function.
	BlockedOn []string `json:"blocked_on"`
	// FinishedAt is the time of its end in milliseconds since the Unix epoch; nil before.
	FinishedAt *int64 `json:"finished_at"`
	// FlowTask is its name in its flow, if it was created with one.
	FlowTask string `json:"flow_task"`
}

// HasEnded returns true if the task's books are closed.
func (t *Task) HasEnded() bool { return t.FinishedAt != nil }

// Failure is an item that failed for good.
type Failure struct {
	Epoch    uint32 `json:"epoch"`
	Seq      uint64 `json:"seq"`
	Error    string `json:"error"`
	TimedOut bool   `json:"timed_out"`
	// Body is the item as text, where the service kept it.
	Body *string `json:"body"`
}

// Result is the result of a task that has completed.
type Result struct {
	Code   int             `json:"code"`
	Reason string          `json:"reason"`
	Data   json.RawMessage `json:"data"`
}

// Source is the source of the items of a task.
type Source struct{ described any }

// List is a source of these items.
func List[T any](items ...T) Source {
	if items == nil {
		items = []T{}
	}
	return Source{map[string]any{"list": items}}
}

// Range is a source of the whole numbers from `from` to before `to`.
func Range(from, to uint64) Source {
	return Source{map[string]any{"range": map[string]uint64{"from": from, "to": to}}}
}

// ListOf is a source of the items of an earlier task's result, as [FlowTask.Result] names them.
func ListOf(result map[string]string) Source { return Source{map[string]any{"list": result}} }

// Lines is a source of the lines of a file, under its absolute path on the service's machines.
func Lines(path string) Source { return Source{map[string]any{"lines": path}} }

// JSONLines is a source of the JSON values of a file, one a line, under its absolute path on the service's machines.
func JSONLines(path string) Source { return Source{map[string]any{"jsonl": path}} }

// Items is a source of the items that are fed by [Client.Feed], until the task is closed.
func Items() Source { return Source{"items"} }

// MapOptions are the options of [Client.Map].
type MapOptions struct {
	// Sink is "count", "keep", or map[string]any{"jsonl": "/abs/path"}. Default "count".
	Sink any
	// Attempts is the number of attempts at an item. Default 3.
	Attempts int
	// Timeout is the time for an item. Default 5 minutes.
	Timeout time.Duration
	// Name and Group are the task's. Default: none, and "default".
	Name, Group string
	// Unique is a key of which there is one task at a time. Default: none.
	Unique *Unique
	// Fields are further fields of the task, such as "priority".
	Fields map[string]any
}

func (o MapOptions) fields() map[string]any {
	fields := map[string]any{}
	for name, value := range o.Fields {
		fields[name] = value
	}
	for name, value := range map[string]string{"name": o.Name, "group": o.Group} {
		if value != "" {
			fields[name] = value
		}
	}
	if o.Unique != nil {
		fields["unique"] = o.Unique
	}
	return fields
}

// Unique is a key that no other task has for a time. Creating again meanwhile returns the task that has it.
type Unique struct {
	Key string
	// While is pending (until its first run begins), running (until it ends) or period (for Period from its creation). Default "running".
	While string
	// Period is the time from its creation, with "period" only.
	Period time.Duration
}

// MarshalJSON returns the key as the API takes it.
func (u Unique) MarshalJSON() ([]byte, error) {
	body := map[string]any{"key": u.Key}
	if u.While != "" {
		body["while"] = u.While
	}
	if u.Period != 0 {
		body["period_ms"] = u.Period.Milliseconds()
	}
	return json.Marshal(body)
}

// mapParam returns the parameter of a task that runs a workers' function on every item of a source.
func mapParam(function string, source Source, options MapOptions) map[string]any {
	param := map[string]any{"source": source.described, "function": map[string]string{"worker": function}, "sink": "count"}
	if options.Sink != nil {
		param["sink"] = options.Sink
	}
	if options.Attempts != 0 {
		param["attempts"] = options.Attempts
	}
	if options.Timeout != 0 {
		param["timeout_ms"] = options.Timeout.Milliseconds()
	}
	return param
}
