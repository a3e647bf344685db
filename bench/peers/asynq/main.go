// Jobs on asynq: `asynq WORKLOAD JOBS REDIS_ADDRESS` prints one JSON object.
//
// asynq has no call that enqueues many jobs, so all workloads enqueue from 64 clients. Its servers poll an empty queue
// every second by default; with TaskCheckInterval at 1 ms an idle system reacts at once and polls a thousand times a second.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

const clients = 64

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: asynq noop|wait|single|latency|waiting JOBS REDIS_ADDRESS")
	}
	jobs, err := strconv.Atoi(os.Args[2])
	check(err)
	redis := asynq.RedisClientOpt{Addr: os.Args[3], PoolSize: clients}
	switch os.Args[1] {
	case "noop", "single":
		throughput(redis, jobs, 100, 0)
	case "wait":
		throughput(redis, jobs, 1024, 30*time.Millisecond)
	case "latency":
		latency(redis, jobs)
	case "waiting":
		client := asynq.NewClient(redis)
		enqueue(client, jobs)
		print(map[string]float64{"jobs": float64(jobs)})
	default:
		log.Fatalf("unknown workload %s", os.Args[1])
	}
}

// throughput measures from the first enqueueing until the queue has recorded the last job as done.
func throughput(redis asynq.RedisClientOpt, jobs, concurrency int, wait time.Duration) {
	var done atomic.Int64
	all := make(chan struct{})
	handler := func(context.Context, *asynq.Task) error {
		time.Sleep(wait)
		if done.Add(1) == int64(jobs) {
			close(all)
		}
		return nil
	}
	server := start(redis, concurrency, handler)
	client, inspector := asynq.NewClient(redis), asynq.NewInspector(redis)
	begin, cpu := time.Now(), cpuSeconds()
	enqueue(client, jobs)
	<-all
	for {
		info, err := inspector.GetQueueInfo("default")
		check(err)
		if info.Size == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	seconds, used := time.Since(begin).Seconds(), cpuSeconds()-cpu
	server.Shutdown()
	print(map[string]float64{
		"jobs_per_s":        float64(jobs) / seconds,
		"client_us_per_job": used * 1e6 / float64(jobs),
	})
}

// latency measures from enqueueing until a client sees the job recorded as completed, one job after the other.
func latency(redis asynq.RedisClientOpt, jobs int) {
	server := start(redis, 10, func(context.Context, *asynq.Task) error { return nil })
	client, inspector := asynq.NewClient(redis), asynq.NewInspector(redis)
	var times []float64
	for job := 0; job < jobs; job++ {
		begin := time.Now()
		info, err := client.Enqueue(asynq.NewTask("job", body(job)), asynq.Retention(time.Hour))
		check(err)
		for info.State != asynq.TaskStateCompleted {
			time.Sleep(100 * time.Microsecond)
			info, err = inspector.GetTaskInfo("default", info.ID)
			check(err)
		}
		times = append(times, time.Since(begin).Seconds()*1000)
	}
	server.Shutdown()
	sort.Float64s(times)
	print(map[string]float64{"p50_ms": times[len(times)/2], "p99_ms": times[len(times)*99/100]})
}

func start(redis asynq.RedisClientOpt, concurrency int, handler asynq.HandlerFunc) *asynq.Server {
	server := asynq.NewServer(redis, asynq.Config{
		Concurrency:       concurrency,
		TaskCheckInterval: time.Millisecond,
		LogLevel:          asynq.WarnLevel,
	})
	check(server.Start(handler))
	return server
}

func enqueue(client *asynq.Client, jobs int) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for job := next.Add(1); job <= int64(jobs); job = next.Add(1) {
				_, err := client.Enqueue(asynq.NewTask("job", body(int(job))))
				check(err)
			}
		})
	}
	group.Wait()
}

// body returns 64 bytes that are different for each job.
func body(job int) []byte {
	return fmt.Appendf(nil, "%064d", job)
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func print(figures map[string]float64) {
	check(json.NewEncoder(os.Stdout).Encode(figures))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
