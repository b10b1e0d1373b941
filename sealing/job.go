package sealing

import (
	"fmt"
	"strconv"
	"strings"

	"quarry/api"
)

// jobKind is a kind of keyed work.
type jobKind string

// The kinds, by the names of their tasks where they have one.
const (
	jobAddPiece  = jobKind(api.TaskAddPiece)
	jobPC1       = jobKind(api.TaskPreCommit1)
	jobPC2       = jobKind(api.TaskPreCommit2)
	jobC1        = jobKind(api.TaskCommit1)
	jobC2        = jobKind(api.TaskCommit2)
	jobFinalize  = jobKind(api.TaskFinalize)
	jobPreCommit = jobKind("precommit") // the message
	jobCommit    = jobKind("commit")    // the message

	jobUpdate      = jobKind(api.TaskUpdate)
	jobPR1         = jobKind(api.TaskProveUpdate1)
	jobPR2         = jobKind(api.TaskProveUpdate2)
	jobUpdateFiles = jobKind(api.TaskFinalizeUpdate)
	jobSendUpdate  = jobKind("update") // the message
)

// job is keyed work of a sector whose failed tries are counted: a failure makes
// the next key new. The zero value is no work.
type job struct {
	kind  jobKind
	piece uint64          // jobAddPiece: which
	round int             // work of an update: which round of the sector
	files api.UpdateFiles // jobUpdateFiles: what is done with them
}

// MarshalText implements encoding.TextMarshaler, as the key of record.Attempts:
// "PC1", "AP3", "update.2", "FRU-keep.2".
func (j job) MarshalText() ([]byte, error) { return []byte(j.String()), nil }

// String implements fmt.Stringer.
func (j job) String() string {
	s := string(j.kind)
	switch {
	case j.kind == jobAddPiece:
		s += strconv.FormatUint(j.piece, 10)
	case j.files != "":
		s += "-" + string(j.files)
	}
	if j.round > 0 {
		s += "." + strconv.Itoa(j.round)
	}
	return s
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (j *job) UnmarshalText(text []byte) (err error) {
	*j = job{}
	name, round, ok := strings.Cut(string(text), ".")
	if ok {
		if j.round, err = strconv.Atoi(round); err != nil || j.round <= 0 {
			return fmt.Errorf("counted work %q: its round is no positive number", text)
		}
	}
	if n, ok := strings.CutPrefix(name, string(jobAddPiece)); ok {
		j.kind = jobAddPiece
		if j.piece, err = strconv.ParseUint(n, 10, 64); err != nil {
			return fmt.Errorf("counted work %q: its piece is no number", text)
		}
		return nil
	}
	kind, files, _ := strings.Cut(name, "-")
	j.kind, j.files = jobKind(kind), api.UpdateFiles(files)
	return nil
}
