package dealmaker

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// FileServer serves one payload at a secret URL until closed.
type FileServer struct {
	URL string
	srv *http.Server
	end chan error
}

// ServeFile listens on addr, for example 127.0.0.1:0, and serves path with
// ranges. host replaces the host part of the URL when others reach this machine
// under another name; empty: the listening address.
func ServeFile(path, addr, host string) (*FileServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s to serve %s: %w", addr, path, err)
	}
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		l.Close()
		return nil, err
	}
	route := "/" + hex.EncodeToString(secret) + ".car"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+route, func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(path)
		if err != nil {
			http.Error(w, "payload is gone", http.StatusNotFound)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/vnd.ipld.car")
		http.ServeContent(w, r, "", time.Time{}, f)
	})
	s := &FileServer{srv: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, end: make(chan error, 1)}
	at := l.Addr().String()
	if host != "" {
		_, port, _ := net.SplitHostPort(at)
		at = net.JoinHostPort(host, port)
	}
	s.URL = "http://" + at + route
	go func() { s.end <- s.srv.Serve(l) }()
	return s, nil
}

// Close stops serving and waits for the listener to end.
func (s *FileServer) Close() error {
	err := s.srv.Close()
	if e := <-s.end; e != nil && !errors.Is(e, http.ErrServerClosed) {
		return e
	}
	return err
}
