package dtf

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// work is the answer to a poll.
type work struct {
	Session string     `json:"session"`
	LeaseMS int64      `json:"lease_ms"`
	Items   []workItem `json:"items"`
	Dropped []string   `json:"dropped"`
	Drain   bool       `json:"drain"`
}

// UnmarshalJSON reads an answer to a poll without reflection, which would cost more than a small function. The package json has checked that
// it is JSON.
func (w *work) UnmarshalJSON(data []byte) error {
	r := reader{data: data}
	r.object(func(name []byte) {
		switch string(name) {
		case "session":
			w.Session = r.text("")
		case "lease_ms":
			w.LeaseMS = int64(r.number())
		case "items":
			r.array(func() { w.Items = append(w.Items, r.item(w.Items)) })
		case "dropped":
			r.array(func() { w.Dropped = append(w.Dropped, r.text("")) })
		case "drain":
			w.Drain = string(r.value()) == "true"
		default:
			r.value()
		}
	})
	return r.err
}

// reader reads JSON. After an error it reads nothing more.
type reader struct {
	data []byte
	at   int
	err  error
}

// item reads an item. Those before it have the same function, mostly.
func (r *reader) item(before []workItem) (i workItem) {
	last := ""
	if len(before) > 0 {
		last = before[len(before)-1].Function
	}
	r.object(func(name []byte) {
		switch string(name) {
		case "ticket":
			i.Ticket = r.text("")
		case "function":
			i.Function = r.text(last)
		case "task":
			i.Task = r.number()
		case "key":
			i.Key = r.text("")
		case "attempt":
			i.Attempt = uint32(r.number())
		case "timeout_ms":
			i.TimeoutMS = int64(r.number())
		case "body":
			// A copy, so that a slow item does not keep the whole answer.
			i.Body = append(json.RawMessage(nil), r.value()...)
		default:
			r.value()
		}
	})
	return i
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errors.New("the answer has another shape than work has, at byte " + strconv.Itoa(r.at))
	}
	r.at = len(r.data)
}

// peek returns the next byte that is no space; 0 at the end.
func (r *reader) peek() byte {
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

func (r *reader) skip(want byte) bool {
	if r.peek() != want {
		r.fail()
		return false
	}
	r.at++
	return true
}

// members reads what is between two brackets and separated by commas.
func (r *reader) members(open, end byte, member func()) {
	if r.peek() == 'n' {
		r.value() // null
		return
	}
	if !r.skip(open) {
		return
	}
	if r.peek() == end {
		r.at++
		return
	}
	for {
		member()
		if r.peek() == end {
			r.at++
			return
		}
		if !r.skip(',') {
			return
		}
	}
}

func (r *reader) array(element func()) { r.members('[', ']', element) }

func (r *reader) object(field func(name []byte)) {
	r.members('{', '}', func() {
		name := r.value()
		if len(name) < 2 || name[0] != '"' || !r.skip(':') {
			r.fail()
			return
		}
		field(name[1 : len(name)-1])
	})
}

// text reads a string; the same one as another where they are equal.
func (r *reader) text(other string) string {
	raw := r.value()
	if len(raw) < 2 || raw[0] != '"' {
		r.fail()
		return ""
	}
	if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 {
		if string(plain) == other {
			return other
		}
		return string(plain)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		r.fail()
	}
	return text
}

func (r *reader) number() uint64 {
	raw := r.value()
	number := uint64(0)
	for _, c := range raw {
		if c < '0' || c > '9' || number > (1<<64-10)/10 {
			r.fail()
			return 0
		}
		number = number*10 + uint64(c-'0')
	}
	if len(raw) == 0 {
		r.fail()
	}
	return number
}

// value passes over a value, and returns it.
func (r *reader) value() []byte {
	r.peek()
	from, depth := r.at, 0
	for r.at < len(r.data) {
		c := r.data[r.at]
		switch c {
		case '"':
			r.quoted()
		case '{', '[':
			depth++
			r.at++
		case '}', ']':
			if depth == 0 {
				return r.data[from:r.at]
			}
			depth--
			r.at++
		case ',', ':', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return r.data[from:r.at]
			}
			r.at++
			continue
		default:
			r.at++
			continue
		}
		if depth == 0 {
			return r.data[from:r.at]
		}
	}
	return r.data[from:r.at]
}

// quoted passes over a string.
func (r *reader) quoted() {
	for r.at++; r.at < len(r.data); r.at++ {
		switch r.data[r.at] {
		case '\\':
			r.at++
		case '"':
			r.at++
			return
		}
	}
	r.fail()
}
