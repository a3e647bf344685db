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
	ended          outcome
	context        itemContext
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

// outcome is the report on an item, as JSON, and the error in it, if any.
type outcome struct {
	report []byte
	err    error
}

// run calls the function; a panic is an error.
func (i *item) run() (result []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			result, err = nil, fmt.Errorf("panic: %v", cause)
		}
	}()
	return i.function.call(&i.context, i.Body)
}

// outcome makes the report of a result or an error.
func (i *item) outcome(result []byte, err error) outcome {
	if err == nil {
		report := make([]byte, 0, len(result)+len(i.Ticket)+24)
		report = append(append(append(report, `{"ticket":"`...), i.Ticket...), `","result":`...)
		return outcome{append(append(report, result...), '}'), nil}
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
	report, _ := json.Marshal(failure)
	return outcome{report, err}
}

var _ context.Context = (*itemContext)(nil)
