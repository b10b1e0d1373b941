package node

import (
	"io"
	"net"
	"sync"
	"testing"
)

// crossing is the network between two processes, which can be cut.
type crossing struct {
	net.Listener
	to string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newCrossing(t *testing.T, to string) *crossing {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &crossing{Listener: l, to: to, conns: map[net.Conn]bool{}}
	c.wg.Go(c.run)
	t.Cleanup(func() {
		_ = l.Close()
		c.cut(t)
		c.wg.Wait()
	})
	return c
}

func (c *crossing) run() {
	for {
		a, err := c.Accept()
		if err != nil {
			return
		}
		c.wg.Go(func() { c.carry(a) })
	}
}

func (c *crossing) carry(a net.Conn) {
	defer func() { _ = a.Close() }()
	b, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer func() { _ = b.Close() }()
	if !c.keep(a, b) {
		return
	}
	defer c.forget(a, b)
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(a, b); _ = a.Close(); _ = b.Close() })
	both.Go(func() { _, _ = io.Copy(b, a); _ = a.Close(); _ = b.Close() })
	both.Wait()
}

func (c *crossing) keep(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		c.conns[conn] = true
	}
	return !c.down
}

func (c *crossing) forget(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		delete(c.conns, conn)
	}
}

// cut ends what there is and lets nothing through until heal.
func (c *crossing) cut(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *crossing) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = false
}
