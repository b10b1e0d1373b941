package pieces

import (
	"fmt"
	"strings"

	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// MaxIdentity is how many bytes an identity CID may hold.
const MaxIdentity = 2048

// maxKinds bounds the kinds of trouble that are told apart: a stranger wrote the
// CAR, and the text goes into a record.
const maxKinds = 8

// flaw is one kind of trouble in a CAR.
type flaw struct {
	what  string
	count int
	at    uint64 // byte of the first one
	lost  bool   // something cannot be retrieved for it
}

// Flaws says what of a CAR is not as it should be. It is an error when
// something cannot be retrieved, see Err.
type Flaws struct{ list []flaw }

func (f *Flaws) note(what string, at uint64, lost bool) {
	if len(f.list) >= maxKinds {
		what = "other trouble"
	}
	for i := range f.list {
		if f.list[i].what == what {
			f.list[i].count++
			return
		}
	}
	f.list = append(f.list, flaw{what: what, count: 1, at: at, lost: lost})
}

// add notes a place of which something is lost.
func (f *Flaws) add(at uint64, format string, args ...any) {
	f.note(fmt.Sprintf(format, args...), at, true)
}

// Error lists the flaws, the earliest kind first; empty when there are none.
func (f *Flaws) Error() string {
	said := make([]string, len(f.list))
	for i, l := range f.list {
		if said[i] = fmt.Sprintf("%s, at byte %d", l.what, l.at); l.count > 1 {
			said[i] = fmt.Sprintf("%s, %d times, first at byte %d", l.what, l.count, l.at)
		}
	}
	return strings.Join(said, "; ")
}

// Err is the flaws as an error when something of the CAR cannot be retrieved,
// nil when all of it can.
func (f *Flaws) Err() error {
	for _, l := range f.list {
		if l.lost {
			return f
		}
	}
	return nil
}

// allowed are the hashes under which blocks are kept and served: the secure ones
// of the network, and identity CIDs of up to MaxIdentity bytes.
type allowed struct{ verifcid.Allowlist }

// MaxDigestSize is the largest digest in bytes.
func (a allowed) MaxDigestSize(code uint64) int {
	if code == mh.IDENTITY {
		return MaxIdentity
	}
	return a.Allowlist.MaxDigestSize(code)
}

// Allowed are the hashes of blocks that are kept and served.
var Allowed verifcid.Allowlist = allowed{verifcid.DefaultAllowlist}

// Served is an error that says why blocks under such a CID are never served, nil
// for the CIDs that are.
func Served(c cid.Cid) error {
	err := verifcid.ValidateCid(Allowed, c)
	if err == nil {
		return nil
	}
	return fmt.Errorf("hash %s is not served: %w", hashName(c), err)
}

func hashName(c cid.Cid) string {
	code := c.Prefix().MhType
	if name, ok := mh.Codes[code]; ok {
		return name
	}
	return fmt.Sprintf("0x%x", code)
}

// Matches tells whether data hash to a CID that is served.
func Matches(c cid.Cid, data []byte) bool {
	got, err := mh.Sum(data, c.Prefix().MhType, c.Prefix().MhLength)
	return err == nil && string(got) == string(c.Hash())
}
