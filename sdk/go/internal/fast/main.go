// Command fast is a gateway without a service behind it: it gives items that do nothing as fast as it is asked for them, up to some that are in
// hand, and counts the reports. So it shows what a worker can do, whatever the service can. "fast ITEMS INHAND" prints its URL, and then the
// rate of each round of so many items, in items a second.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

type gateway struct {
	items, inHand int

	mu    sync.Mutex
	some  *sync.Cond
	given int
	done  int
	next  int
	began time.Time
}

func main() {
	items, err := strconv.Atoi(os.Args[1])
	check(err)
	inHand, err := strconv.Atoi(os.Args[2])
	check(err)
	g := &gateway{items: items, inHand: inHand}
	g.some = sync.NewCond(&g.mu)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Printf("http://%s\n", listener.Addr())
	http.HandleFunc("/v1/work/poll", g.poll)
	http.HandleFunc("/v1/work/report", g.report)
	http.HandleFunc("/v1/work/beat", g.beat)
	http.HandleFunc("/v1/work/leave", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	go g.giveAgain()
	check(http.Serve(listener, nil))
}

// giveAgain gives as many items again as a worker has given back, as one does that was slow to begin: nothing is reported any more then.
func (g *gateway) giveAgain() {
	for seen := -1; ; time.Sleep(6 * time.Second) {
		g.mu.Lock()
		if g.done == seen && g.given > g.done {
			g.given = g.done
			g.some.Broadcast()
		}
		seen = g.done
		g.mu.Unlock()
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// read reads the body of a call. What makes items costly is read without reflection.
func read(r *http.Request, into any) []byte {
	body, err := io.ReadAll(r.Body)
	check(err)
	if into != nil {
		check(json.Unmarshal(body, into))
	}
	return body
}

func (g *gateway) poll(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Most int }
	read(r, &asked)
	var answer bytes.Buffer
	answer.WriteString(`{"session":"00000000-0000-4000-8000-000000000000","lease_ms":30000,"items":[`)
	for n, number := 0, g.take(asked.Most); n < len(number); n++ {
		if n > 0 {
			answer.WriteByte(',')
		}
		fmt.Fprintf(&answer, `{"ticket":"00000000-0000-4000-8000-%012x","function":"noop","task":1,"key":"1-1-1-%d","attempt":0,`+
			`"timeout_ms":60000,"body":%d}`, number[n], number[n], number[n])
	}
	answer.WriteString(`],"dropped":[],"drain":false}`)
	w.Header().Set("Content-Type", "application/json")
	w.Write(answer.Bytes())
}

// take returns the numbers of items, and waits for the first one.
func (g *gateway) take(most int) (numbers []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for most > 0 && (g.given == g.items || g.given-g.done >= g.inHand) {
		g.some.Wait()
	}
	if g.given == 0 && most > 0 {
		g.began = time.Now()
	}
	for len(numbers) < most && g.given < g.items && g.given-g.done < g.inHand {
		g.given, g.next = g.given+1, g.next+1
		numbers = append(numbers, g.next)
	}
	return numbers
}

func (g *gateway) report(w http.ResponseWriter, r *http.Request) {
	count := bytes.Count(read(r, nil), []byte(`"ticket"`))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done += count; g.done >= g.items {
		fmt.Printf("%.0f\n", float64(g.done)/time.Since(g.began).Seconds())
		g.given, g.done = 0, 0
	}
	g.some.Broadcast()
	fmt.Fprintf(w, `{"accepted":%d,"unknown":[]}`, count)
}

func (g *gateway) beat(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Wait int64 `json:"wait_ms"`
	}
	read(r, &asked)
	select {
	case <-time.After(time.Duration(asked.Wait) * time.Millisecond):
	case <-r.Context().Done():
	}
	fmt.Fprint(w, `{"lease_ms":30000,"dropped":[],"drain":false}`)
}
