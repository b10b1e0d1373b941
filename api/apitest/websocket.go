package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"quarry/api"
)

// Socket calls a server over websockets, frame by frame, as a client that is not
// ours would. It implements [api.Storage]. A call has a connection for itself and
// leaves it to the next one; a call whose context ends takes its connection down,
// which is how the server learns of it.
type Socket struct {
	api.IndexStruct
	api.LeasesStruct
	api.TasksStruct
	api.FleetStruct
	api.ProverStruct

	url    string
	header http.Header
	ids    atomic.Int64
	mu     sync.Mutex
	idle   []*websocket.Conn
}

var _ api.Storage = (*Socket)(nil)

// Socket makes a caller with a token; the test's end closes its connections.
func (s *Server) Socket(t testing.TB, token string) *Socket {
	t.Helper()
	c := &Socket{url: "ws://" + s.Addr + "/rpc/v1", header: http.Header{"Authorization": {"Bearer " + token}}}
	for _, in := range []any{
		&c.IndexStruct.Internal, &c.LeasesStruct.Internal, &c.TasksStruct.Internal,
		&c.FleetStruct.Internal, &c.ProverStruct.Internal,
	} {
		v := reflect.ValueOf(in).Elem()
		for i := range v.NumField() {
			v.Field(i).Set(c.method(v.Type().Field(i)))
		}
	}
	t.Cleanup(func() {
		for _, conn := range c.idle {
			_ = conn.Close() // nothing is in flight
		}
	})
	return c
}

// method is a function that makes one call.
func (c *Socket) method(f reflect.StructField) reflect.Value {
	return reflect.MakeFunc(f.Type, func(in []reflect.Value) []reflect.Value {
		ctx, _ := in[0].Interface().(context.Context)
		params := []any{}
		for _, p := range in[1:] {
			params = append(params, p.Interface())
		}
		last := f.Type.NumOut() - 1
		out := make([]reflect.Value, last+1)
		var result any
		if last == 1 {
			v := reflect.New(f.Type.Out(0))
			out[0], result = v.Elem(), v.Interface()
		}
		err := c.call(ctx, f.Name, params, result)
		if out[last] = reflect.Zero(f.Type.Out(last)); err != nil {
			out[last] = reflect.ValueOf(err)
		}
		return out
	})
}

type socketAnswer struct {
	ID     int64
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Meta    json.RawMessage
	}
}

func (c *Socket) call(ctx context.Context, method string, params []any, result any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := c.connection(ctx)
	if err != nil {
		return &api.ErrUnreachable{Peer: c.url, Reason: err.Error()}
	}
	id := c.ids.Add(1)
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	var a socketAnswer
	err = conn.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": id, "method": "Filecoin." + method, "params": params})
	if err == nil {
		err = conn.ReadJSON(&a)
	}
	if !unhook() {
		return ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return &api.ErrUnreachable{Peer: c.url, Reason: err.Error()}
	}
	c.mu.Lock()
	c.idle = append(c.idle, conn)
	c.mu.Unlock()
	return a.read(id, result)
}

func (c *Socket) connection(ctx context.Context) (*websocket.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		conn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return conn, nil
	}
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, c.url, c.header)
	if resp != nil {
		_ = resp.Body.Close() // gorilla has read what there is
	}
	return conn, err
}

// socketError is a typed error with the text it had on the other side.
type socketError struct {
	text  string
	typed error
}

// Error implements error.
func (e *socketError) Error() string { return e.text }

// Unwrap gives the error of package api, or nil.
func (e *socketError) Unwrap() error { return e.typed }

func (a *socketAnswer) read(id int64, result any) error {
	switch {
	case a.ID != id:
		return fmt.Errorf("the answer has id %d, the call had %d", a.ID, id)
	case a.Error == nil && result == nil:
		return nil
	case a.Error == nil:
		return json.Unmarshal(a.Result, result)
	}
	e := &socketError{text: a.Error.Message}
	if proto, ok := api.ErrorTable()[a.Error.Code]; ok {
		v := reflect.New(reflect.TypeOf(proto).Elem())
		if err := json.Unmarshal(a.Error.Meta, v.Interface()); err != nil {
			return fmt.Errorf("fields of error %d: %w", a.Error.Code, err)
		}
		e.typed, _ = v.Interface().(error)
	}
	return e
}
