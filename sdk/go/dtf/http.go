package dtf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// callTimeout is the time to wait for an answer, besides the time that a call asks the server to wait.
const callTimeout = 35 * time.Second

// APIError is an error that a server answered.
type APIError struct {
	// Code is its stable name, such as "not_found".
	Code string `json:"code"`
	// Detail says in a sentence what was wrong and what is allowed.
	Detail string `json:"detail"`
	// Status is the HTTP status.
	Status int `json:"status"`
	// RetryAfter is the pause that the server asks for, if any.
	RetryAfter time.Duration `json:"-"`
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%s (%s, HTTP %d)", e.Detail, e.Code, e.Status)
}

// IsRetryable returns true if the same request may succeed later.
func (e *APIError) IsRetryable() bool {
	return e.Code != "refused" && (e.Status >= 500 || e.Status == 408 || e.Status == 425 || e.Status == 429)
}

// ConnectionError says that a server did not answer, or answered something that cannot be read. The request may have been carried out.
type ConnectionError struct {
	// URL is the server's.
	URL string
	// Err is the cause.
	Err error
}

func (e *ConnectionError) Error() string { return fmt.Sprintf("%s does not answer: %v", e.URL, e.Err) }

// Unwrap returns the cause.
func (e *ConnectionError) Unwrap() error { return e.Err }

type transport struct {
	http  *http.Client
	urls  []string
	token string
}

func newTransport(urls []string, token string) (*transport, error) {
	if len(urls) == 0 {
		return nil, errors.New("no URL of a server is given; give at least one, such as http://127.0.0.1:7070")
	}
	checked := make([]string, len(urls))
	for i, text := range urls {
		parsed, err := url.Parse(text)
		if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" {
			return nil, fmt.Errorf("%q is no URL of a server; write http://HOST:PORT or https://HOST:PORT", text)
		}
		checked[i] = strings.TrimRight(text, "/")
	}
	if token == "" {
		token = os.Getenv("DTF_TOKEN")
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	pool := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, DisableCompression: true,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
	}
	return &transport{http: &http.Client{Transport: pool}, urls: checked, token: token}, nil
}

// open sends a request and returns its response, whose body is not read yet.
func (t *transport) open(ctx context.Context, at int, method, path, key string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, t.urls[at]+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", contentType(path))
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	if t.token != "" {
		request.Header.Set("Authorization", "Bearer "+t.token)
	}
	response, err := t.http.Do(request)
	if err != nil {
		return nil, &ConnectionError{t.urls[at], err}
	}
	return response, nil
}

// contentType returns the type of the body that a path takes: JSON, or a JSON value a line where items are fed.
func contentType(path string) string {
	if path, _, _ := strings.Cut(path, "?"); strings.HasSuffix(path, "/items") {
		return "application/x-ndjson"
	}
	return "application/json"
}

// call sends a request and reads the JSON of its answer into `into`.
func (t *transport) call(ctx context.Context, at int, method, path, key string, body []byte, wait time.Duration, into any) error {
	ctx, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	response, err := t.open(ctx, at, method, path, key, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return &ConnectionError{t.urls[at], err}
	}
	if response.StatusCode >= 400 {
		return problem(t.urls[at], response, data)
	}
	if into == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return &ConnectionError{t.urls[at], fmt.Errorf("the answer cannot be used: %w", err)}
	}
	return nil
}

func problem(url string, response *http.Response, data []byte) error {
	answered := &APIError{Code: "unknown", Detail: response.Status}
	if err := json.Unmarshal(data, answered); err != nil {
		return &ConnectionError{url, fmt.Errorf("the answer (HTTP %d) is no JSON", response.StatusCode)}
	}
	answered.Status = response.StatusCode
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		answered.RetryAfter = time.Duration(seconds) * time.Second
	}
	return answered
}

// backoff is growing pauses with jitter: up to 50 ms first, doubled with each failure, at most 5 s.
type backoff struct{ failures int }

func (b *backoff) next(err error) time.Duration {
	longest := 5 * time.Second
	if b.failures < 7 {
		longest = 50 * time.Millisecond << b.failures
	}
	b.failures++
	pause := longest/4 + time.Duration(rand.Int63n(int64(longest)*3/4))
	var answered *APIError
	if errors.As(err, &answered) && answered.RetryAfter > 0 {
		least := answered.RetryAfter
		if least > time.Minute {
			least = time.Minute
		}
		pause += least
	}
	return pause
}
