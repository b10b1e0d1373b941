package apitest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"quarry/api"
	"quarry/api/client"
)

// fleet takes every report.
type fleet struct {
	api.IndexStruct
	api.LeasesStruct
	api.TasksStruct
	api.FleetStruct
	api.ProverStruct
}

func (*fleet) WorkerDone(context.Context, api.TaskReport) error { return nil }

// A request that is larger than a server takes is refused for good.
func TestTooLargeRequestIsInvalid(t *testing.T) {
	m := Serve(t, Parts{Storage: &fleet{}}).Miner(t, AdminToken)
	result := func(n int) []byte { return []byte(`"` + strings.Repeat("x", n) + `"`) }
	if err := m.WorkerDone(t.Context(), api.TaskReport{Result: result(9 << 20)}); err != nil {
		t.Fatalf("9 MiB: %v", err)
	}
	err := m.WorkerDone(t.Context(), api.TaskReport{Result: result(11_014_808)})
	var invalid *api.ErrInvalid
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "10485760") {
		t.Fatalf("got %v", err)
	}
}

// Every other way to say no gets its meaning: is it the request, or the moment?
func TestRefusedRequests(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   any
	}{
		"parse error":     {500, `{"jsonrpc":"2.0","id":1,"error":{"code":-32700,"message":"no"}}`, new(*api.ErrInvalid)},
		"invalid request": {400, `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"no"}}`, new(*api.ErrInvalid)},
		"invalid params":  {500, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}`, new(*api.ErrInvalid)},
		"too large":       {413, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}`, new(*api.ErrInvalid)},
		"body timed out":  {408, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}`, new(*api.ErrUnreachable)},
		"too many":        {429, "slow down", new(*api.ErrUnreachable)},
		"bad gateway":     {502, "nginx", new(*api.ErrUnreachable)},
		"no such method":  {500, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`, new(*api.ErrNotServedHere)},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer srv.Close()
			m, err := client.Miner(t.Context(), client.Config{Info: srv.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := m.WorkerDone(t.Context(), api.TaskReport{}); !errors.As(err, c.want) {
				t.Fatalf("got %T %v", err, err)
			}
		})
	}
}

// A request whose body does not come whole is answered as the link's fault.
func TestBodyThatDoesNotComeIsTheLinksFault(t *testing.T) {
	s := Serve(t, Parts{Storage: &fleet{}})
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // test
	fmt.Fprintf(c, "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", AdminToken)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Fatal(resp.Status)
	}
}
