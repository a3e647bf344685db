package dtf

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// written returns a value as JSON, with keys in order.
func written(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAFlowIsWrittenAsTheAPITakesIt(t *testing.T) {
	flow := NewFlow("nightly")
	one := flow.Map("one", "square", Range(0, 3), MapOptions{Sink: "keep", Group: "reports"})
	two := flow.Task("two", "noop", map[string]any{"count": one.Result("/succeeded")}, map[string]any{"priority": 9000}).After(one)
	flow.Task("three", "noop", nil, nil).After(one, two.Ended()).After(two.Failed())
	wanted := `{"name":"nightly","tasks":{` +
		`"one":{"group":"reports","param":{"function":{"worker":"square"},"sink":"keep","source":{"range":{"from":0,"to":3}}},"type":"map"},` +
		`"three":{"after":[{"task":"one","when":"completed"},{"task":"two","when":"ended"},{"task":"two","when":"failed"}],"param":null,"type":"noop"},` +
		`"two":{"after":[{"task":"one","when":"completed"}],"param":{"count":{"$result":"/succeeded","of":"one"}},"priority":9000,"type":"noop"}}}`
	if made := written(t, flow); made != wanted {
		t.Error(made)
	}
}

func TestWhatCannotBeAFlowIsRefused(t *testing.T) {
	for why, build := range map[string]func(*FlowBuilder){
		"in the flow twice":     func(b *FlowBuilder) { b.Task("one", "noop", nil, nil) },
		"is no JSON pointer":    func(b *FlowBuilder) { b.Task("two", "noop", nil, nil).Result("succeeded") },
		`"three", which is no`:  func(b *FlowBuilder) { b.Task("two", "noop", nil, nil).After(FlowCondition{"three", "ended"}) },
		`waits for "two", whic`: func(b *FlowBuilder) { two := b.Task("two", "noop", nil, nil); two.After(two) },
		"has no unique key":     func(b *FlowBuilder) { b.Map("two", "f", Range(0, 1), MapOptions{Unique: &Unique{Key: "k"}}) },
	} {
		flow := NewFlow("")
		flow.Task("one", "noop", nil, nil)
		build(flow)
		_, err := NewClient("http://127.0.0.1:1").Flows().Create(context.Background(), flow)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", why, err)
		}
	}
}

func TestAFlowHasItsTasksByNameAndKnowsItsEnd(t *testing.T) {
	var flow Flow
	text := `{"id": 7, "counts": {"tasks": 2, "completed": 1, "skipped": 1}, "tasks": [{"id": 2, "status": "skipped", "flow_task": "two"}]}`
	if err := json.Unmarshal([]byte(text), &flow); err != nil {
		t.Fatal(err)
	}
	if !flow.HasEnded() || flow.HasCompleted() || flow.Task("two").Status != "skipped" || flow.Task("one") != nil {
		t.Error(flow)
	}
	flow.Counts.Waiting = 1
	if flow.HasEnded() {
		t.Error(flow)
	}
}

func TestAScheduleHasATaskOrAFlow(t *testing.T) {
	schedules := NewClient("http://127.0.0.1:1").Schedules()
	both := NewSchedule{Name: "n", When: "@daily", Task: map[string]any{"type": "noop"}, Flow: NewFlow("")}
	for _, wrong := range []NewSchedule{{Name: "n", When: "@daily"}, both} {
		if _, err := schedules.Create(context.Background(), wrong); err == nil || !strings.Contains(err.Error(), "needs a Task or a Flow") {
			t.Error(err)
		}
	}
}

func TestAUniqueKeyIsWrittenAsTheAPITakesIt(t *testing.T) {
	if made := written(t, Unique{Key: "k", While: "period", Period: 1500 * time.Millisecond}); made != `{"key":"k","period_ms":1500,"while":"period"}` {
		t.Error(made)
	}
	fields := MapOptions{Unique: &Unique{Key: "k"}, Name: "n", Fields: map[string]any{"priority": 1}}.fields()
	if made := written(t, fields); made != `{"name":"n","priority":1,"unique":{"key":"k"}}` {
		t.Error(made)
	}
}
