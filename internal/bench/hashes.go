package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/commp"
	"quarry/proofs/poseidon"
)

// CommPSpeed is one measured piece commitment.
type CommPSpeed struct {
	Cores   int     `json:"cores"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_seconds"`
	// GBps is payload in 10^9 bytes a second, PerCPU the same per second of
	// processor time: what one core of an idle machine does.
	GBps   float64 `json:"gb_per_second"`
	PerCPU float64 `json:"gb_per_cpu_second"`
}

// CommPReport is the commitment of a payload and how fast it was computed.
type CommPReport struct {
	PieceCID string       `json:"piece_cid"`
	Payload  int64        `json:"payload_bytes"`
	Padded   uint64       `json:"padded_bytes"`
	Speeds   []CommPSpeed `json:"speeds"`
}

// CommP computes the piece commitment of a payload on one core and on all. open
// gives the payload anew for each; size is its length in bytes, for progress.
func CommP(ctx context.Context, open func() (io.ReadCloser, error), size int64,
	progress func(stage string, done, total int64)) (r CommPReport, err error) {
	for i, cores := range slices.Compact([]int{1, runtime.NumCPU()}) {
		piece, speed, err := commPOn(ctx, cores, open, size, progress)
		if err != nil {
			return r, err
		}
		cid := piece.CID.String()
		if i > 0 && cid != r.PieceCID {
			return r, fmt.Errorf("the commitment is %s on %d cores and was %s on one; the payload changed meanwhile", cid, cores,
				r.PieceCID)
		}
		r.PieceCID, r.Payload, r.Padded = cid, int64(piece.PayloadSize), uint64(piece.PaddedSize) // a file's size
		r.Speeds = append(r.Speeds, speed)
	}
	return r, nil
}

func commPOn(ctx context.Context, cores int, open func() (io.ReadCloser, error), size int64,
	progress func(stage string, done, total int64)) (p commp.Piece, s CommPSpeed, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	f, err := open()
	if err != nil {
		return p, s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := &ticking{r: f, ctx: ctx}
	if progress != nil {
		in.done = func(n int64) { progress(fmt.Sprintf("CommP on %d cores", cores), n, size) }
	}
	start, used := time.Now(), cpuTime()
	if p, err = commp.Sum(ctx, in); err != nil {
		return p, s, err
	}
	s = CommPSpeed{Cores: cores, Seconds: time.Since(start).Seconds(), CPU: (cpuTime() - used).Seconds()}
	s.GBps = float64(p.PayloadSize) / s.Seconds / 1e9
	if s.CPU > 0 {
		s.PerCPU = float64(p.PayloadSize) / s.CPU / 1e9
	}
	return p, s, nil
}

// Repeat is size bytes, the same mebibytes of random bytes over and over, so that
// making them costs nothing.
func Repeat(size int64) io.Reader {
	b := make([]byte, 8<<20)
	_, _ = io.ReadFull(Stream(1), b) // cannot fail
	return io.LimitReader(&repeating{b: b}, size)
}

type repeating struct {
	b  []byte
	at int
}

// Read implements io.Reader.
func (r *repeating) Read(p []byte) (int, error) {
	n := copy(p, r.b[r.at:])
	r.at = (r.at + n) % len(r.b)
	return n, nil
}

// PoseidonArities are those that Poseidon measures.
var PoseidonArities = []int{2, 4, 8, 11}

// PoseidonSpeed is how long one hash takes on one thread, in microseconds.
type PoseidonSpeed struct {
	Arity int `json:"arity"`
	// Scalar is of hashes one after the other, Row of a tree row, several at a time
	// where the CPU can.
	Scalar float64 `json:"scalar_us"`
	Row    float64 `json:"row_us"`
	Ratio  float64 `json:"ratio"`
}

// A round of rows and of single hashes is a few milliseconds: shorter than what
// the system lets a thread run at a time when others want to.
const (
	poseidonRow    = 256
	poseidonSingle = 32
	poseidonRounds = 300
)

// Poseidon measures an arity. It takes the best of many rounds, since other work
// on the machine only ever slows a round down.
func Poseidon(ctx context.Context, arity int) (s PoseidonSpeed, err error) {
	h, err := poseidon.New(arity)
	if err != nil {
		return s, err
	}
	src, dst := make([]poseidon.Element, poseidonRow*arity), make([]poseidon.Element, poseidonRow)
	for i := range src {
		src[i].SetUint64(uint64(i) * 0x9e3779b97f4a7c15) // any numbers do
	}
	row, err := best(ctx, poseidonRounds, func() { h.HashRow(dst, src) })
	if err != nil {
		return s, err
	}
	scalar, err := best(ctx, poseidonRounds, func() {
		for i := range poseidonSingle {
			dst[i] = h.Hash(src[i*arity : (i+1)*arity])
		}
	})
	if err != nil {
		return s, err
	}
	s = PoseidonSpeed{Arity: arity, Scalar: micros(scalar) / poseidonSingle, Row: micros(row) / poseidonRow}
	s.Ratio = s.Scalar / s.Row
	return s, nil
}

// best is the shortest time of some rounds of f.
func best(ctx context.Context, rounds int, f func()) (time.Duration, error) {
	f() // warm up
	shortest := time.Duration(1<<63 - 1)
	for range rounds {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		start := time.Now()
		f()
		shortest = min(shortest, time.Since(start))
	}
	return shortest, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// PaddedRoom is the payload that a piece of size padded bytes holds.
func PaddedRoom(size abi.PaddedPieceSize) int64 { return int64(size.Unpadded()) }
