package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"dtf.example/sdk/go/dtf"
)

// flow goes through flows, schedules and unique keys once, and prints what it saw as JSON.
func flow(c *dtf.Client) error {
	ctx := context.Background()
	seen := map[string]any{}
	for _, part := range []func(context.Context, *dtf.Client, map[string]any) error{flowRun, flowSteered, uniqueTask, flowScheduled} {
		if err := part(ctx, c, seen); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}

func flowRun(ctx context.Context, c *dtf.Client, seen map[string]any) error {
	flow, one := dtf.NewFlow("ünïcode ✓"), dtf.List(1)
	good := flow.Map("good", "square", dtf.List(1, 2, 3), dtf.MapOptions{})
	flow.Map("next", "square", dtf.List(good.Result("/succeeded")), dtf.MapOptions{Sink: "keep"}).After(good)
	bad := flow.Map("bad", "poison", dtf.List("ä", "b"), dtf.MapOptions{})
	never := flow.Map("never", "square", one, dtf.MapOptions{}).After(good, bad)
	flow.Map("alarm", "square", one, dtf.MapOptions{}).After(bad.Failed())
	flow.Map("clean", "square", one, dtf.MapOptions{}).After(bad.Ended(), never.Ended())
	created, err := c.Flows().Create(ctx, flow)
	if err != nil {
		return err
	}
	ended, err := c.Flows().Wait(ctx, created.ID)
	if err != nil {
		return err
	}
	seen["states"], seen["counts"], seen["completed"] = states(ended), ended.Counts, ended.HasCompleted()
	results := []json.RawMessage{}
	err = c.Results(ctx, ended.Task("next").ID, func(result json.RawMessage) error { results = append(results, result); return nil })
	if err != nil {
		return err
	}
	seen["result"], seen["listed"] = results, false
	err = c.Flows().List(ctx, func(listed *dtf.Flow) error {
		if listed.ID == ended.ID {
			seen["listed"] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	again, err := c.Flows().Retry(ctx, ended.ID)
	if err != nil {
		return err
	}
	if again, err = c.Flows().Wait(ctx, again.ID); err != nil {
		return err
	}
	seen["retried"], seen["retry_of"] = states(again), again.RetryOf != nil && *again.RetryOf == ended.ID
	return nil
}

func flowSteered(ctx context.Context, c *dtf.Client, seen map[string]any) error {
	slow := dtf.NewFlow("slow")
	first := slow.Map("slow", "sleep", dtf.List(60, 60), dtf.MapOptions{})
	slow.Map("behind", "square", dtf.List(1), dtf.MapOptions{}).After(first)
	flow, err := c.Flows().Create(ctx, slow)
	if err != nil {
		return err
	}
	if flow, err = c.Flows().Pause(ctx, flow.ID); err != nil {
		return err
	}
	seen["paused"] = flow.Task("slow").Status
	if flow, err = c.Flows().Resume(ctx, flow.ID); err != nil {
		return err
	}
	if flow, err = c.Flows().Cancel(ctx, flow.ID); err != nil {
		return err
	}
	if flow, err = c.Flows().Wait(ctx, flow.ID); err != nil {
		return err
	}
	seen["cancelled"] = states(flow)
	wrong := dtf.NewFlow("wrong")
	wrong.Task("wrong", "no such type", nil, nil)
	_, err = c.Flows().Create(ctx, wrong)
	seen["refused"] = code(err)
	return nil
}

func uniqueTask(ctx context.Context, c *dtf.Client, seen map[string]any) error {
	options := dtf.MapOptions{Unique: &dtf.Unique{Key: os.Getenv("DTF_NAME")}}
	one, err := c.Map(ctx, "sleep", dtf.List(60), options)
	if err != nil {
		return err
	}
	other, err := c.Map(ctx, "sleep", dtf.List(60), options)
	if err != nil {
		return err
	}
	seen["unique"] = one.ID == other.ID
	_, err = c.Cancel(ctx, one.ID)
	return err
}

func flowScheduled(ctx context.Context, c *dtf.Client, seen map[string]any) error {
	name, flow := fmt.Sprint("jährlich ✓ ", os.Getenv("DTF_NAME")), dtf.NewFlow("")
	flow.Map("one", "square", dtf.List(1), dtf.MapOptions{})
	schedule, err := c.Schedules().Create(ctx, dtf.NewSchedule{Name: name, When: "@yearly", Flow: flow})
	if err != nil {
		return err
	}
	seen["schedule"], seen["schedule_listed"] = schedule.When, false
	err = c.Schedules().List(ctx, func(listed *dtf.Schedule) error {
		if listed.Name == name {
			seen["schedule_listed"] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	paused, err := c.Schedules().Pause(ctx, name)
	if err != nil {
		return err
	}
	resumed, err := c.Schedules().Resume(ctx, name)
	if err != nil {
		return err
	}
	seen["schedule_paused"] = []bool{paused.Paused, resumed.Paused}
	task, err := c.Schedules().Trigger(ctx, name)
	if err != nil {
		return err
	}
	if task, err = c.Wait(ctx, task.ID); err != nil {
		return err
	}
	seen["triggered"] = task.Status
	if err := c.Schedules().Delete(ctx, name); err != nil {
		return err
	}
	_, err = c.Schedules().Get(ctx, name)
	seen["deleted"] = code(err)
	return nil
}

func states(flow *dtf.Flow) map[string]string {
	states := map[string]string{}
	for _, task := range flow.Tasks {
		states[task.FlowTask] = task.Status
	}
	return states
}

func code(err error) string {
	var answered *dtf.APIError
	if errors.As(err, &answered) {
		return answered.Code
	}
	return fmt.Sprint(err)
}
