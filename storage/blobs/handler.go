package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"quarry/api"
)

// Route is where a private node serves blobs, followed by the name of one.
const Route = "/blobs/"

const (
	transferTime = 10 * time.Minute // of one request: 256 MiB at half a MiB/s
	stallTime    = time.Minute      // without a byte
	maxPuts      = 16               // bodies that are received at the same time
)

// Handler serves a store under Route: PUT keeps the body, which must hash to the
// name, GET gives a blob, with ranges, and HEAD tells whether it is there, which
// also keeps it from being swept for a while.
func Handler(s *Store) http.Handler {
	places := make(chan struct{}, maxPuts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, err := Parse(strings.TrimPrefix(r.URL.Path, Route))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Now().Add(transferTime)) // unsupported only in tests with a recorder
		switch r.Method {
		case http.MethodPut:
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
				s.servePut(w, r, name)
			default:
				w.Header().Set("Retry-After", "10")
				http.Error(w, fmt.Sprintf("%d bulk results are being received", maxPuts), http.StatusServiceUnavailable)
			}
		case http.MethodGet, http.MethodHead:
			s.serveGet(w, r, name)
		default:
			w.Header().Set("Allow", "GET, HEAD, PUT")
			http.Error(w, "a bulk result is put and got", http.StatusMethodNotAllowed)
		}
	})
}

func (s *Store) servePut(w http.ResponseWriter, r *http.Request, name api.CidString) {
	if r.ContentLength > s.cfg.Max {
		http.Error(w, fmt.Sprintf("bulk results have at most %d bytes", s.cfg.Max), http.StatusRequestEntityTooLarge)
		return
	}
	body := &paced{r: r.Body, deadline: http.NewResponseController(w).SetReadDeadline, end: time.Now().Add(transferTime)}
	err := s.putNamed(r.Context(), name, body)
	var invalid *api.ErrInvalid
	var other *otherName
	switch {
	case errors.As(err, &other):
		http.Error(w, other.Error(), http.StatusUnprocessableEntity)
	case errors.As(err, &invalid):
		http.Error(w, invalid.Error(), http.StatusRequestEntityTooLarge)
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		http.Error(w, "no space is left for bulk results", http.StatusInsufficientStorage)
	case err != nil && body.err != nil:
		http.Error(w, "the body did not come whole", http.StatusRequestTimeout)
	case err != nil:
		http.Error(w, "the bulk result could not be kept", http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

// paced is a body that has to keep coming.
type paced struct {
	r        io.Reader
	deadline func(time.Time) error
	end      time.Time
	err      error // of reading, other than the end
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	next := time.Now().Add(stallTime)
	if next.After(p.end) {
		next = p.end
	}
	_ = p.deadline(next) // unsupported only in tests with a recorder
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // bodies return it bare
		p.err = err
	}
	return n, err
}

// otherName says that bytes are not those of the name they were given.
type otherName struct{ got api.CidString }

// Error implements error.
func (e *otherName) Error() string {
	return "the body has the name " + string(e.got) + ": it changed on its way"
}

func (s *Store) serveGet(w http.ResponseWriter, r *http.Request, name api.CidString) {
	f, size, err := s.file(name)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		http.Error(w, missing.Error(), http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, "the bulk result could not be read", http.StatusInternalServerError)
		return
	}
	defer f.Close() //nolint:errcheck // read only
	if r.Method == http.MethodHead {
		if _, err := s.Touch(api.BlobRef{CID: name, Size: size}); err != nil {
			http.Error(w, "the bulk result could not be kept longer", http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("ETag", `"`+string(name)+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}

// putNamed keeps what r gives if it has the name; *otherName when it has not.
func (s *Store) putNamed(ctx context.Context, name api.CidString, r io.Reader) error {
	_, err := s.put(ctx, r, func(got api.BlobRef) error {
		if got.CID != name {
			return &otherName{got.CID}
		}
		return nil
	})
	return err
}
