package markets

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/markets/retrieve"
)

// sized narrows an unsealed range to the payload in it.
type sized struct {
	UnsealedReader
	size int64
}

func (s *sized) Size() int64 { return s.size }

// ReadAt ends at the payload's end: the zeros behind it are not payload.
func (s *sized) ReadAt(b []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	if rest := s.size - off; int64(len(b)) > rest {
		n, err := s.UnsealedReader.ReadAt(b[:rest], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return s.UnsealedReader.ReadAt(b, off)
}

func (m *Markets) openSector(ctx context.Context, rec api.PieceRecord, at api.PiecePlacement) (retrieve.Payload, error) {
	r, err := m.deps.Reader.OpenUnsealed(ctx, at.Sector, at.Offset, at.Size)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) && m.cfg.UnsealOnRetrieval {
		if err := m.deps.Sealing.SectorUnseal(ctx, api.UnsealTarget{Sector: at.Sector.Number, Offset: at.Offset,
			Size: at.Size}); err != nil {
			return nil, fmt.Errorf("unseal piece %s in sector %d: %w", rec.PieceCID, at.Sector.Number, err)
		}
		r, err = m.deps.Reader.OpenUnsealed(ctx, at.Sector, at.Offset, at.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("open piece %s in sector %d: %w", rec.PieceCID, at.Sector.Number, err)
	}
	size := r.Size()
	if rec.Payload > 0 && rec.Payload < uint64(size) {
		size = int64(rec.Payload)
	}
	return &sized{r, size}, nil
}

type staged struct {
	*os.File
	size int64
	etag string
}

func (s *staged) Size() int64 { return s.size }

func openStaged(path string, want uint64) (*staged, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil || uint64(st.Size()) != want {
		f.Close()
		return nil, fmt.Errorf("staging file %s is not complete", path)
	}
	return &staged{f, st.Size(), httpx.ETag(st)}, nil
}

// StagedHandler serves the staged bytes of a deal at /staged/{uuid}, with
// ranges, to whoever holds that deal's bearer token. Wrong token and unknown
// deal look the same.
func (m *Markets) StagedHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /staged/{uuid}", m.serveStaged)
	return mux
}

func (m *Markets) serveStaged(w http.ResponseWriter, r *http.Request) {
	id, err := uuid.Parse(r.PathValue("uuid"))
	if err != nil {
		http.Error(w, "bad deal UUID", http.StatusBadRequest)
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	rec, err := m.store.Get(id)
	if !ok || err != nil || subtle.ConstantTimeCompare([]byte(token), []byte(rec.StagedToken)) != 1 {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "unknown deal or wrong token", http.StatusUnauthorized)
		return
	}
	f, err := openStaged(m.deals.StagedPath(id), rec.TransferSize)
	if err != nil {
		http.Error(w, "the staged bytes of this deal are not here", http.StatusNotFound)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", f.etag) // whoever pulls goes on only with the same bytes
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f, 0, f.Size()))
}

// RetrievalHandler serves /ipfs/ and /piece/ to anybody.
func (m *Markets) RetrievalHandler() http.Handler { return m.retrieval.Handler() }
