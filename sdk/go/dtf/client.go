package dtf

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Client is a client of the tasks of a DTF service. It may be shared by goroutines.
//
// With several URLs it turns to the next one when a server does not answer. Requests are tried again, with growing pauses, for as long as
// RetryFor; creations carry a key, so that one that is sent twice creates one task.
type Client struct {
	// Token authorises the requests. Default: the environment variable DTF_TOKEN.
	Token string
	// RetryFor is the time for which a request is tried again. Default 30 s.
	RetryFor time.Duration

	urls  []string
	once  sync.Once
	calls *transport
	err   error
	mu    sync.Mutex
	at    int
}

// NewClient returns a client of these servers.
func NewClient(urls ...string) *Client {
	return &Client{urls: urls, RetryFor: 30 * time.Second}
}

// Map creates a task that runs a workers' function on every item of a source.
func (c *Client) Map(ctx context.Context, function string, source Source, options MapOptions) (*Task, error) {
	return c.Create(ctx, "map", mapParam(function, source, options), options.fields())
}

// Create creates a task of any type. Fields are further ones of the task, such as "group", "after" and "unique" (a [Unique]); nil is none.
func (c *Client) Create(ctx context.Context, kind string, param any, fields map[string]any) (*Task, error) {
	body := map[string]any{"type": kind, "param": param}
	for name, value := range fields {
		body[name] = value
	}
	task := new(Task)
	return task, c.post(ctx, "/v1/tasks", body, task)
}

// feedItems and feedBytes are the most items and bytes of a request.
const (
	feedItems = 1000
	feedBytes = 4 << 20
)

// Feed feeds items into a task whose source is [Items], and returns the producer's offset behind them.
//
// Requests that are sent again add nothing twice. Nothing else is known of an empty producer; one with a name that begins again goes on behind
// what it has fed. While too many items wait, this waits, too.
func (c *Client) Feed(ctx context.Context, id uint64, producer string, items ...any) (uint64, error) {
	if producer == "" {
		key, err := newKey()
		if err != nil {
			return 0, err
		}
		return c.FeedAt(ctx, id, key, 0, items...)
	}
	var feed struct {
		NextOffset uint64 `json:"next_offset"`
	}
	path := fmt.Sprintf("/v1/tasks/%d/items?%s", id, url.Values{"producer": {producer}}.Encode())
	if _, err := c.send(ctx, "GET", path, "", nil, &feed); err != nil {
		return 0, err
	}
	return c.FeedAt(ctx, id, producer, feed.NextOffset, items...)
}

// FeedAt does the same as [Client.Feed] with items that stand behind so many others of their producer: those that the service has are passed
// over.
func (c *Client) FeedAt(ctx context.Context, id uint64, producer string, offset uint64, items ...any) (uint64, error) {
	var lines []byte
	count := uint64(0)
	flush := func() error {
		if count == 0 {
			return nil
		}
		query := url.Values{"producer": {producer}, "offset": {fmt.Sprint(offset)}}
		path := fmt.Sprintf("/v1/tasks/%d/items?%s", id, query.Encode())
		for {
			_, err := c.send(ctx, "POST", path, "", lines, nil)
			var answered *APIError
			// It is full for as long as its items take.
			if errors.As(err, &answered) && answered.Code == "full" && ctx.Err() == nil {
				continue
			}
			if err == nil {
				offset, count, lines = offset+count, 0, nil
			}
			return err
		}
	}
	for _, item := range items {
		line, err := json.Marshal(item)
		if err != nil {
			return offset, fmt.Errorf("the item is no JSON: %w", err)
		}
		if count >= feedItems || len(lines)+len(line) >= feedBytes {
			if err := flush(); err != nil {
				return offset, err
			}
		}
		lines = append(append(lines, line...), '\n')
		count++
	}
	err := flush()
	return offset, err
}

// CloseTask says that no more items are fed: the task ends when those that were fed are done.
func (c *Client) CloseTask(ctx context.Context, id uint64) (*Task, error) {
	return c.act(ctx, id, "close")
}

// Get returns a task.
func (c *Client) Get(ctx context.Context, id uint64) (*Task, error) {
	task := new(Task)
	_, err := c.send(ctx, "GET", fmt.Sprintf("/v1/tasks/%d", id), "", nil, task)
	return task, err
}

// Pause pauses a task.
func (c *Client) Pause(ctx context.Context, id uint64) (*Task, error) { return c.act(ctx, id, "pause") }

// Resume resumes a paused task.
func (c *Client) Resume(ctx context.Context, id uint64) (*Task, error) {
	return c.act(ctx, id, "resume")
}

// Cancel cancels a task.
func (c *Client) Cancel(ctx context.Context, id uint64) (*Task, error) {
	return c.act(ctx, id, "cancel")
}

// Retry creates a new task of the items of a task that failed.
func (c *Client) Retry(ctx context.Context, id uint64) (*Task, error) {
	task := new(Task)
	return task, c.post(ctx, fmt.Sprintf("/v1/tasks/%d/retry", id), nil, task)
}

func (c *Client) act(ctx context.Context, id uint64, action string) (*Task, error) {
	task := new(Task)
	return task, c.steer(ctx, fmt.Sprintf("/v1/tasks/%d", id), action, task)
}

// steer has an action on a thing done, and reads the thing into `into`.
func (c *Client) steer(ctx context.Context, path, action string, into any) error {
	tries, err := c.send(ctx, "POST", path+"/"+action, "", nil, into)
	var answered *APIError
	if errors.As(err, &answered) && answered.Code == "not_allowed" && tries > 1 {
		// The answer to an earlier try was lost: this says only that it has been done.
		_, err = c.send(ctx, "GET", path, "", nil, into)
	}
	return err
}

// post has something created, once however often it is sent, and reads it into `into`.
func (c *Client) post(ctx context.Context, path string, body, into any) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	var data []byte
	if body != nil {
		if data, err = json.Marshal(body); err != nil {
			return fmt.Errorf("what is to be created is no JSON: %w", err)
		}
	}
	_, err = c.send(ctx, "POST", path, key, data, into)
	return err
}

// pages calls `see` with the entries of a list, page by page.
func pages[T any](ctx context.Context, c *Client, path, what string, see func(*T) error) error {
	for query := ""; ; {
		var page map[string]json.RawMessage
		if _, err := c.send(ctx, "GET", path+query, "", nil, &page); err != nil {
			return err
		}
		var entries []T
		var next any
		if err := json.Unmarshal(page[what], &entries); err != nil {
			return err
		}
		for i := range entries {
			if err := see(&entries[i]); err != nil {
				return err
			}
		}
		if data, ok := page["next"]; ok {
			decoder := json.NewDecoder(bytes.NewReader(data))
			decoder.UseNumber()
			if err := decoder.Decode(&next); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		query = "?" + url.Values{"cursor": {fmt.Sprint(next)}}.Encode()
	}
}

// Watch calls `see` with the task whenever it has changed, at most twice a second, until it has ended or `see` returns an error.
func (c *Client) Watch(ctx context.Context, id uint64, see func(*Task) error) error {
	var pauses backoff
	for {
		seen, ended, err := c.events(ctx, id, see)
		if ended {
			return err
		}
		var answered *APIError
		if errors.As(err, &answered) && !answered.IsRetryable() {
			return err
		}
		if seen {
			pauses = backoff{}
		}
		if err := sleep(ctx, pauses.next(err)); err != nil {
			return err
		}
	}
}

// Wait waits until a task has ended, and returns it.
func (c *Client) Wait(ctx context.Context, id uint64) (*Task, error) {
	var last *Task
	err := c.Watch(ctx, id, func(task *Task) error { last = task; return nil })
	return last, err
}

// Result returns the result of a task; nil before it has completed.
func (c *Client) Result(ctx context.Context, id uint64) (*Result, error) {
	var result *Result
	_, err := c.send(ctx, "GET", fmt.Sprintf("/v1/tasks/%d/result", id), "", nil, &result)
	return result, err
}

// Results calls `see` with each kept result of a task, in the order in which they were collected, to its end. The task's sink must be "keep".
func (c *Client) Results(ctx context.Context, id uint64, see func(json.RawMessage) error) error {
	first := uint64(0)
	for {
		var page struct {
			Results []struct {
				Number uint64
				Value  json.RawMessage
			}
			More bool
		}
		if _, err := c.send(ctx, "GET", fmt.Sprintf("/v1/tasks/%d/results?from=%d&limit=1000", id, first), "", nil, &page); err != nil {
			return err
		}
		for _, result := range page.Results {
			if err := see(result.Value); err != nil {
				return err
			}
			first = result.Number + 1
		}
		if !page.More {
			return nil
		}
		if len(page.Results) == 0 {
			if err := sleep(ctx, 500*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// Failures calls `see` with each item of a task that failed for good.
func (c *Client) Failures(ctx context.Context, id uint64, see func(Failure) error) error {
	query := url.Values{"limit": {"1000"}}
	for {
		var page struct {
			Failures []Failure
			More     bool
		}
		if _, err := c.send(ctx, "GET", fmt.Sprintf("/v1/tasks/%d/failures?%s", id, query.Encode()), "", nil, &page); err != nil {
			return err
		}
		for _, failure := range page.Failures {
			if err := see(failure); err != nil {
				return err
			}
			query.Set("after_epoch", fmt.Sprint(failure.Epoch))
			query.Set("after_seq", fmt.Sprint(failure.Seq))
		}
		if !page.More {
			return nil
		}
	}
}

func (c *Client) connected() (*transport, error) {
	c.once.Do(func() { c.calls, c.err = newTransport(c.urls, c.Token) })
	return c.calls, c.err
}

// send sends a request until it is answered, and returns the number of tries.
func (c *Client) send(ctx context.Context, method, path, key string, body []byte, into any) (int, error) {
	calls, err := c.connected()
	if err != nil {
		return 0, err
	}
	var pauses backoff
	end := time.Now().Add(c.RetryFor)
	for tries := 1; ; tries++ {
		at := c.server()
		err := calls.call(ctx, at, method, path, key, body, 0, into)
		var answered *APIError
		if err == nil || ctx.Err() != nil || (errors.As(err, &answered) && !answered.IsRetryable()) {
			return tries, err
		}
		if answered == nil {
			c.turnFrom(at)
		}
		pause := pauses.next(err)
		if time.Now().Add(pause).After(end) {
			return tries, err
		}
		if err := sleep(ctx, pause); err != nil {
			return tries, err
		}
	}
}

func (c *Client) server() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *Client) turnFrom(at int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == at {
		c.at = (at + 1) % len(c.urls)
	}
}

// events follows a task's events. It says if there was any, and if nothing may follow.
func (c *Client) events(ctx context.Context, id uint64, see func(*Task) error) (seen, ended bool, err error) {
	calls, err := c.connected()
	if err != nil {
		return false, true, err
	}
	at := c.server()
	response, err := calls.open(ctx, at, "GET", fmt.Sprintf("/v1/tasks/%d/events", id), "", nil)
	if err != nil {
		c.turnFrom(at)
		return false, ctx.Err() != nil, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		data, err := io.ReadAll(response.Body)
		if err != nil {
			return false, false, err
		}
		return false, false, problem(calls.urls[at], response, data)
	}
	name, lines := "", bufio.NewReader(response.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return seen, ctx.Err() != nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "event:") {
			name = strings.TrimSpace(line[6:])
		}
		if !strings.HasPrefix(line, "data:") {
			continue
		}
		data := []byte(line[5:])
		if name == "error" {
			answered := new(APIError)
			if err := json.Unmarshal(data, answered); err != nil {
				return seen, false, err
			}
			return seen, false, answered
		}
		task := new(Task)
		if err := json.Unmarshal(data, task); err != nil {
			return seen, false, err
		}
		seen = true
		if err := see(task); err != nil || task.HasEnded() {
			return seen, true, err
		}
	}
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// newKey returns a random UUID.
func newKey() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
