package dtf

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// item is an item that the worker has: it waits, runs, or has ended and is not reported yet.
type item struct {
	workItem
	function *function
	// session is the one that it was given to.
	session string
	given   time.Time
	// timeout is the time for it, and deadline its end: none while it waits for a slot.
	timeout  time.Duration
	deadline time.Time
	// over is true once it has an outcome, or is not wanted any more; released once it takes no slot any more.
	over, released bool
	// report is the report on it, as JSON.
	report    []byte
	succeeded bool
	cancel    context.CancelFunc
}

// workItem is an item as a gateway gives it.
type workItem struct {
	Ticket    string          `json:"ticket"`
	Function  string          `json:"function"`
	Task      uint64          `json:"task"`
	Key       string          `json:"key"`
	Attempt   uint32          `json:"attempt"`
	TimeoutMS int64           `json:"timeout_ms"`
	Body      json.RawMessage `json:"body"`
}

// itemContext is the context of a function. Its deadline is kept by the engine, which needs no timer for each item.
type itemContext struct {
	context.Context
	item *item
}

func (c *itemContext) Deadline() (time.Time, bool) { return c.item.deadline, true }

func (c *itemContext) Value(key any) any {
	if _, ok := key.(infoKey); ok {
		return Info{c.item.Task, c.item.Key, c.item.Attempt, c.item.Function}
	}
	return c.Context.Value(key)
}

// run calls the function; a panic is an error.
func (i *item) run(ctx context.Context) (result []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			result, err = nil, fmt.Errorf("panic: %v", cause)
		}
	}()
	return i.function.call(&itemContext{ctx, i}, i.Body)
}

// settle makes the report of an outcome.
func (i *item) settle(result []byte, err error) {
	i.over, i.succeeded, i.Body = true, err == nil, nil
	if err == nil {
		i.report = make([]byte, 0, len(result)+64)
		i.report = append(append(append(i.report, `{"ticket":"`...), i.Ticket...), `","result":`...)
		i.report = append(append(i.report, result...), '}')
		return
	}
	retryable := !isFinal(err)
	if i.function != nil && i.function.retries >= 0 && int64(i.Attempt) >= int64(i.function.retries) {
		retryable = false
	}
	message := err.Error()
	if len(message) > maxError {
		message = message[:maxError]
	}
	failure := struct {
		Ticket    string `json:"ticket"`
		Error     string `json:"error"`
		Retryable bool   `json:"retryable"`
	}{i.Ticket, strings.ToValidUTF8(message, "\uFFFD"), retryable}
	// A struct of strings and a boolean always is JSON.
	i.report, _ = json.Marshal(failure)
}
