package dtf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

const (
	// maxItems is the most items of an answer, and reports of a request.
	maxItems = 1000
	// maxResult is the most bytes of a result that a gateway takes.
	maxResult = 1024 * 1024
	// maxError is the most bytes of an error that a gateway keeps.
	maxError = 4096
)

// Worker offers functions to a DTF service. Set its fields before Run.
type Worker struct {
	// Token authorises the requests. Default: the environment variable DTF_TOKEN.
	Token string
	// Name is the worker's; several may have the same one. Default: the host's.
	Name string
	// Version is the version of the program.
	Version string
	// Prefetch is the number of items that are fetched ahead. Default -1: as many as run within 20 ms.
	Prefetch int
	// IgnoreSignals leaves SIGTERM and SIGINT alone. Else the first one drains the worker, and the second one ends the process.
	IgnoreSignals bool
	// Logf takes a line of the log. Default: the standard logger.
	Logf func(format string, arguments ...any)

	urls      []string
	functions map[string]*function
}

// NewWorker returns a worker of these gateways: processes of the service with the executor role. With several, the next one is tried when
// one does not answer.
func NewWorker(urls ...string) *Worker {
	name, err := os.Hostname()
	if err != nil {
		name = "go"
	}
	return &Worker{Name: name, Prefetch: -1, Logf: log.Printf, urls: urls, functions: map[string]*function{}}
}

// function is a function that a worker offers.
type function struct {
	name    string
	call    func(context.Context, json.RawMessage) ([]byte, error)
	timeout time.Duration
	retries int
}

// Option is an option of a function.
type Option func(*function)

// Timeout is the time for an item, within that of the task. The function's context ends then; a function that goes on is given up.
func Timeout(timeout time.Duration) Option { return func(f *function) { f.timeout = timeout } }

// Retries is the most attempts at an item after the first one, within those that the task allows.
func Retries(retries int) Option { return func(f *function) { f.retries = retries } }

// Handle offers a function under a name. An item is decoded from JSON into I, and the result encoded from O; an item that does not fit, and
// a result that is no JSON, are final errors. It panics where a name is taken.
func Handle[I, O any](w *Worker, name string, call func(ctx context.Context, item I) (O, error), options ...Option) {
	if _, taken := w.functions[name]; taken || name == "" {
		panic(fmt.Sprintf("dtf: the function %q has no name or is offered twice", name))
	}
	offered := &function{name: name, retries: -1}
	for _, option := range options {
		option(offered)
	}
	offered.call = func(ctx context.Context, body json.RawMessage) ([]byte, error) {
		var item I
		if err := json.Unmarshal(body, &item); err != nil {
			return nil, Final(fmt.Errorf("the item does not fit: %w", err))
		}
		result, err := call(ctx, item)
		if err != nil {
			return nil, err
		}
		data, err := json.Marshal(result)
		if err != nil {
			return nil, Final(fmt.Errorf("the result is no JSON: %w", err))
		}
		if len(data) > maxResult {
			return nil, Final(fmt.Errorf("the result has %d bytes; at most %d are taken; store it and return where it is", len(data), maxResult))
		}
		return data, nil
	}
	w.functions[name] = offered
}

type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// Final marks an error as one that no other attempt at the item can mend.
func Final(err error) error { return &finalError{err} }

func isFinal(err error) bool {
	var final *finalError
	return errors.As(err, &final)
}

// Info tells about the item that a function runs on.
type Info struct {
	// Task is the id of the task.
	Task uint64
	// Key is the idempotency key: the same for every attempt at the item.
	Key string
	// Attempt is the number of earlier attempts that failed.
	Attempt uint32
	// Function is the name of the function.
	Function string
}

type infoKey struct{}

// InfoOf returns what is known of the item that a function with this context runs on.
func InfoOf(ctx context.Context) Info {
	info, _ := ctx.Value(infoKey{}).(Info)
	return info
}

// Run serves, with so many items at once, until the context ends, a signal comes, or the service drains the worker; what runs then comes
// to its end first. It returns an error if the worker is refused.
func (w *Worker) Run(ctx context.Context, concurrency int) error {
	if len(w.functions) == 0 {
		return errors.New("the worker has no function; offer one with dtf.Handle")
	}
	if concurrency < 1 || concurrency > maxItems {
		return fmt.Errorf("concurrency is %d; allowed is 1 to %d", concurrency, maxItems)
	}
	if w.Prefetch < -1 || w.Prefetch > maxItems {
		return fmt.Errorf("Prefetch is %d; allowed is -1 to %d", w.Prefetch, maxItems)
	}
	calls, err := newTransport(w.urls, w.Token)
	if err != nil {
		return err
	}
	e := newEngine(w, calls, concurrency)
	e.info = map[string]any{"name": w.Name, "language": "go " + runtime.Version()[2:], "version": w.Version, "slots": concurrency}
	signals := make(chan os.Signal, 2)
	if !w.IgnoreSignals {
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		defer signal.Stop(signals)
	}
	go func() {
		select {
		case <-ctx.Done():
		case <-signals:
		case <-e.done:
			return
		}
		e.drain()
		select {
		case number := <-signals:
			os.Exit(128 + int(number.(syscall.Signal)))
		case <-e.done:
		}
	}()
	return e.run()
}
