package client_test

import (
	"context"
	"errors"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

const app = "app:App"

// arbiter answers a message of any kind as gunicorn does: the action "count"
// streams its arguments, "raise" fails, all others return their arguments.
func arbiter(c *dirty.Conn, m dirty.Message) error {
	id := m.RequestID()
	switch m := m.(type) {
	case *dirty.Request:
		switch m.Action {
		case "count":
			for _, arg := range m.Args {
				if err := c.WriteMessage(dirty.NewChunk(id, arg)); err != nil {
					return err
				}
			}
			return c.WriteMessage(dirty.NewEnd(id))
		case "raise":
			return c.WriteMessage(dirty.NewErrorReply(id, errors.New("boom")))
		}
		return c.WriteMessage(dirty.NewResponse(id, m.Args))
	case *dirty.StashRequest:
		return c.WriteMessage(dirty.NewResponse(id, stashResults[m.Op]))
	case *dirty.StatusRequest:
		return c.WriteMessage(dirty.NewResponse(id, statusResult))
	case *dirty.ManageRequest:
		return c.WriteMessage(dirty.NewResponse(id, map[string]any{
			"success": true, "operation": m.Op.String(), "requested": m.Count,
			map[dirty.ManageOp]string{dirty.ManageAdd: "spawned", dirty.ManageRemove: "removed"}[m.Op]: m.Count,
			"total_workers": 5, "target_workers": 6,
		}))
	}
	return errors.New("no request")
}

var stashResults = map[dirty.StashOp]any{
	dirty.StashPut: true, dirty.StashGet: "value", dirty.StashDelete: true,
	dirty.StashKeys: []any{"k1", "k2"}, dirty.StashClear: true,
	dirty.StashInfo:   map[string]any{"table": "t", "size": 2},
	dirty.StashEnsure: true, dirty.StashDeleteTable: true,
	dirty.StashTables: []any{"t", "u"}, dirty.StashExists: true,
}

var statusResult = map[string]any{
	"arbiter_pid": 100, "worker_count": 1, "apps": []any{app},
	"workers": []any{map[string]any{"pid": 101, "age": 1, "apps": []any{app}, "booted": false, "last_heartbeat": 0.5}},
}

// operation is something that a client can ask an arbiter for.
type operation struct {
	name  string
	reads bool // changes nothing
	call  func(ctx context.Context, c *client.Client) error
}

// operations are all operations, each with arguments that arbiter knows.
var operations = []operation{
	{"execute", false, func(ctx context.Context, c *client.Client) error {
		_, err := c.Execute(ctx, app, "echo", 1)
		return err
	}},
	{"stream", false, func(ctx context.Context, c *client.Client) error {
		_, err := collect(c.Stream(ctx, app, "count", 1, 2))
		return err
	}},
	{"forward", false, func(ctx context.Context, c *client.Client) error {
		f := dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest}, Payload: encodedRequest}
		return c.Forward(ctx, f, func(dirty.Frame) error { return nil })
	}},
	{"status", true, func(ctx context.Context, c *client.Client) error {
		_, err := c.Status(ctx)
		return err
	}},
	{"status", true, func(ctx context.Context, c *client.Client) error { return c.Ping(ctx) }},
	{"manage add", false, func(ctx context.Context, c *client.Client) error {
		_, err := c.AddWorkers(ctx, 2)
		return err
	}},
	{"manage remove", false, func(ctx context.Context, c *client.Client) error {
		_, err := c.RemoveWorkers(ctx, 2)
		return err
	}},
	{"stash put", false, func(ctx context.Context, c *client.Client) error { return c.Stash("t").Put(ctx, "k", 1) }},
	{"stash get", true, func(ctx context.Context, c *client.Client) error {
		_, err := c.Stash("t").Get(ctx, "k")
		return err
	}},
	{"stash delete", false, func(ctx context.Context, c *client.Client) error {
		_, err := c.Stash("t").Delete(ctx, "k")
		return err
	}},
	{"stash keys", true, func(ctx context.Context, c *client.Client) error {
		_, err := c.Stash("t").Keys(ctx, "")
		return err
	}},
	{"stash clear", false, func(ctx context.Context, c *client.Client) error { return c.Stash("t").Clear(ctx) }},
	{"stash info", true, func(ctx context.Context, c *client.Client) error {
		_, err := c.Stash("t").Info(ctx)
		return err
	}},
	{"stash ensure", false, func(ctx context.Context, c *client.Client) error { return c.Stash("t").Ensure(ctx) }},
	{"stash delete_table", false, func(ctx context.Context, c *client.Client) error {
		_, err := c.Stash("t").Drop(ctx)
		return err
	}},
	{"stash tables", true, func(ctx context.Context, c *client.Client) error {
		_, err := c.Tables(ctx)
		return err
	}},
	{"stash exists", true, func(ctx context.Context, c *client.Client) error {
		_, err := c.Stash("t").Exists(ctx, "k")
		return err
	}},
}

// encodedRequest is the payload of a request for "echo".
var encodedRequest = func() dirty.RawValue {
	b, err := dirty.AppendMessage(nil, dirty.NewRequest(1, app, "echo", []any{1}, nil))
	if err != nil {
		panic(err)
	}
	return b[dirty.HeaderSize:]
}()

// echo answers a request with its arguments, and does nothing else.
func echo(c *dirty.Conn, m dirty.Message) error {
	if r, ok := m.(*dirty.Request); ok {
		return c.WriteMessage(dirty.NewResponse(r.ID, r.Args))
	}
	return errors.New("no request")
}
