// Jobs on River: `river WORKLOAD JOBS POSTGRES_URL` prints one JSON object.
//
// The client's settings are those of River's own benchmark command: a fetch every 2 ms at most, 1,000 workers, insertion
// with COPY. Single jobs are inserted from 64 clients.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	clients = 64
	batch   = 5000
)

// Job is 64 bytes that are different for each job.
type Job struct {
	Body string `json:"body"`
}

func (Job) Kind() string { return "job" }

type worker struct {
	river.WorkerDefaults[Job]
	wait time.Duration
	done atomic.Int64
}

func (w *worker) Work(ctx context.Context, _ *river.Job[Job]) error {
	time.Sleep(w.wait)
	w.done.Add(1)
	return nil
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: river noop|wait|single|latency|waiting JOBS POSTGRES_URL")
	}
	jobs, err := strconv.Atoi(os.Args[2])
	check(err)
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(os.Args[3])
	check(err)
	config.MaxConns = clients
	pool, err := pgxpool.NewWithConfig(ctx, config)
	check(err)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	check(err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	check(err)
	_, err = pool.Exec(ctx, "TRUNCATE river_job")
	check(err)
	switch os.Args[1] {
	case "noop":
		throughput(ctx, pool, jobs, &worker{}, insertBatches)
	case "wait":
		throughput(ctx, pool, jobs, &worker{wait: 30 * time.Millisecond}, insertBatches)
	case "single":
		throughput(ctx, pool, jobs, &worker{}, insertSingly)
	case "latency":
		latency(ctx, pool, jobs)
	case "waiting":
		client := connect(pool, nil)
		insertBatches(ctx, client, jobs)
		var bytes float64
		check(pool.QueryRow(ctx, "SELECT pg_total_relation_size('river_job')").Scan(&bytes))
		print(map[string]float64{"bytes_per_waiting_job": bytes / float64(jobs)})
	default:
		log.Fatalf("unknown workload %s", os.Args[1])
	}
}

type inserter func(context.Context, *river.Client[pgx.Tx], int)

// throughput measures from the first insertion until the last job is recorded as completed.
func throughput(ctx context.Context, pool *pgxpool.Pool, jobs int, worker *worker, insert inserter) {
	client := connect(pool, worker)
	check(client.Start(ctx))
	begin, cpu := time.Now(), cpuSeconds()
	insert(ctx, client, jobs)
	for worker.done.Load() < int64(jobs) {
		time.Sleep(5 * time.Millisecond)
	}
	for open := 1; open > 0; {
		check(pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state <> 'completed'").Scan(&open))
	}
	seconds, used := time.Since(begin).Seconds(), cpuSeconds()-cpu
	check(client.Stop(ctx))
	print(map[string]float64{
		"jobs_per_s":        float64(jobs) / seconds,
		"client_us_per_job": used * 1e6 / float64(jobs),
	})
}

// latency measures from insertion until the event of the job's recorded completion, one job after the other.
func latency(ctx context.Context, pool *pgxpool.Pool, jobs int) {
	client := connect(pool, &worker{})
	completed, cancel := client.Subscribe(river.EventKindJobCompleted)
	defer cancel()
	check(client.Start(ctx))
	var times []float64
	for job := range jobs {
		begin := time.Now()
		_, err := client.Insert(ctx, body(job), nil)
		check(err)
		<-completed
		times = append(times, time.Since(begin).Seconds()*1000)
	}
	check(client.Stop(ctx))
	sort.Float64s(times)
	print(map[string]float64{"p50_ms": times[len(times)/2], "p99_ms": times[len(times)*99/100]})
}

func connect(pool *pgxpool.Pool, worker *worker) *river.Client[pgx.Tx] {
	config := &river.Config{
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	if worker != nil {
		workers := river.NewWorkers()
		river.AddWorker(workers, worker)
		slots := 1000
		if worker.wait > 0 {
			slots = 1024
		}
		config.Workers = workers
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}}
	}
	client, err := river.NewClient(riverpgxv5.New(pool), config)
	check(err)
	return client
}

func insertBatches(ctx context.Context, client *river.Client[pgx.Tx], jobs int) {
	for begin := 0; begin < jobs; begin += batch {
		var params []river.InsertManyParams
		for job := begin; job < min(begin+batch, jobs); job++ {
			params = append(params, river.InsertManyParams{Args: body(job)})
		}
		_, err := client.InsertManyFast(ctx, params)
		check(err)
	}
}

func insertSingly(ctx context.Context, client *river.Client[pgx.Tx], jobs int) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for job := next.Add(1); job <= int64(jobs); job = next.Add(1) {
				_, err := client.Insert(ctx, body(int(job)), nil)
				check(err)
			}
		})
	}
	group.Wait()
}

func body(job int) Job {
	return Job{Body: fmt.Sprintf("%064d", job)}
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
