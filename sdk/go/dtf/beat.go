package dtf

import (
	"encoding/json"
	"errors"
	"time"
)

func (e *engine) beat() {
	var pauses backoff
	for {
		now := time.Now()
		e.mu.Lock()
		current, longest := e.session, shorter(beatWait, e.lease/3)
		running := e.heldIn(current)
		isOwed := !e.owed.IsZero()
		if isOwed {
			longest = shorter(longest, e.owed.Sub(now))
		}
		hurries := e.hurries
		must := current.id != "" && (len(e.items) > 0 || hurries || isOwed && longest <= 0)
		if must {
			e.hurries = false
		}
		e.mu.Unlock()
		if longest < 0 || hurries {
			longest = 0
		}
		if !must {
			if !isOwed || longest == 0 {
				longest = time.Hour
			}
			if !e.pause(e.held, longest) {
				return
			}
			continue
		}
		err := e.sendBeat(current, running, longest, nil)
		if err != nil {
			e.mu.Lock()
			e.hurries = e.hurries || hurries
			e.mu.Unlock()
			if e.ctx.Err() != nil || (e.failed(err, current, current.gateway) && !e.pause(nil, pauses.next(err))) {
				return
			}
			continue
		}
		pauses = backoff{}
		e.mu.Lock()
		if !e.owed.IsZero() && !e.owed.After(now) {
			e.owed = time.Time{}
		}
		e.mu.Unlock()
	}
}

// heldIn returns the tickets of all items that a session has.
func (e *engine) heldIn(current session) []string {
	running := make([]string, 0, len(e.items))
	for ticket, i := range e.items {
		if i.session == current.id {
			running = append(running, ticket)
		}
	}
	return running
}

// sendBeat names all items that the worker has, and hears which are not wanted any more.
func (e *engine) sendBeat(current session, running []string, wait time.Duration, notes []note) error {
	beat := map[string]any{"session": current.id, "running": running, "wait_ms": wait.Milliseconds()}
	if len(notes) > 0 {
		beat["notes"] = notes
	}
	body, err := json.Marshal(beat)
	if err != nil {
		return err
	}
	news := struct {
		Dropped *[]string
		Drain   bool
	}{}
	err = e.calls.call(e.ctx, current.gateway, "POST", "/v1/work/beat", "", body, wait, &news)
	if err == nil && news.Dropped == nil {
		err = &ConnectionError{e.calls.urls[current.gateway], errors.New("the answer to a beat lacks dropped")}
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures = 0
	e.heard(*news.Dropped, news.Drain)
	return nil
}
