package interop

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/lotus/api/client"
	"github.com/filecoin-project/lotus/api/v1api"
)

// recorder keeps the last answer as it came over the wire, and which methods were
// called.
type recorder struct {
	mu     sync.Mutex
	method string
	result json.RawMessage
	seen   map[string]bool
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	var call struct{ Method string }
	var got struct{ Result json.RawMessage }
	if err := json.Unmarshal(body, &call); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.method, r.result = strings.TrimPrefix(call.Method, "Filecoin."), got.Result
	r.seen[r.method] = true
	return resp, nil
}

// http is Lotus's client with a recorder between.
func (d *devnet) http(t *testing.T) (v1api.FullNode, *recorder) {
	t.Helper()
	token, addr, _ := strings.Cut(d.info, ":")
	parts := strings.Split(addr, "/")
	r := &recorder{seen: map[string]bool{}}
	node, closer, err := client.NewFullNodeRPCV1(t.Context(), "http://"+parts[2]+":"+parts[4]+"/rpc/v1",
		http.Header{"Authorization": []string{"Bearer " + token}}, jsonrpc.WithHTTPClient(&http.Client{Transport: r}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closer)
	return node, r
}

// same checks that Lotus's type holds everything that the last answer said: what it
// writes is what was sent.
func (r *recorder) same(t *testing.T, v any, err error) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		t.Fatalf("%s: %v", r.method, err)
	}
	p := reflect.New(reflect.TypeOf(v)) // some types write themselves by pointer only
	p.Elem().Set(reflect.ValueOf(v))
	back, err := json.Marshal(p.Interface())
	if err != nil {
		t.Fatalf("%s: %v", r.method, err)
	}
	if !reflect.DeepEqual(plain(t, r.result), plain(t, back)) {
		t.Errorf("%s answered\n%.2000s\nand Lotus holds\n%.2000s", r.method, r.result, back)
	}
}

// plain is JSON as values, with numbers as they are written.
func plain(t *testing.T, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// mark notes a method that was called by another client.
func (r *recorder) mark(method string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[method] = true
}

// unseen lists the methods that nobody called.
func (r *recorder) unseen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, m := range methods {
		if !r.seen[m] && !elsewhere[m] {
			out = append(out, m)
		}
	}
	return out
}
