package holder

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
)

// maxText bounds each text that is shown of a holder, bytes.
const maxText = 200

// Holder is a process, for people.
type Holder struct {
	PID   int
	Host  string
	Since time.Time
	What  string // such as "repo /var/lib/miner"
}

// Self is this process, doing what since now.
func Self(what string) Holder {
	host, _ := os.Hostname() // only for people
	return Holder{PID: os.Getpid(), Host: host, Since: time.Now(), What: what}
}

// String names the process: "process 12 on host since 2024-01-02T03:04:05Z (repo /x)".
func (h Holder) String() string {
	s := fmt.Sprintf("process %d on %s since %s", h.PID, Printable(h.Host), h.Since.UTC().Format(time.RFC3339))
	if what := Printable(h.What); what != "" {
		s += " (" + what + ")"
	}
	return s
}

// Printable makes a text of somebody else fit for one line of a log or a
// terminal: without control characters, and not longer than 200 bytes.
func Printable(s string) string {
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s[:min(len(s), maxText)])
	return strings.TrimSpace(clean)
}

// ErrHeld says who holds what was to be taken.
type ErrHeld struct {
	Path   string
	Holder string // what it wrote of itself, or "another process"
}

// Error implements error.
func (e *ErrHeld) Error() string { return fmt.Sprintf("%s is held by %s", e.Path, e.Holder) }

// Place names a directory of this machine, since it was booted: two processes that
// lock the directory cannot be in one place at once, so that what comes from the
// same place later is a restart. It tells neither.
func Place(dir string) string {
	host, _ := os.Hostname()                                  // an empty one is as good as another
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // other systems have none
	sum := sha256.Sum256([]byte(host + "\n" + string(boot) + "\n" + dir))
	return hex.EncodeToString(sum[:16])
}

// Home names a directory of this machine, whenever it was booted: what comes from
// there later is the same installation. It tells neither.
func Home(dir string) string {
	host, _ := os.Hostname()                // an empty one is as good as another
	id, _ := os.ReadFile("/etc/machine-id") // other systems have none
	sum := sha256.Sum256([]byte("home\n" + host + "\n" + string(id) + "\n" + dir))
	return hex.EncodeToString(sum[:16])
}
