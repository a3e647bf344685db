package dtf

import (
	"context"
	"errors"
	"strings"
	"time"
)

const (
	// maxMessage is the most characters of a message about an item that runs.
	maxMessage = 256
	// notesPause is the least time between two requests with notes.
	notesPause = time.Second
)

// note is what a function says of its item.
type note struct {
	Ticket   string   `json:"ticket"`
	Progress *float64 `json:"progress,omitempty"`
	Message  *string  `json:"message,omitempty"`
}

type contextKey struct{}

// ReportProgress tells the service how much of the item that a function with this context runs on is done, from 0 to 1, and in a line what is done
// now. Only the newest is told, once a second at most, so a function may call it as often as it likes.
func ReportProgress(ctx context.Context, fraction float64, message string) {
	if !(fraction > 0) {
		fraction = 0
	} else if fraction > 1 {
		fraction = 1
	}
	say(ctx, &fraction, message)
}

// Log tells the service in a line what is done now with the item that a function with this context runs on; the first 256 characters count.
func Log(ctx context.Context, message string) { say(ctx, nil, message) }

func say(ctx context.Context, fraction *float64, message string) {
	c, ok := ctx.Value(contextKey{}).(*itemContext)
	if !ok {
		return // The context is not one of an item, as in a test of a function.
	}
	c.mu.Lock()
	if fraction != nil {
		c.progress = fraction
	}
	said := note{Ticket: c.item.Ticket, Progress: c.progress}
	c.mu.Unlock()
	if message != "" {
		message = strings.ToValidUTF8(message, "\uFFFD")
		count := 0
		for at := range message {
			if count == maxMessage {
				message = message[:at]
				break
			}
			count++
		}
		said.Message = &message
	}
	c.tell(c.item, said)
}

func (e *engine) note(i *item, said note) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !i.over && !e.refusesNotes {
		e.notes[i.Ticket] = said
		wake(e.said)
	}
}

// tell sends the newest notes, once a second at most, with a beat of their own beside the one that waits.
func (e *engine) tell() {
	var pauses backoff
	for e.pause(e.said, time.Hour) {
		e.mu.Lock()
		current, told := e.session, e.notes
		e.notes = map[string]note{}
		listed := make([]note, 0, len(told))
		for ticket, said := range told {
			if e.items[ticket] != nil {
				listed = append(listed, said)
			}
		}
		running := e.heldIn(current)
		e.mu.Unlock()
		pause := notesPause
		var err error
		if current.id != "" && len(listed) > 0 {
			err = e.sendBeat(current, running, 0, listed)
		}
		var answered *APIError
		switch {
		case errors.As(err, &answered) && answered.Code == "invalid_request":
			e.worker.Logf("dtf: the service takes no progress of items: %v", err)
			e.mu.Lock()
			e.refusesNotes = true
			e.mu.Unlock()
			return
		case err != nil || current.id == "":
			if more := pauses.next(err); more > pause {
				pause = more
			}
			e.tellAgain(told)
		default:
			pauses = backoff{}
		}
		if !e.pause(nil, pause) {
			return
		}
	}
}

// tellAgain keeps notes that were not taken, where there are no newer ones.
func (e *engine) tellAgain(told map[string]note) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ticket, said := range told {
		if _, newer := e.notes[ticket]; !newer && e.items[ticket] != nil {
			e.notes[ticket] = said
		}
	}
	if len(e.notes) > 0 {
		wake(e.said)
	}
}
