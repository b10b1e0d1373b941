package fetch

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/internal/httpx"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

// Headers of the protocol. wantDigest asks for the trailer digestTrailer, the
// hex BLAKE2b-256 of the bytes of this response.
const (
	wantDigest    = "X-Want-Digest"
	digestTrailer = "X-Blake2b-256"
)

// Listing is a directory as the handler shows it.
type Listing struct{ Files []ListedFile }

// ListedFile is one file of a directory, with its size in bytes.
type ListedFile struct {
	Name string
	Size int64
}

type handler struct{ local *paths.Local }

// Handler serves the sector files of local for reading, below /remote:
//
//	GET /remote/stat/{storageID}                     file system state, JSON
//	GET /remote/{type}/{sector}                      file (Range), or Listing of a directory
//	GET /remote/{type}/{sector}/file/{name}          file of a directory (Range)
//	GET /remote/unsealed/{sector}/allocated/{offset}/{size}
//	                                                 200 if that padded range was written, 416 if not
//
// The caller protects it: with a bearer that opens the one file, see package access.
func Handler(local *paths.Local) http.Handler {
	h := &handler{local}
	m := http.NewServeMux()
	m.HandleFunc("GET /remote/stat/{id}", h.stat)
	m.HandleFunc("GET /remote/{type}/{sector}", h.sector)
	m.HandleFunc("GET /remote/{type}/{sector}/file/{name}", h.member)
	m.HandleFunc("GET /remote/{type}/{sector}/allocated/{offset}/{size}", h.allocated)
	return m
}

// RemoveHandler serves DELETE /remote/{type}/{sector}: it deletes the file from
// every path of this process, except those with IDs in the query value keep
// (joined by dots). The caller protects it as [Handler], with a bearer for deleting.
func RemoveHandler(local *paths.Local) http.Handler {
	h := &handler{local}
	m := http.NewServeMux()
	m.HandleFunc("DELETE /remote/{type}/{sector}", h.remove)
	return m
}

// fail answers with the status that fits the error; texts do not tell the
// directory layout to the peer.
func fail(w http.ResponseWriter, err error) {
	var notFound *api.ErrNotFound
	var invalid *api.ErrInvalid
	switch {
	case errors.As(err, &notFound), errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not here", http.StatusNotFound)
	case errors.As(err, &invalid):
		http.Error(w, invalid.Error(), http.StatusBadRequest)
	default:
		http.Error(w, "the file cannot be read here", http.StatusInternalServerError)
	}
}

func target(r *http.Request) (abi.SectorID, api.FileType, error) {
	t, err := api.ParseFileType(r.PathValue("type"))
	if err != nil {
		return abi.SectorID{}, 0, &api.ErrInvalid{What: "request", Reason: err.Error()}
	}
	id, err := api.ParseSectorName(r.PathValue("sector"))
	if err != nil {
		return abi.SectorID{}, 0, &api.ErrInvalid{What: "request", Reason: err.Error()}
	}
	return id, t, nil
}

func (h *handler) find(r *http.Request) (string, error) {
	id, t, err := target(r)
	if err != nil {
		return "", err
	}
	p, ok := h.local.Find(r.Context(), id, t)
	if !ok {
		return "", &api.ErrNotFound{What: t.String() + " of sector " + api.SectorName(id)}
	}
	return p.FilePath(id, t), nil
}

func (h *handler) stat(w http.ResponseWriter, r *http.Request) {
	st, err := h.local.Stat(api.StorageID(r.PathValue("id")))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, st)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the peer went away
}

func (h *handler) sector(w http.ResponseWriter, r *http.Request) {
	name, err := h.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	st, err := os.Stat(name)
	if err != nil {
		fail(w, err)
		return
	}
	if !st.IsDir() {
		serveFile(w, r, name)
		return
	}
	list, err := list(name)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, list)
}

func list(dir string) (Listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Listing{}, err
	}
	out := Listing{Files: []ListedFile{}}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			out.Files = append(out.Files, ListedFile{e.Name(), info.Size()})
		}
	}
	return out, nil
}

func (h *handler) member(w http.ResponseWriter, r *http.Request) {
	dir, err := h.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	name := r.PathValue("name")
	if !plainName(name) {
		fail(w, &api.ErrInvalid{What: "request", Reason: "file name is not plain"})
		return
	}
	serveFile(w, r, filepath.Join(dir, name))
}

func serveFile(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.Open(name) //nolint:gosec // built from checked parts
	if err != nil {
		fail(w, err)
		return
	}
	defer f.Close() //nolint:errcheck // read only
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		fail(w, errors.Join(err, errors.New("not a regular file")))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", httpx.ETag(st))
	if r.Header.Get(wantDigest) == "" {
		http.ServeContent(w, r, "", st.ModTime(), f)
		return
	}
	serveDigest(w, r, f, st.Size())
}

// serveDigest sends one range, "bytes=a-b", or everything where there is none or
// If-Range names other bytes, followed by the digest of what was sent.
func serveDigest(w http.ResponseWriter, r *http.Request, f *os.File, size int64) {
	from, to, status := int64(0), size-1, http.StatusOK
	if v := r.Header.Get("If-Range"); r.Header.Get("Range") != "" && (v == "" || v == w.Header().Get("ETag")) {
		if n, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil || n != 2 || from < 0 || to < from ||
			from >= size {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			http.Error(w, "range not satisfiable", http.StatusRequestedRangeNotSatisfiable)
			return
		}
		to, status = min(to, size-1), http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, size))
	}
	w.Header().Set("Trailer", digestTrailer)
	w.WriteHeader(status)
	sum := newSum()
	n, err := io.Copy(io.MultiWriter(w, sum), io.NewSectionReader(f, from, to-from+1))
	if err != nil || n != to-from+1 {
		panic(http.ErrAbortHandler) // the connection closes without a digest
	}
	w.Header().Set(digestTrailer, hex.EncodeToString(sum.Sum(nil)))
}

func (h *handler) allocated(w http.ResponseWriter, r *http.Request) {
	offset, err := number(r, "offset")
	if err != nil {
		fail(w, err)
		return
	}
	size, err := number(r, "size")
	if err != nil {
		fail(w, err)
		return
	}
	name, err := h.find(r)
	if err == nil && r.PathValue("type") != api.FileUnsealed.String() {
		err = &api.ErrInvalid{What: "request", Reason: "only unsealed files have ranges"}
	}
	if err != nil {
		fail(w, err)
		return
	}
	f, err := unsealed.OpenAny(name)
	if err != nil {
		fail(w, err)
		return
	}
	defer f.Close() //nolint:errcheck // read only
	if ok, err := f.Has(abi.PaddedPieceSize(offset), abi.PaddedPieceSize(size)); err != nil || !ok {
		http.Error(w, "range was not written", http.StatusRequestedRangeNotSatisfiable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// number reads a part of the path.
func number(r *http.Request, part string) (uint64, error) {
	n, err := strconv.ParseUint(r.PathValue(part), 10, 62)
	if err != nil {
		return 0, &api.ErrInvalid{What: part + " in the path", Reason: "it is not a whole number below 2^62"}
	}
	return n, nil
}

func (h *handler) remove(w http.ResponseWriter, r *http.Request) {
	id, t, err := target(r)
	if err != nil {
		fail(w, err)
		return
	}
	var keep []api.StorageID
	for _, k := range strings.Split(r.URL.Query().Get("keep"), ".") {
		keep = append(keep, api.StorageID(k))
	}
	if err := h.local.Remove(r.Context(), id, t, keep...); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}
