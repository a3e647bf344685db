package dtf

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

type report struct {
	Ticket    string
	Result    json.RawMessage
	Error     string
	Retryable bool
}

// reported runs a function on an item of a first attempt, or a later one, and returns the report.
func reported[I, O any](t *testing.T, body string, attempt uint32, call func(context.Context, I) (O, error), options ...Option) report {
	t.Helper()
	w := NewWorker("http://127.0.0.1:1")
	Handle(w, "f", call, options...)
	i := &item{workItem: workItem{Ticket: "t", Function: "f", Task: 7, Key: "7-1-1", Attempt: attempt, Body: json.RawMessage(body)}}
	i.function = w.functions["f"]
	i.context.item, i.context.tell = i, func(*item, note) {}
	ended := i.outcome(i.run())
	var made report
	if err := json.Unmarshal(ended.report, &made); err != nil {
		t.Fatalf("%s: %v", ended.report, err)
	}
	return made
}

func TestAResultIsJSON(t *testing.T) {
	made := reported(t, `"🦀"`, 0, func(_ context.Context, item string) (any, error) { return map[string]any{"ключ": item}, nil })
	if string(made.Result) != `{"ключ":"🦀"}` || made.Ticket != "t" {
		t.Error(made)
	}
}

func TestWhatIsNoJSONIsAFinalError(t *testing.T) {
	for _, value := range []any{make(chan int), math.NaN(), func() {}} {
		made := reported(t, "1", 0, func(context.Context, int) (any, error) { return value, nil })
		if !strings.Contains(made.Error, "the result is no JSON") || made.Retryable {
			t.Error(made)
		}
	}
	made := reported(t, `"text"`, 0, func(_ context.Context, item int) (int, error) { return item, nil })
	if !strings.Contains(made.Error, "the item does not fit") || made.Retryable {
		t.Error(made)
	}
}

func TestAResultHasAtMostOneMiB(t *testing.T) {
	large := func(size int) report {
		return reported(t, "1", 0, func(context.Context, int) (string, error) { return strings.Repeat("x", size-2), nil })
	}
	if made := large(maxResult); made.Error != "" {
		t.Error(made.Error)
	}
	if made := large(maxResult + 1); !strings.Contains(made.Error, "at most 1048576") || made.Retryable {
		t.Error(made)
	}
}

func TestAnErrorIsRetryableUnlessItIsFinalOrTheRetriesAreUsedUp(t *testing.T) {
	fail := func(err error) func(context.Context, any) (any, error) {
		return func(context.Context, any) (any, error) { return nil, err }
	}
	if made := reported(t, "1", 9, fail(errors.New("bad"))); made.Error != "bad" || !made.Retryable {
		t.Error(made)
	}
	if made := reported(t, "1", 0, fail(Final(errors.New("never")))); made.Error != "never" || made.Retryable {
		t.Error(made)
	}
	for attempt, retryable := range []bool{true, false, false} {
		if made := reported(t, "1", uint32(attempt), fail(errors.New("bad")), Retries(1)); made.Retryable != retryable {
			t.Error(attempt, made)
		}
	}
	made := reported(t, "1", 0, func(context.Context, any) (any, error) { panic("oh") })
	if made.Error != "panic: oh" || !made.Retryable {
		t.Error(made)
	}
}

func TestAContextTellsAboutItsItem(t *testing.T) {
	made := reported(t, "1", 3, func(ctx context.Context, _ any) (Info, error) { return InfoOf(ctx), nil })
	if string(made.Result) != `{"Task":7,"Key":"7-1-1","Attempt":3,"Function":"f"}` {
		t.Error(string(made.Result))
	}
	if InfoOf(context.Background()) != (Info{}) {
		t.Error("an info out of nowhere")
	}
}

func TestAContextEndsWithItsItemAndWithTimersAboveIt(t *testing.T) {
	c := &itemContext{item: &item{}}
	above, cancel := context.WithTimeout(c, time.Hour)
	defer cancel()
	if c.Err() != nil || above.Err() != nil {
		t.Error("it has ended already")
	}
	c.cancel()
	<-above.Done()
	late := &itemContext{item: &item{}}
	late.cancel()
	if <-late.Done(); late.Err() != context.Canceled {
		t.Error(late.Err())
	}
}

func TestANoteIsCutAndBounded(t *testing.T) {
	var said []note
	c := &itemContext{item: &item{workItem: workItem{Ticket: "t"}}, tell: func(_ *item, n note) { said = append(said, n) }}
	Log(c, "begun")
	ReportProgress(context.WithValue(c, infoKey{}, nil), math.NaN(), "")
	ReportProgress(c, 2, "")
	Log(c, strings.Repeat("✓", 300)+"\xff")
	data, err := json.Marshal(said)
	wanted := `[{"ticket":"t","message":"begun"},{"ticket":"t","progress":0},{"ticket":"t","progress":1},` +
		`{"ticket":"t","progress":1,"message":"` + strings.Repeat("✓", 256) + `"}]`
	if err != nil || string(data) != wanted {
		t.Errorf("%s", data)
	}
	ReportProgress(context.Background(), 0.5, "nobody hears it")
}

// plainWork is an answer as the package json reads it.
type plainWork work

func TestAnAnswerIsReadAsThePackageJSONReadsIt(t *testing.T) {
	for _, data := range []string{
		`{}`, `{"items": null, "dropped": null, "drain": false}`,
		`{"session":"s","lease_ms":30000,"items":[],"dropped":["a","b\u00e9\"\\"],"drain":true,"more":{"a":[1,{"b":"]}"}]}}`,
		`{ "items" : [ {"ticket":"t","function":"f","task":18446744073709551,"key":"7-1-1","attempt":2,"timeout_ms":60000,"body":{"a":["}",1.5e3,null]}} ,
			{"body":"ü\"]","ticket":"\u2713","function":"f","task":1,"x":[[],{}]}, {"body":-1,"function":"g"} , {"body":true} ] , "drain" : false }`,
	} {
		var seen work
		var wanted plainWork
		if err := json.Unmarshal([]byte(data), &wanted); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(data), &seen); err != nil {
			t.Error(data, err)
		}
		one, _ := json.Marshal(plainWork(seen))
		other, _ := json.Marshal(wanted)
		if string(one) != strings.ReplaceAll(string(other), "[]", "null") && string(one) != string(other) {
			t.Errorf("%s\nis read as %s\nand not as %s", data, one, other)
		}
	}
	for _, data := range []string{`[]`, `{"items":{}}`, `{"items":[1]}`, `{"session":1}`, `{"lease_ms":"1"}`, `{"items":[{"task":-1}]}`, `{"items":[{"task":1.5}]}`, `{"dropped":[1]}`, `{`} {
		if err := json.Unmarshal([]byte(data), &work{}); err == nil {
			t.Error(data, "is read")
		}
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	for _, wrong := range [][]string{nil, {"localhost:7070"}, {"ftp://a"}, {"http://"}} {
		if _, err := newTransport(wrong, ""); err == nil {
			t.Error(wrong)
		}
	}
	w := NewWorker("http://127.0.0.1:1")
	if err := w.Run(context.Background(), 1); err == nil || !strings.Contains(err.Error(), "no function") {
		t.Error(err)
	}
	Handle(w, "f", func(_ context.Context, item int) (int, error) { return item, nil })
	if err := w.Run(context.Background(), 0); err == nil || !strings.Contains(err.Error(), "concurrency is 0") {
		t.Error(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a function was offered twice")
		}
	}()
	Handle(w, "f", func(_ context.Context, item int) (int, error) { return item, nil })
}

func TestPausesGrowToFiveSeconds(t *testing.T) {
	var pauses backoff
	if first := pauses.next(nil); first > 50*time.Millisecond {
		t.Error(first)
	}
	for n := 0; n < 2000; n++ {
		if pause := pauses.next(nil); pause > 5*time.Second || (n > 10 && pause < 1250*time.Millisecond) {
			t.Error(n, pause)
		}
	}
	if pause := pauses.next(&APIError{RetryAfter: 7 * time.Second}); pause < 7*time.Second {
		t.Error(pause)
	}
}

func TestTheNumberOfItemsToAskFor(t *testing.T) {
	for _, c := range []struct {
		mean         time.Duration
		busy, wanted int
	}{{time.Second, 0, 4}, {time.Second, 4, 0}, {time.Millisecond, 0, 83}, {time.Millisecond, 43, 40}, {time.Millisecond, 44, 0}, {0, 0, 1000}} {
		e := newEngine(NewWorker(), nil, 4)
		e.mean, e.busy = c.mean, c.busy
		if wanted := e.wanted(); wanted != c.wanted {
			t.Error(c, wanted)
		}
	}
}
