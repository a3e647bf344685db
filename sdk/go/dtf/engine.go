package dtf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	maxReport = 4 * 1024 * 1024
	pollWait  = 20 * time.Second
	beatWait  = 10 * time.Second
	// linger is the time that outcomes wait for others while more is running.
	linger = 2 * time.Millisecond
	// gatherFor is the longest pause before the next poll where the last one brought at least many items soon, and less than half of what was
	// asked for: more gather meanwhile, and a request costs both sides as much as dozens of small items. There is none while nothing is in
	// hand.
	gatherFor = 5 * time.Millisecond
	many      = 8
	soon      = 50 * time.Millisecond
	// ahead is the work that is fetched ahead.
	ahead = 20 * time.Millisecond
	// unnamed is the time after which a gateway gives an item that a beat does not name to others, and a little more.
	unnamed = 5500 * time.Millisecond
	// stale is the time after which an item that waits for a slot goes back where nothing ends.
	stale = 2 * time.Second
	// lastTries is the time for which the last outcomes are tried to be reported when the worker ends.
	lastTries = 30 * time.Second
	// tick is the time between two looks at what runs.
	tick = 20 * time.Millisecond
)

type session struct {
	id      string
	gateway int
}

// engine is a worker that runs: a goroutine polls, one reports, one beats, one watches deadlines, one tells what functions say, and one for each
// slot runs functions.
type engine struct {
	worker      *Worker
	calls       *transport
	info        map[string]any
	concurrency int
	// room, ready, held, active and said wake the goroutines that poll, report, beat, watch and tell. done is closed at the end.
	room, ready, held, active, said, done chan struct{}
	// ctx ends with the worker.
	ctx  context.Context
	stop context.CancelFunc

	mu   sync.Mutex
	work *sync.Cond
	// items is what the worker has, by ticket: all of it is named by beats. waiting has those that wait for a slot.
	items    map[string]*item
	waiting  []*item
	slots    map[*slot]struct{}
	outcomes []*item
	// notes is the newest note of each item, by ticket. refusesNotes is true once the service has refused some.
	notes        map[string]note
	refusesNotes bool
	// busy is the number of items that wait for a slot or have one.
	busy     int
	mean     time.Duration
	lastEnd  time.Time
	session  session
	lease    time.Duration
	gateway  int
	failures int
	// owed is the time at which a beat is due although nothing may run: then the gateway sees what was lost with an answer.
	owed time.Time
	// hurries is true if an item was dropped since the last beat.
	hurries  bool
	draining time.Time
	ended    bool
	fatal    error
	endPoll  context.CancelFunc
	// cuts is the number of polls that were broken off.
	cuts int
}

func newEngine(w *Worker, calls *transport, concurrency int) *engine {
	signal := func() chan struct{} { return make(chan struct{}, 1) }
	e := &engine{
		worker: w, calls: calls, concurrency: concurrency, mean: ahead, lease: 30 * time.Second,
		room: signal(), ready: signal(), held: signal(), active: signal(), said: signal(), done: make(chan struct{}),
		items: map[string]*item{}, slots: map[*slot]struct{}{}, notes: map[string]note{},
	}
	e.work = sync.NewCond(&e.mu)
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

func (e *engine) run() error {
	e.mu.Lock()
	for i := 0; i < e.concurrency; i++ {
		e.addSlot()
	}
	e.mu.Unlock()
	for _, loop := range []func(){e.poll, e.report, e.beat, e.watch, e.tell} {
		go loop()
	}
	<-e.done
	e.mu.Lock()
	last, fatal := e.session, e.fatal
	e.mu.Unlock()
	if last.id != "" {
		e.leave(last)
	}
	e.calls.http.CloseIdleConnections()
	return fatal
}

func (e *engine) leave(last session) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	body, _ := json.Marshal(map[string]string{"session": last.id})
	if err := e.calls.call(ctx, last.gateway, "POST", "/v1/work/leave", "", body, 0, nil); err != nil {
		e.worker.Logf("dtf: the gateway did not hear that the worker leaves: %v", err)
	}
}

func wake(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// pause waits for a signal or for some time, and returns false at the end of the worker.
func (e *engine) pause(channel chan struct{}, longest time.Duration) bool {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-channel:
	case <-timer.C:
	case <-e.done:
		return false
	}
	return true
}

// drain takes nothing more; what runs comes to its end, and what waits goes back.
func (e *engine) drain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drainLocked()
}

// Under the lock.

func (e *engine) settle(i *item, ended outcome) {
	if i.over {
		return
	}
	i.over, i.ended = true, ended
	e.outcomes = append(e.outcomes, i)
	wake(e.ready)
}

func (e *engine) release(i *item) {
	if i.released {
		return
	}
	i.released = true
	e.busy--
	if e.wanted() > 0 {
		wake(e.room)
	}
	if !e.draining.IsZero() {
		e.notify()
	}
}

// forget gives back an item that has not begun: beats do not name it any more.
func (e *engine) forget(i *item) {
	i.over = true
	delete(e.items, i.Ticket)
	e.release(i)
	e.owe(i.given)
}

func (e *engine) owe(since time.Time) {
	if due := since.Add(unnamed); due.After(e.owed) {
		e.owed = due
	}
	wake(e.held)
}

func (e *engine) drop(ticket string) {
	i := e.items[ticket]
	if i == nil {
		return
	}
	delete(e.items, ticket)
	// The service learns from a beat that does not name it that it is over here; nothing else may run that would make one.
	e.hurries = true
	wake(e.held)
	wasOver := i.over
	i.over = true
	if i.deadline.IsZero() {
		e.release(i)
	} else if !wasOver {
		i.context.cancel()
	}
}

// wanted is the number of items to ask for: none while enough wait for a slot.
func (e *engine) wanted() int {
	further := e.worker.Prefetch
	if further < 0 {
		further = int(time.Duration(e.concurrency) * ahead / (e.mean + 1))
		if further > maxItems {
			further = maxItems
		}
	}
	waiting := e.busy - e.concurrency
	if waiting > further/2 || (further == 0 && waiting >= 0) {
		return 0
	}
	most := e.concurrency + further - e.busy
	if most > maxItems {
		most = maxItems
	}
	return most
}

func (e *engine) notify() {
	wake(e.room)
	wake(e.ready)
	wake(e.held)
	if !e.draining.IsZero() && e.busy <= 0 && len(e.items) == 0 && !e.ended {
		e.ended = true
		e.work.Broadcast()
		close(e.done)
		e.stop()
	}
}

func (e *engine) drainLocked() {
	if !e.draining.IsZero() {
		return
	}
	running := 0
	for s := range e.slots {
		if s.item != nil {
			running++
		}
	}
	e.worker.Logf("dtf: draining: %d items run", running)
	e.draining = time.Now()
	for _, i := range e.items {
		if i.deadline.IsZero() && !i.over {
			e.forget(i)
		}
	}
	e.breakOffPoll()
	e.notify()
}

// breakOffPoll ends a poll that waits. What its answer may have brought is not named by the next beat.
func (e *engine) breakOffPoll() {
	e.cuts++
	e.owe(time.Now())
	if e.endPoll != nil {
		e.endPoll()
	}
}

// lost says that a session has ended. What runs goes on, and its successes are reported in the next one.
func (e *engine) lost(which session) {
	if which.id != "" && which == e.session {
		e.worker.Logf("dtf: the session has ended; a new one begins")
		e.session = session{}
		e.notify()
	}
}

// failed takes an error of a call, and returns true if it is to be tried again after a pause.
func (e *engine) failed(err error, which session, gateway int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	var answered *APIError
	if errors.As(err, &answered) {
		if answered.Code == "no_session" {
			e.lost(which)
			return false
		}
		elsewhere := len(e.calls.urls) > 1 && (answered.Code == "not_allowed" || answered.Code == "not_found")
		if !answered.IsRetryable() && !elsewhere {
			if e.fatal == nil {
				e.fatal = err
			}
			e.drainLocked()
			return true
		}
	}
	e.worker.Logf("dtf: %s: %v", e.calls.urls[gateway], err)
	if gateway != e.gateway {
		return true
	}
	e.failures++
	if len(e.calls.urls) > 1 && e.failures >= 2 {
		// The next gateway is tried.
		e.failures, e.gateway = 0, (gateway+1)%len(e.calls.urls)
		e.lost(e.session)
	}
	return true
}

func (e *engine) heard(dropped []string, drain bool) {
	for _, ticket := range dropped {
		e.drop(ticket)
	}
	if drain {
		e.drainLocked()
	}
}

// Polling.

func (e *engine) poll() {
	var pauses backoff
	names := make([]string, 0, len(e.worker.functions))
	for name := range e.worker.functions {
		names = append(names, name)
	}
	for {
		e.mu.Lock()
		current, gateway, most, cuts, must := e.session, e.gateway, e.wanted(), e.cuts, e.mustPoll()
		wait := shorter(pollWait, e.lease*2/3)
		ctx, cancel := context.WithCancel(e.ctx)
		e.endPoll = cancel
		e.mu.Unlock()
		if !must {
			cancel()
			if !e.pause(e.room, time.Hour) {
				return
			}
			continue
		}
		// A session begins without items, so that none are lost with the answer.
		asked := map[string]any{"worker": e.info, "functions": names, "most": 0, "wait_ms": 0}
		if current.id != "" {
			asked = map[string]any{"session": current.id, "most": most, "wait_ms": wait.Milliseconds()}
		}
		body, _ := json.Marshal(asked)
		var answer work
		began := time.Now()
		err := e.calls.call(ctx, gateway, "POST", "/v1/work/poll", "", body, wait, &answer)
		cancel()
		if err == nil && answer.Session == "" {
			err = &ConnectionError{e.calls.urls[gateway], errors.New("the answer has no session")}
		}
		if err == nil {
			pauses = backoff{}
			e.take(&answer, gateway, current.id == "")
			if got := len(answer.Items); got >= many && got < most/2 && time.Since(began) < soon {
				e.gather()
			}
			continue
		}
		e.mu.Lock()
		e.owe(time.Now())
		brokenOff := e.cuts > cuts
		e.mu.Unlock()
		if !brokenOff && e.failed(err, current, gateway) && !e.pause(nil, pauses.next(err)) {
			return
		}
	}
}

// gather waits while there is something in hand, but not for long.
func (e *engine) gather() {
	for end := time.Now().Add(gatherFor); ; {
		e.mu.Lock()
		inHand := len(e.items) > 0
		e.mu.Unlock()
		left := time.Until(end)
		if !inHand || left <= 0 || !e.pause(e.room, left) {
			return
		}
	}
}

func (e *engine) mustPoll() bool {
	if e.ended {
		return false
	}
	if e.draining.IsZero() {
		return e.session.id == "" || e.wanted() > 0
	}
	return e.session.id == "" && e.fatal == nil && len(e.items) > 0
}

func (e *engine) take(answer *work, gateway int, isNew bool) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures = 0
	if isNew {
		e.session = session{answer.Session, gateway}
		if answer.LeaseMS > 0 {
			e.lease = time.Duration(answer.LeaseMS) * time.Millisecond
		}
		e.notify()
	}
	for _, given := range answer.Items {
		e.accept(given, answer.Session, now)
	}
	e.heard(answer.Dropped, answer.Drain)
}

func (e *engine) accept(given workItem, name string, now time.Time) {
	if !e.draining.IsZero() {
		return
	}
	if held := e.items[given.Ticket]; held != nil {
		// It was given to others meanwhile, and comes back: the execution that there is counts again.
		held.session, held.given = name, now
		return
	}
	i := &item{workItem: given, function: e.worker.functions[given.Function], session: name, given: now}
	i.context.item, i.context.tell = i, e.note
	i.timeout = time.Duration(given.TimeoutMS) * time.Millisecond
	if len(e.items) == 0 {
		wake(e.held)
	}
	e.items[i.Ticket] = i
	e.busy++
	wake(e.active)
	if i.function == nil {
		e.release(i)
		e.settle(i, i.outcome(nil, fmt.Errorf("this worker has no function %q", given.Function)))
		return
	}
	if i.function.timeout > 0 {
		i.timeout = shorter(i.timeout, i.function.timeout)
	}
	e.waiting = append(e.waiting, i)
	e.work.Signal()
}

func shorter(one, other time.Duration) time.Duration {
	if one < other {
		return one
	}
	return other
}
