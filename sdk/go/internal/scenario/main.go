// Command scenario is the worker and the client of the scenarios: "scenario worker", "client" or "flow", with the URL in DTF_URL.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dtf.example/sdk/go/dtf"
)

func main() {
	urls := strings.Split(os.Getenv("DTF_URL"), ",")
	programs := map[string]func(*dtf.Client) error{"client": client, "flow": flow}
	if program, ok := programs[os.Args[len(os.Args)-1]]; ok {
		if err := program(dtf.NewClient(urls...)); err != nil {
			log.Fatal(err)
		}
		return
	}
	worker := dtf.NewWorker(urls...)
	if name := os.Getenv("DTF_NAME"); name != "" {
		worker.Name = name
	}
	concurrency, err := strconv.Atoi(os.Getenv("DTF_CONCURRENCY"))
	if err != nil {
		concurrency = 8
	}
	offer(worker)
	if err := worker.Run(context.Background(), concurrency); err != nil {
		log.Fatal(err)
	}
	fmt.Println("drained")
}

func offer(worker *dtf.Worker) {
	dtf.Handle(worker, "echo", func(_ context.Context, item any) (any, error) { return item, nil })
	dtf.Handle(worker, "noop", func(context.Context, json.RawMessage) (any, error) { return nil, nil })
	dtf.Handle(worker, "square", func(_ context.Context, item int) (int, error) { return item * item, nil })
	dtf.Handle(worker, "large", func(_ context.Context, item int) (string, error) { return strings.Repeat("é", item), nil })
	dtf.Handle(worker, "flaky", func(ctx context.Context, _ any) (any, error) {
		info := dtf.InfoOf(ctx)
		if info.Attempt == 0 {
			return nil, errors.New("not at the first attempt")
		}
		return []any{info.Task > 0, info.Attempt, info.Key != ""}, nil
	})
	dtf.Handle(worker, "sleep", func(ctx context.Context, seconds float64) (string, error) {
		fmt.Println("begun")
		select {
		case <-ctx.Done():
			fmt.Println("cancelled")
			return "", ctx.Err()
		case <-time.After(time.Duration(seconds * float64(time.Second))):
			return "slept", nil
		}
	})
	dtf.Handle(worker, "steps", func(ctx context.Context, seconds float64) (string, error) {
		for step := 0; step < 200; step++ {
			dtf.ReportProgress(ctx, float64(step)/200, fmt.Sprintf("step %d ✓", step))
			time.Sleep(5 * time.Millisecond)
		}
		dtf.ReportProgress(ctx, 1.5, "")
		dtf.Log(ctx, strings.Repeat("✓", 300))
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(time.Duration(seconds * float64(time.Second))):
			return "done", nil
		}
	})
	dtf.Handle(worker, "hang", func(context.Context, any) (any, error) { time.Sleep(time.Hour); return nil, nil }, dtf.Timeout(400*time.Millisecond))
	dtf.Handle(worker, "mixed", func(_ context.Context, item any) (any, error) {
		if item == "hang" {
			time.Sleep(time.Hour)
		}
		return item, nil
	}, dtf.Timeout(2*time.Second))
	dtf.Handle(worker, "poison", func(_ context.Context, item any) (any, error) { return nil, dtf.Final(fmt.Errorf("poison %v", item)) })
	dtf.Handle(worker, "raise", func(_ context.Context, item any) (any, error) { panic(fmt.Sprint("bad ", item)) }, dtf.Retries(1))
	dtf.Handle(worker, "unencodable", func(context.Context, any) (any, error) { return make(chan int), nil })
	dtf.Handle(worker, "crash", func(context.Context, any) (any, error) { return nil, syscall.Kill(os.Getpid(), syscall.SIGKILL) })
}

// client goes through the client once, and prints what it saw as JSON.
func client(c *dtf.Client) error {
	ctx := context.Background()
	seen := map[string]any{}
	task, err := c.Map(ctx, "square", dtf.List(1, 2, 3), dtf.MapOptions{Sink: "keep", Name: "ünïcode ✓", Attempts: 2})
	if err != nil {
		return err
	}
	last, err := c.Wait(ctx, task.ID)
	if err != nil {
		return err
	}
	seen["id"], seen["name"], seen["status"], seen["succeeded"] = last.ID, last.Name, last.Status, last.Progress.Succeeded
	results := []int{}
	err = c.Results(ctx, task.ID, func(raw json.RawMessage) error {
		number, err := strconv.Atoi(string(raw))
		results = append(results, number)
		return err
	})
	if err != nil {
		return err
	}
	sort.Ints(results)
	result, err := c.Result(ctx, task.ID)
	if err != nil {
		return err
	}
	seen["results"], seen["result"] = results, result != nil
	if err := failing(ctx, c, seen); err != nil {
		return err
	}
	if err := steering(ctx, c, seen); err != nil {
		return err
	}
	if err := feeding(ctx, c, seen); err != nil {
		return err
	}
	var answered *dtf.APIError
	if _, err := c.Get(ctx, 999_999); errors.As(err, &answered) {
		seen["error"] = answered.Code
	}
	if _, err := c.Create(ctx, "map", map[string]int{"source": 7}, nil); errors.As(err, &answered) {
		seen["invalid"] = answered.Code
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}

func failing(ctx context.Context, c *dtf.Client, seen map[string]any) error {
	task, err := c.Map(ctx, "poison", dtf.List("ä", "b", "c"), dtf.MapOptions{})
	if err != nil {
		return err
	}
	if task, err = c.Wait(ctx, task.ID); err != nil {
		return err
	}
	failures := []string{}
	err = c.Failures(ctx, task.ID, func(failure dtf.Failure) error { failures = append(failures, failure.Error); return nil })
	if err != nil {
		return err
	}
	again, err := c.Retry(ctx, task.ID)
	if err != nil {
		return err
	}
	if again, err = c.Wait(ctx, again.ID); err != nil {
		return err
	}
	seen["failed"], seen["failures"], seen["retried"] = task.Progress.Failed, failures, again.Progress.Failed
	return nil
}

func feeding(ctx context.Context, c *dtf.Client, seen map[string]any) error {
	task, err := c.Map(ctx, "square", dtf.Items(), dtf.MapOptions{Sink: "keep"})
	if err != nil {
		return err
	}
	id := task.ID
	if seen["fed"], err = c.Feed(ctx, id, "pröducer", 0, 1, 2, 3, 4); err != nil {
		return err
	}
	if seen["fed_again"], err = c.FeedAt(ctx, id, "pröducer", 0, 0, 1, 2, 3, 4); err != nil {
		return err
	}
	if seen["fed_on"], err = c.Feed(ctx, id, "pröducer", 5); err != nil {
		return err
	}
	if _, err = c.CloseTask(ctx, id); err != nil {
		return err
	}
	if task, err = c.Wait(ctx, id); err != nil {
		return err
	}
	seen["closed"] = task.Status
	squares := []int{}
	err = c.Results(ctx, id, func(raw json.RawMessage) error {
		number, err := strconv.Atoi(string(raw))
		squares = append(squares, number)
		return err
	})
	if err != nil {
		return err
	}
	sort.Ints(squares)
	seen["squares"] = squares
	var answered *dtf.APIError
	if _, err = c.Feed(ctx, id, "", 6); errors.As(err, &answered) {
		seen["late"] = answered.Code
	}
	return nil
}

func steering(ctx context.Context, c *dtf.Client, seen map[string]any) error {
	task, err := c.Map(ctx, "sleep", dtf.List(60, 60), dtf.MapOptions{})
	if err != nil {
		return err
	}
	id := task.ID
	if task, err = c.Pause(ctx, id); err != nil {
		return err
	}
	seen["paused"] = task.Status
	if task, err = c.Resume(ctx, id); err != nil {
		return err
	}
	seen["resumed"] = task.Status
	if _, err = c.Cancel(ctx, id); err != nil {
		return err
	}
	if task, err = c.Wait(ctx, id); err != nil {
		return err
	}
	seen["cancelled"] = task.Status
	return nil
}
