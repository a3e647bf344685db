package dtf

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// slot is a goroutine that runs functions; item is what it runs, and lost is true once it was given up. Both are under the engine's lock.
type slot struct {
	item *item
	lost bool
}

func (e *engine) addSlot() {
	s := &slot{}
	e.slots[s] = struct{}{}
	go e.serve(s)
}

// serve runs functions in a slot. An item costs one turn of the lock: what has ended is handed over as the next one is taken.
func (e *engine) serve(s *slot) {
	var ended outcome
	for {
		i := e.next(s, ended)
		if i == nil {
			return
		}
		ended = i.outcome(i.run())
		i.Body = nil
		i.context.cancel()
	}
}

// next takes the outcome of the item that a slot had, and returns the next one; none at the end of the worker, or if the slot was given up.
func (e *engine) next(s *slot, ended outcome) *item {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.item != nil {
		e.end(s, ended, now)
	}
	for !e.ended && !s.lost {
		if len(e.waiting) == 0 {
			e.work.Wait()
			now = time.Now()
			continue
		}
		i := e.waiting[0]
		e.waiting[0] = nil
		e.waiting = e.waiting[1:]
		if !i.over {
			i.deadline, s.item = now.Add(i.timeout), i
			return i
		}
	}
	return nil
}

func (e *engine) end(s *slot, ended outcome, now time.Time) {
	i := s.item
	s.item = nil
	e.lastEnd = now
	e.mean += (now.Sub(i.deadline) + i.timeout - e.mean) / 20
	e.release(i)
	if ended.err != nil && !now.Before(i.deadline) {
		ended = i.outcome(nil, fmt.Errorf("the function took longer than %v: %w", i.timeout, ended.err))
	}
	e.settle(i, ended)
}

// watch stops items whose time is over, and gives back those that wait too long for a slot.
func (e *engine) watch() {
	for e.pause(nil, tick) {
		now := time.Now()
		e.mu.Lock()
		running := 0
		for s := range e.slots {
			if s.item == nil {
				continue
			}
			running++
			if now.After(s.item.deadline) {
				e.overrun(s)
			}
		}
		if e.busy > 0 && now.Sub(e.lastEnd) > stale {
			e.giveBack(now)
		}
		idle := e.busy <= 0 && running == 0
		e.mu.Unlock()
		if idle && !e.pause(e.active, time.Hour) {
			return
		}
	}
}

// giveBack gives back what waits too long for a slot, and fetches nothing ahead until functions are fast again.
func (e *engine) giveBack(now time.Time) {
	some := false
	for _, i := range e.items {
		if i.deadline.IsZero() && !i.over && now.Sub(i.given) > stale {
			some = true
			if e.mean < stale {
				e.mean = stale
			}
			e.forget(i)
		}
	}
	if some {
		e.breakOffPoll()
	}
}

func (e *engine) overrun(s *slot) {
	i := s.item
	e.settle(i, i.outcome(nil, fmt.Errorf("the function took longer than %v", i.timeout)))
	i.context.cancel()
	e.release(i)
	// The goroutine of a function that does not return is lost; another one takes its place.
	s.lost = true
	delete(e.slots, s)
	e.addSlot()
}

// itemContext is the context of a function. Its deadline is kept by the engine, which needs no timer for each item, and what is cancelled is
// made when it is asked for.
type itemContext struct {
	item *item
	tell func(*item, note)

	mu        sync.Mutex
	made      context.Context
	stop      context.CancelFunc
	cancelled bool
	progress  *float64
}

func (c *itemContext) inner() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		c.made, c.stop = context.WithCancel(context.Background())
		if c.cancelled {
			c.stop()
		}
	}
	return c.made
}

// cancel tells the function that the item is not wanted any more.
func (c *itemContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancelled = true
	if c.stop != nil {
		c.stop()
	}
}

func (c *itemContext) Deadline() (time.Time, bool) { return c.item.deadline, true }
func (c *itemContext) Done() <-chan struct{}       { return c.inner().Done() }
func (c *itemContext) Err() error                  { return c.inner().Err() }

func (c *itemContext) Value(key any) any {
	switch key.(type) {
	case infoKey:
		return Info{c.item.Task, c.item.Key, c.item.Attempt, c.item.Function}
	case contextKey:
		return c
	}
	return c.inner().Value(key)
}
