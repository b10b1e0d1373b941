package apitest

import (
	"testing"

	"go.uber.org/goleak"

	"quarry/api"
)

// LibraryLeaks are goroutines of the RPC library that outlive what started them.
func LibraryLeaks() []goleak.Option {
	return []goleak.Option{
		// opencensus, linked through the RPC library, keeps one worker for ever.
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		// The RPC library's reader of a websocket that closes between two frames
		// waits for ever to hand on the last one (go-jsonrpc v0.10.2 websocket.go:182).
		goleak.IgnoreTopFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"),
	}
}

// Way is one of the ways in which a part reaches the storage subsystem.
type Way struct {
	Name string
	// Reach gives impl as who uses this way sees it, until the test ends.
	Reach func(t *testing.T, impl api.Storage) api.Storage
}

// Ways lists them all: what holds over one of them holds over each.
func Ways() []Way {
	return []Way{
		{"in process", func(_ *testing.T, impl api.Storage) api.Storage { return impl }},
		{"http", func(t *testing.T, impl api.Storage) api.Storage {
			t.Helper()
			return Serve(t, Parts{Storage: impl}).Miner(t, AdminToken)
		}},
		{"websocket", func(t *testing.T, impl api.Storage) api.Storage {
			t.Helper()
			return Serve(t, Parts{Storage: impl}).Socket(t, AdminToken)
		}},
		{"pull", func(t *testing.T, impl api.Storage) api.Storage {
			t.Helper()
			return Pulled(t, Parts{Storage: impl}, api.AllPermissions...)
		}},
	}
}

// EachWay runs the checks of a role over every way. fresh makes an implementation
// that knows of nothing yet; the checks ask for as many as they need.
func EachWay(t *testing.T, fresh func(t *testing.T) api.Storage, checks func(t *testing.T, fresh func(t *testing.T) api.Storage)) {
	t.Helper()
	for _, w := range Ways() {
		t.Run(w.Name, func(t *testing.T) {
			checks(t, func(t *testing.T) api.Storage { return w.Reach(t, fresh(t)) })
		})
	}
}
