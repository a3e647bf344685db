// Package dtf is the Go SDK of DTF: a client for tasks, and workers whose functions run on their items. It needs the standard library only.
//
//	worker := dtf.NewWorker("http://127.0.0.1:7070")
//	dtf.Handle(worker, "square", func(ctx context.Context, item int) (int, error) {
//		return item * item, nil
//	}, dtf.Timeout(30*time.Second), dtf.Retries(3))
//	err := worker.Run(context.Background(), 8)
//
// Run serves until SIGTERM. A client creates tasks for it:
//
//	task, err := dtf.NewClient("http://127.0.0.1:7070").Map(ctx, "square", dtf.Range(0, 1000), dtf.MapOptions{})
package dtf
