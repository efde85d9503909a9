//go:build unix

package interop

import (
	"context"
	"fmt"
	"iter"
	"os"
	"sync"
	"sync/atomic"

	goserver "github.com/gunicorn-go/dirty/server"
)

// The workers of examples/celery_alternative in Go, as far as its tests need.

const celery = "examples.celery_alternative.tasks:"

func registerCelery(mux *goserver.Mux) {
	registerEmail(mux)
	registerImages(mux)
	registerData(mux)
	registerScheduled(mux)
}

func registerEmail(mux *goserver.Mux) {
	const app = celery + "EmailWorker"
	var sent atomic.Int64
	mux.Handle(app, "send_email", goserver.Func(func(_ context.Context, mail struct {
		To, Subject, Body string
		HTML              bool
	}) (map[string]any, error) {
		return map[string]any{
			"status": "sent", "to": mail.To, "subject": mail.Subject, "message_id": fmt.Sprint("msg-", sent.Add(1)),
		}, nil
	}))
	mux.Handle(app, "send_bulk_emails", goserver.StreamFunc(func(_ context.Context, mail struct {
		Recipients    []string
		Subject, Body string
	}) iter.Seq2[map[string]any, error] {
		return reportProgress(len(mail.Recipients), func(i int) map[string]any {
			sent.Add(1)
			return map[string]any{"last_sent": mail.Recipients[i]}
		}, map[string]any{"sent": len(mail.Recipients)})
	}))
	mux.Handle(app, "stats", goserver.Func(func(context.Context, struct{}) (map[string]any, error) {
		return map[string]any{"emails_sent": sent.Load(), "smtp_connected": true, "worker_pid": os.Getpid()}, nil
	}))
}

// reportProgress yields a chunk for each step and one at the end.
func reportProgress(steps int, step func(i int) map[string]any, end map[string]any) iter.Seq2[map[string]any, error] {
	return func(yield func(map[string]any, error) bool) {
		for i := range steps {
			chunk := step(i)
			chunk["type"], chunk["current"], chunk["total"] = "progress", i+1, steps
			if !yield(chunk, nil) {
				return
			}
		}
		end["type"], end["total"] = "complete", steps
		yield(end, nil)
	}
}

func registerImages(mux *goserver.Mux) {
	const app = celery + "ImageWorker"
	var processed atomic.Int64
	resize := func(data string, width, height int) map[string]any {
		processed.Add(1)
		return map[string]any{
			"status": "resized", "original_size": len(data), "target_dimensions": fmt.Sprintf("%dx%d", width, height),
		}
	}
	mux.Handle(app, "resize", goserver.Func(func(_ context.Context, arg struct {
		Data          string `dirty:"image_data"`
		Width, Height int
	}) (map[string]any, error) {
		return resize(arg.Data, arg.Width, arg.Height), nil
	}))
	mux.Handle(app, "generate_thumbnail", goserver.Func(func(_ context.Context, arg struct {
		Data string `dirty:"image_data"`
		Size int
	}) (map[string]any, error) {
		return resize(arg.Data, arg.Size, arg.Size), nil
	}))
	mux.Handle(app, "process_batch", goserver.StreamFunc(func(_ context.Context, arg struct {
		Images              []struct{ ID, Data string }
		Operation           string
		Width, Height, Size int
	}) iter.Seq2[map[string]any, error] {
		return reportProgress(len(arg.Images), func(i int) map[string]any {
			image := arg.Images[i]
			return map[string]any{"image_id": image.ID, "result": resize(image.Data, arg.Width, arg.Height)}
		}, map[string]any{"processed": len(arg.Images)})
	}))
	mux.Handle(app, "stats", goserver.Func(func(context.Context, struct{}) (map[string]any, error) {
		return map[string]any{"images_processed": processed.Load(), "worker_pid": os.Getpid()}, nil
	}))
}

func registerData(mux *goserver.Mux) {
	const app = celery + "DataWorker"
	var cached sync.Map
	mux.Handle(app, "aggregate", goserver.Func(func(_ context.Context, arg struct {
		Data    []map[string]any
		GroupBy string `dirty:"group_by"`
		Field   string `dirty:"agg_field"`
		Func    string `dirty:"agg_func"`
	}) (map[string]any, error) {
		sums := map[string]int64{}
		for _, record := range arg.Data {
			n, _ := record[arg.Field].(int64)
			sums[fmt.Sprint(record[arg.GroupBy])] += n
		}
		return map[string]any{"status": "completed", "result": sums, "record_count": len(arg.Data)}, nil
	}))
	mux.Handle(app, "etl_pipeline", goserver.StreamFunc(func(_ context.Context, arg struct {
		Source          []map[string]any `dirty:"source_data"`
		Transformations []struct{ Name, Type, Field, Value string }
	}) iter.Seq2[map[string]any, error] {
		return func(yield func(map[string]any, error) bool) {
			data := arg.Source
			phase := func(name string) bool { return yield(map[string]any{"type": "progress", "phase": name}, nil) }
			if !phase("extract") {
				return
			}
			for _, filter := range arg.Transformations {
				var kept []map[string]any
				for _, record := range data {
					if record[filter.Field] == filter.Value {
						kept = append(kept, record)
					}
				}
				data = kept
				if !phase("transform") {
					return
				}
			}
			_ = phase("load") && yield(map[string]any{"type": "complete", "records_output": len(data)}, nil)
		}
	}))
	mux.Handle(app, "cached_query", goserver.Func(func(_ context.Context, arg struct {
		Key string `dirty:"query_key"`
		TTL int
	}) (map[string]any, error) {
		status := "cache_miss"
		if _, hit := cached.LoadOrStore(arg.Key, true); hit {
			status = "cache_hit"
		}
		return map[string]any{"status": status, "data": arg.Key}, nil
	}))
	mux.Handle(app, "stats", goserver.Func(func(context.Context, struct{}) (map[string]any, error) {
		return map[string]any{"tasks_completed": 0, "cache_size": 0, "worker_pid": os.Getpid()}, nil
	}))
}

func registerScheduled(mux *goserver.Mux) {
	const app = celery + "ScheduledWorker"
	var mu sync.Mutex
	runs := map[string]int{}
	task := func(action string, result func(arg map[string]any) map[string]any) {
		mux.Handle(app, action, goserver.Func(func(_ context.Context, arg struct {
			Directory, Source string
			MaxAgeDays        int `dirty:"max_age_days"`
		}) (map[string]any, error) {
			mu.Lock()
			defer mu.Unlock()
			runs[action]++
			done := result(map[string]any{"directory": arg.Directory, "source": arg.Source})
			done["status"] = "completed"
			return done, nil
		}))
	}
	task("cleanup_old_files", func(arg map[string]any) map[string]any {
		return map[string]any{"directory": arg["directory"], "files_deleted": 0}
	})
	task("generate_daily_report", func(map[string]any) map[string]any {
		return map[string]any{"metrics": map[string]float64{"revenue": 0.5}}
	})
	task("sync_external_data", func(arg map[string]any) map[string]any {
		return map[string]any{"source": arg["source"], "records_synced": 1}
	})
	mux.Handle(app, "stats", goserver.Func(func(context.Context, struct{}) (map[string]any, error) {
		mu.Lock()
		defer mu.Unlock()
		counts := map[string]any{}
		for action, n := range runs {
			counts[action] = n
		}
		return map[string]any{"run_counts": counts}, nil
	}))
}
