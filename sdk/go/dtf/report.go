package dtf

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

func (e *engine) report() {
	for {
		e.mu.Lock()
		some := len(e.outcomes)
		lingers := e.busy > 0 && some < maxItems && e.draining.IsZero()
		e.mu.Unlock()
		if some == 0 {
			if !e.pause(e.ready, time.Hour) {
				return
			}
			continue
		}
		if lingers && !e.pause(nil, linger) {
			return
		}
		e.send(e.batch())
	}
}

func (e *engine) batch() []*item {
	e.mu.Lock()
	defer e.mu.Unlock()
	var batch []*item
	size, taken := 128, 0
	for _, i := range e.outcomes {
		size += len(i.ended.report) + 1
		if len(batch) == maxItems || (len(batch) > 0 && size > maxReport) {
			break
		}
		taken++
		// What was dropped meanwhile is not reported.
		if e.items[i.Ticket] == i {
			batch = append(batch, i)
		}
	}
	e.outcomes = append([]*item(nil), e.outcomes[taken:]...)
	return batch
}

// send sends reports until they are taken, or do not count any more.
func (e *engine) send(batch []*item) {
	var pauses backoff
	for len(batch) > 0 {
		current, ok := e.awaitSession()
		if !ok {
			e.reported(batch)
			return
		}
		// A failure counts only from the session that was given the item.
		var counting, late []*item
		e.mu.Lock()
		for _, i := range batch {
			if i.ended.err == nil || i.session == current.id {
				counting = append(counting, i)
			} else {
				late = append(late, i)
			}
		}
		e.mu.Unlock()
		e.reported(late)
		batch = counting
		if len(batch) == 0 {
			return
		}
		var body bytes.Buffer
		fmt.Fprintf(&body, `{"session":%q,"reports":[`, current.id)
		for n, i := range batch {
			if n > 0 {
				body.WriteByte(',')
			}
			body.Write(i.ended.report)
		}
		body.WriteString("]}")
		answer := struct{ Unknown *[]string }{}
		err := e.calls.call(e.ctx, current.gateway, "POST", "/v1/work/report", "", body.Bytes(), 0, &answer)
		if err == nil && answer.Unknown == nil {
			err = &ConnectionError{e.calls.urls[current.gateway], errors.New("the answer to a report lacks unknown")}
		}
		if err == nil {
			e.reported(batch)
			return
		}
		var answered *APIError
		if errors.As(err, &answered) && (answered.Code == "too_large" || answered.Code == "invalid_request") {
			e.sendApart(batch, answered)
			return
		}
		if e.failed(err, current, current.gateway) && !e.pause(nil, pauses.next(err)) {
			return
		}
	}
}

// awaitSession returns the session; none if the worker ends and none can be had.
func (e *engine) awaitSession() (session, bool) {
	for {
		e.mu.Lock()
		current := e.session
		if !e.draining.IsZero() {
			since := e.draining
			if e.lastEnd.After(since) {
				since = e.lastEnd
			}
			if time.Since(since) > lastTries || (e.fatal != nil && current.id == "") {
				e.worker.Logf("dtf: %d outcomes could not be reported; their items will run again", len(e.items))
				e.mu.Unlock()
				return session{}, false
			}
		}
		e.mu.Unlock()
		if current.id != "" {
			return current, true
		}
		wake(e.room)
		if !e.pause(e.ready, 200*time.Millisecond) {
			return session{}, false
		}
	}
}

// sendApart finds the report that is refused, and makes it a failure.
func (e *engine) sendApart(batch []*item, refusal *APIError) {
	if half := len(batch) / 2; half > 0 {
		e.send(batch[:half])
		e.send(batch[half:])
		return
	}
	if i := batch[0]; i.ended.err == nil {
		i.ended = i.outcome(nil, Final(fmt.Errorf("the result was refused: %s", refusal.Detail)))
		e.send(batch)
		return
	}
	e.worker.Logf("dtf: a report is refused: %v", refusal)
	e.reported(batch)
}

func (e *engine) reported(batch []*item) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures = 0
	for _, i := range batch {
		if e.items[i.Ticket] == i {
			delete(e.items, i.Ticket)
		}
	}
	if len(e.items) == 0 {
		wake(e.room)
	}
	if !e.draining.IsZero() {
		e.notify()
	}
}
