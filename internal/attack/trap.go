package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// trap is a server of the attacker's: whoever is led there shows it what it has.
type trap struct {
	url string
	srv *http.Server

	mu     sync.Mutex
	caught []string // methods, paths and the Authorization shown
}

func newTrap() (*trap, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &trap{url: "http://" + ln.Addr().String()}
	t.srv = &http.Server{Handler: t, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = t.srv.Serve(ln) }() // until close
	return t, nil
}

// ServeHTTP notes who comes.
func (t *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	t.caught = append(t.caught, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	t.mu.Unlock()
	http.Error(w, "welcome", http.StatusNotFound)
}

// empty fails when somebody came.
func (t *trap) empty() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.caught) > 0 {
		return errors.New("a server of ours was shown: " + strings.Join(t.caught, ", "))
	}
	return nil
}

func (t *trap) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = t.srv.Shutdown(ctx) // nobody is in it
}
