package httpx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"quarry/internal/durable"
)

// Suffix of the small file beside a partial one.
const Suffix = ".resume"

const (
	sidecarVersion = 1
	maxSidecar     = 4 << 10 // bytes
)

// sidecar is what is known of a partial file. It is written before the bytes it
// speaks of are believed, and after they were synced.
type sidecar struct {
	Version   int
	Source    string    // SHA-256 of the URL, which may hold secrets, in hex
	Validator validator // of all bytes below Synced
	Total     int64     // -1 = not known
	Synced    int64     // bytes on disk
	Done      bool      // Synced is the whole
	Joined    bool      // the bytes came in more than one answer
	Restarted bool      // they were thrown away once because a check failed
}

func sourceID(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:])
}

// decodeSidecar refuses whatever was not written by write.
func decodeSidecar(b []byte) (sidecar, error) {
	var s sidecar
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if len(b) > maxSidecar {
		return s, errors.New("it is too long")
	}
	if err := dec.Decode(&s); err != nil {
		return s, err
	}
	if id, err := hex.DecodeString(s.Source); err != nil || len(id) != sha256.Size || s.Version != sidecarVersion || !s.Validator.valid() {
		return s, errors.New("a field of it is not understood")
	}
	if s.Total < unknown || s.Total > maxBytes || s.Synced < 0 || s.Total != unknown && s.Synced > s.Total || s.Done &&
		s.Synced != s.Total {
		return s, errors.New("its numbers contradict each other")
	}
	return s, nil
}

// readSidecar gives false when there is none that can be believed.
func readSidecar(path string) (sidecar, bool) {
	b, err := os.ReadFile(path + Suffix)
	if err != nil {
		return sidecar{}, false
	}
	s, err := decodeSidecar(b)
	return s, err == nil
}

func (s sidecar) write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path+Suffix, err)
	}
	return durable.WriteFile(path+Suffix, b, 0o600)
}

// Restart is called when a check of the whole file at path failed. When its bytes
// came in more than one answer it throws them away, so that the next Fetch begins
// at byte 0, and gives true; this happens once. False means that the source's
// bytes themselves are wrong.
func Restart(path string) (bool, error) {
	s, ok := readSidecar(path)
	if !ok || !s.Joined || s.Restarted {
		return false, nil
	}
	s.Synced, s.Done = 0, false
	s.Joined, s.Restarted = false, true
	if err := s.write(path); err != nil {
		return false, local(path, err)
	}
	return true, nil
}

// Forget removes what is kept beside a file that is done with.
func Forget(path string) error {
	if err := durable.Remove(path + Suffix); err != nil {
		return local(path, err)
	}
	return nil
}

func local(path string, err error) *Error {
	return &Error{Fault: FaultLocal, Host: path, Err: err}
}
