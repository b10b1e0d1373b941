package serve

import (
	"bytes"
	"context"

	"quarry/api"
)

// Detached answers calls that came some other way than over a listener of this
// process: one message at a time, with the same permissions and errors.
type Detached struct{ s *Server }

// NewDetached makes one that answers for what register registers. Of cfg it uses
// MaxRequestBytes and Absent, of deps the log.
func NewDetached(cfg Config, deps Deps, register func(*Server)) *Detached {
	cfg, deps = withDefaults(cfg, deps)
	s := assemble(cfg, deps, nil)
	register(s)
	s.fillAbsent()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	return &Detached{s}
}

// Answer serves one JSON-RPC call of a caller that holds perms and gives the
// answer; of a notification it gives nothing.
func (d *Detached) Answer(ctx context.Context, perms []api.Permission, call []byte) []byte {
	var out bytes.Buffer
	d.s.rpc.HandleRequest(WithPermissions(ctx, perms), bytes.NewReader(call), &out)
	return out.Bytes()
}
