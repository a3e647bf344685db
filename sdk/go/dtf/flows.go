package dtf

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// flowPause is the time between two looks at a flow that is watched.
const flowPause = 500 * time.Millisecond

// FlowBuilder is a flow that is about to be created by [Flows.Create].
//
//	flow := dtf.NewFlow("nightly")
//	extract := flow.Map("extract", "fetch", dtf.List("a", "b"), dtf.MapOptions{})
//	load := flow.Task("load", "noop", map[string]any{"count": extract.Result("/succeeded")}, nil).After(extract)
//	flow.Task("alarm", "noop", map[string]int{"count": 1}, nil).After(load.Failed())
//
// The first mistake is returned by [Flows.Create], which creates nothing then.
type FlowBuilder struct {
	name  string
	order []string
	tasks map[string]map[string]any
	err   error
}

// NewFlow begins a flow with a name for people.
func NewFlow(name string) *FlowBuilder {
	return &FlowBuilder{name: name, tasks: map[string]map[string]any{}}
}

// FlowTask is a task of a flow that is about to be created. As a [Dependency] it stands for its completion.
type FlowTask struct {
	flow *FlowBuilder
	name string
}

// Dependency is what a task of a flow waits for: a [FlowTask] that completes, or a [FlowCondition].
type Dependency interface{ condition() FlowCondition }

// FlowCondition is the end of a task of a flow that another one waits for.
type FlowCondition struct {
	// Task is the task's name in the flow.
	Task string `json:"task"`
	// When is completed, ended or failed.
	When string `json:"when"`
}

func (c FlowCondition) condition() FlowCondition { return c }
func (t *FlowTask) condition() FlowCondition     { return t.Completed() }

// Completed is met if the task completes, and none of its items fails or times out.
func (t *FlowTask) Completed() FlowCondition { return FlowCondition{t.name, "completed"} }

// Ended is met when the task ends, however it does.
func (t *FlowTask) Ended() FlowCondition { return FlowCondition{t.name, "ended"} }

// Failed is met if the task ends as exceptional, or completes with items that failed or timed out.
func (t *FlowTask) Failed() FlowCondition { return FlowCondition{t.name, "failed"} }

// Result returns what stands in a parameter for a part of this task's result, at most 64 KiB. The pointer is a JSON pointer into the data of
// the result, as "/succeeded"; the empty one is all of it. The task with the parameter must wait for this one.
func (t *FlowTask) Result(pointer string) map[string]string {
	if pointer != "" && !strings.HasPrefix(pointer, "/") {
		t.flow.refuse("%q is no JSON pointer; write \"\" for all of the result, or \"/NAME\" for a part of it", pointer)
	}
	return map[string]string{"$result": pointer, "of": t.name}
}

// After lets the task wait for others, which were added to the flow before it, and returns it.
func (t *FlowTask) After(on ...Dependency) *FlowTask {
	described, ok := t.flow.tasks[t.name]
	if !ok {
		return t
	}
	waits, _ := described["after"].([]FlowCondition)
	for _, one := range on {
		condition := one.condition()
		if !t.flow.isEarlier(condition.Task, t.name) {
			t.flow.refuse("task %q waits for %q, which is no earlier task of the flow; tasks: %s", t.name, condition.Task, strings.Join(t.flow.order, ", "))
		}
		waits = append(waits, condition)
	}
	described["after"] = waits
	return t
}

// Task adds a task of any type under a name that no other task of the flow has. Fields are further ones of the task, such as "group" and
// "priority"; nil is none.
func (b *FlowBuilder) Task(name, kind string, param any, fields map[string]any) *FlowTask {
	if _, ok := b.tasks[name]; ok {
		b.refuse("task %q is in the flow twice; give one of them another name", name)
		return &FlowTask{b, name}
	}
	b.order = append(b.order, name)
	b.tasks[name] = map[string]any{"type": kind, "param": param}
	for field, value := range fields {
		b.tasks[name][field] = value
	}
	return &FlowTask{b, name}
}

// Map adds a task that runs a workers' function on every item of a source, as [Client.Map] does. The options have no Name and no Unique: a
// task of a flow has its name in the flow.
func (b *FlowBuilder) Map(name, function string, source Source, options MapOptions) *FlowTask {
	if options.Name != "" || options.Unique != nil {
		b.refuse("task %q of a flow has a Name or a Unique of its own; its name is the one in the flow, and it has no unique key", name)
	}
	return b.Task(name, "map", mapParam(function, source, options), options.fields())
}

// MarshalJSON returns the flow as the API and `dtf flow submit` take it.
func (b *FlowBuilder) MarshalJSON() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	return json.Marshal(map[string]any{"name": b.name, "tasks": b.tasks})
}

func (b *FlowBuilder) refuse(format string, values ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, values...)
	}
}

func (b *FlowBuilder) isEarlier(name, than string) bool {
	for _, one := range b.order {
		if one == than {
			return false
		}
		if one == name {
			return true
		}
	}
	return false
}

// FlowCounts is the number of a flow's tasks by state.
type FlowCounts struct {
	Tasks     uint64 `json:"tasks"`
	Waiting   uint64 `json:"waiting"`
	Running   uint64 `json:"running"`
	Completed uint64 `json:"completed"`
	Failed    uint64 `json:"failed"`
	Cancelled uint64 `json:"cancelled"`
	Skipped   uint64 `json:"skipped"`
}

// Flow is a flow, as it was when it was asked for.
type Flow struct {
	ID   uint64 `json:"id"`
	Name string `json:"name"`
	// RetryOf is the flow whose failed tasks it runs again, if any.
	RetryOf *uint64    `json:"retry_of"`
	Counts  FlowCounts `json:"counts"`
	// Tasks are its tasks, by id; none in lists of flows.
	Tasks []Task `json:"tasks"`
}

// HasEnded returns true if all of the flow's tasks have ended.
func (f *Flow) HasEnded() bool { return f.Counts.Waiting+f.Counts.Running == 0 }

// HasCompleted returns true if all of the flow's tasks have completed, with no item failed.
func (f *Flow) HasCompleted() bool { return f.Counts.Completed == f.Counts.Tasks }

// Task returns the task with this name in the flow, or nil.
func (f *Flow) Task(name string) *Task {
	for i := range f.Tasks {
		if f.Tasks[i].FlowTask == name {
			return &f.Tasks[i]
		}
	}
	return nil
}

// Flows are the flows of a service: tasks that are created together and wait for each other.
type Flows struct{ client *Client }

// Flows returns the flows of the service.
func (c *Client) Flows() Flows { return Flows{c} }

// Create creates all tasks of a flow, or none.
func (f Flows) Create(ctx context.Context, flow *FlowBuilder) (*Flow, error) {
	if flow.err != nil {
		return nil, flow.err
	}
	created := new(Flow)
	return created, f.client.post(ctx, "/v1/flows", flow, created)
}

// Get returns a flow with its tasks.
func (f Flows) Get(ctx context.Context, id uint64) (*Flow, error) {
	flow := new(Flow)
	_, err := f.client.send(ctx, "GET", fmt.Sprintf("/v1/flows/%d", id), "", nil, flow)
	return flow, err
}

// List calls `see` with the flows without their tasks, the newest first, until `see` returns an error.
func (f Flows) List(ctx context.Context, see func(*Flow) error) error {
	return pages(ctx, f.client, "/v1/flows", "flows", see)
}

// Pause pauses the tasks of a flow.
func (f Flows) Pause(ctx context.Context, id uint64) (*Flow, error) { return f.act(ctx, id, "pause") }

// Resume resumes the paused tasks of a flow.
func (f Flows) Resume(ctx context.Context, id uint64) (*Flow, error) { return f.act(ctx, id, "resume") }

// Cancel cancels the tasks of a flow that have not ended.
func (f Flows) Cancel(ctx context.Context, id uint64) (*Flow, error) { return f.act(ctx, id, "cancel") }

// Retry creates a new flow of what failed in a flow and what was skipped behind it.
func (f Flows) Retry(ctx context.Context, id uint64) (*Flow, error) {
	flow := new(Flow)
	return flow, f.client.post(ctx, fmt.Sprintf("/v1/flows/%d/retry", id), nil, flow)
}

// Watch calls `see` with the flow whenever it has changed, at most twice a second, until all of its tasks have ended or `see` returns an error.
func (f Flows) Watch(ctx context.Context, id uint64, see func(*Flow) error) error {
	for last := (*Flow)(nil); ; {
		flow, err := f.Get(ctx, id)
		if err != nil {
			return err
		}
		if last == nil || !reflect.DeepEqual(flow, last) {
			if err := see(flow); err != nil {
				return err
			}
		}
		if flow.HasEnded() {
			return nil
		}
		last = flow
		if err := sleep(ctx, flowPause); err != nil {
			return err
		}
	}
}

// Wait waits until all tasks of a flow have ended, and returns it.
func (f Flows) Wait(ctx context.Context, id uint64) (*Flow, error) {
	var last *Flow
	err := f.Watch(ctx, id, func(flow *Flow) error { last = flow; return nil })
	return last, err
}

func (f Flows) act(ctx context.Context, id uint64, action string) (*Flow, error) {
	flow := new(Flow)
	return flow, f.client.steer(ctx, fmt.Sprintf("/v1/flows/%d", id), action, flow)
}
