package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/proofs/porep"
)

// Files below the directory of a sealed sector.
const (
	FileUnsealed  = "unsealed"
	FileSealed    = "sealed"
	DirCache      = "cache"
	DirScratch    = "scratch"        // while unsealing under a limit on memory
	FileProof     = "c1.bin"         // vanilla proof
	FileStatement = "statement.json" // for Check, where a chain could know the sector
)

// SealInput is one sector to be sealed and proved.
type SealInput struct {
	Way      porep.Custom
	Number   abi.SectorNumber
	Ticket   [32]byte
	Seed     [32]byte
	Data     io.Reader // payload, zero-extended; nil for zeros
	Memory   int64     // limit for labels in bytes, 0 for none
	NoUnseal bool      // unsealing takes as long as the first phase
}

// Deps are what the work is done with.
type Deps struct {
	// Cache opens a cache directory, Open a file with the flags of os.OpenFile.
	Cache func(dir string) porep.Files
	Open  func(path string, flags int) (porep.File, error)
	// Progress hears of every stage; it may be nil.
	Progress func(stage string, done, total int64)
}

func (d Deps) step(stage string, done, total int64) {
	if d.Progress != nil {
		d.Progress(stage, done, total)
	}
}

// Phases of Seal.
const (
	PhaseAP        = "AP"     // fr32 padding, piece commitment, unsealed file
	PhasePC1       = "PC1"    // tree-d and labels
	PhasePC2       = "PC2"    // tree-c, replica, tree-r-last
	PhaseSynthetic = "synth"  // proofs of all synthetic challenges
	PhaseC1        = "C1"     // vanilla proof, checked before it is returned
	PhaseVerify    = "verify" // the vanilla proof checked again
	PhaseUnseal    = "unseal" // the whole sector, compared with the unsealed file
)

// SealReport is what came out.
type SealReport struct {
	SectorSize    uint64     `json:"sector_size"`
	PorepID       string     `json:"porep_id"`
	APIVersion    string     `json:"api_version"`
	Features      []string   `json:"features"`
	ProverID      string     `json:"prover_id"`
	SectorNumber  uint64     `json:"sector_number"`
	Ticket        string     `json:"ticket"`
	Seed          string     `json:"seed"`
	PieceCID      string     `json:"piece_cid"`
	CommD         string     `json:"comm_d"`
	CommR         string     `json:"comm_r"`
	CommC         string     `json:"comm_c"`
	CommRLast     string     `json:"comm_r_last"`
	ReplicaID     string     `json:"replica_id"`
	ReplicaSHA256 string     `json:"replica_sha256"`
	ProofBytes    int        `json:"proof_bytes"`
	ProofSHA256   string     `json:"proof_sha256"`
	Challenges    [][]uint64 `json:"challenges"` // nodes, by partition
	Verified      bool       `json:"verified"`
	Unsealed      bool       `json:"unsealed"` // unsealed and found equal
	Phases        []Phase    `json:"phases"`
	Seconds       float64    `json:"seconds"` // of all phases
}

// sealing is a sector on its way.
type sealing struct {
	in     SealInput
	deps   Deps
	dir    string
	sector porep.Sector
	rec    Recorder

	data, sealed porep.File
	cache        porep.Files
	piece        commp.Piece
	pc1          porep.PreCommit1Out
	req          porep.ProveRequest
	blob         []byte
}

// Check finds what is wrong with an input before any work.
func (in *SealInput) Check() error {
	if in.Seed == ([32]byte{}) {
		return errors.New("the seed is all zero, which no proof may have")
	}
	if least := porep.LeastPreCommit1Memory(1); in.Memory != 0 && in.Memory < least {
		return fmt.Errorf("a memory limit of %d bytes is too low; labels take %s at least", in.Memory, Bytes(uint64(least)))
	}
	_, err := in.sector().Dimensions()
	return err
}

func (in *SealInput) sector() porep.Sector {
	s := porep.Sector{Number: in.Number, Custom: &in.Way}
	if miner, ok := minerOf(in.Way.ProverID); ok {
		s.Miner = miner
	}
	return s
}

// Need is what Seal takes.
func (in *SealInput) Need() (Need, error) { return needOf(in.sector(), in.Memory) }

// Seal takes a sector through its phases, in dir, which must be empty, and
// leaves all files there.
func Seal(ctx context.Context, in SealInput, dir string, deps Deps) (SealReport, error) {
	s, err := seal(ctx, in, dir, deps)
	if s != nil {
		defer s.close()
	}
	if err != nil {
		return SealReport{}, err
	}
	return s.report(ctx)
}

// seal does all phases that leave a sector ready to be proved.
func seal(ctx context.Context, in SealInput, dir string, deps Deps) (*sealing, error) {
	if err := in.Check(); err != nil {
		return nil, err
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		return nil, fmt.Errorf("%s must be an empty directory: %d entries (%w)", dir, len(names), errors.Join(err))
	}
	s := &sealing{in: in, deps: deps, dir: dir, sector: in.sector()}
	s.rec.Began = func(name string) { deps.step(name, 0, 0) }
	s.req = porep.ProveRequest{Ticket: in.Ticket[:], Seed: in.Seed[:]}
	phases := []struct {
		name string
		f    func(context.Context) error
	}{{PhaseAP, s.addPiece}, {PhasePC1, s.preCommit1}, {PhasePC2, s.preCommit2}, {PhaseSynthetic, s.synthesize}}
	for _, p := range phases {
		if p.name == PhaseSynthetic && !in.Way.Synthetic {
			continue
		}
		if err := s.rec.Do(ctx, p.name, p.f); err != nil {
			return s, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return s, nil
}

func (s *sealing) close() {
	for _, f := range []porep.File{s.data, s.sealed} {
		if f != nil {
			_ = f.Close() // synced where it matters
		}
	}
}

const rw = os.O_RDWR | os.O_CREATE | os.O_EXCL

func (s *sealing) addPiece(ctx context.Context) (err error) {
	dir := filepath.Join(s.dir, DirCache)
	if err := os.Mkdir(dir, 0o755); err != nil { // as sector directories are
		return err
	}
	s.cache = s.deps.Cache(dir)
	if s.data, err = s.deps.Open(filepath.Join(s.dir, FileUnsealed), rw); err != nil {
		return err
	}
	payload := io.Reader(zeros{})
	if s.in.Data != nil {
		payload = io.MultiReader(s.in.Data, zeros{})
	}
	size := uint64(s.in.Way.Size)
	w := commp.NewWriter()
	in := &ticking{r: io.TeeReader(io.LimitReader(payload, int64(fr32.UnpaddedLen(size))), w), ctx: ctx,
		done: func(n int64) { s.deps.step(PhaseAP, n, int64(size)) }}
	out := bufio.NewWriterSize(io.NewOffsetWriter(s.data, 0), 1<<20)
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, fr32.NewPadReader(bufio.NewReaderSize(in, 127<<13)),
		make([]byte, 1<<20)); err != nil {
		return err
	}
	if err := errors.Join(out.Flush(), s.data.Sync()); err != nil {
		return err
	}
	s.piece, err = w.FinishPadded(abi.PaddedPieceSize(size))
	return err
}

func (s *sealing) preCommit1(ctx context.Context) (err error) {
	s.pc1, err = porep.PreCommit1(ctx, porep.PreCommit1Task{
		Sector:   s.sector,
		Ticket:   s.req.Ticket,
		Pieces:   []abi.PieceInfo{{Size: s.piece.PaddedSize, PieceCID: s.piece.CID}},
		Unsealed: s.data,
		Cache:    s.cache,
	}, porep.LabelOptions{Memory: s.in.Memory}, s.deps.step)
	return err
}

func (s *sealing) preCommit2(ctx context.Context) (err error) {
	if s.sealed, err = s.deps.Open(filepath.Join(s.dir, FileSealed), rw); err != nil {
		return err
	}
	s.req.Commitments, err = porep.PreCommit2(ctx, porep.PreCommit2Task{
		Sector:   s.sector,
		PC1:      s.pc1,
		Unsealed: s.data,
		Sealed:   s.sealed,
		Cache:    s.cache,
	}, s.deps.step)
	return err
}

func (s *sealing) synthesize(ctx context.Context) error {
	return porep.Synthesize(ctx, porep.SynthesizeTask{
		Sector:      s.sector,
		Ticket:      s.req.Ticket,
		Commitments: s.req.Commitments,
		Sealed:      s.sealed,
		Cache:       s.cache,
	}, s.deps.step)
}

func (s *sealing) commit1(ctx context.Context) (err error) {
	s.blob, err = porep.Prove(ctx, s.sector, s.req, s.sealed, s.cache)
	return err
}

func (s *sealing) verify(ctx context.Context) error {
	ok, err := porep.VerifySector(ctx, s.sector, s.req, s.blob)
	if err == nil && !ok {
		err = errors.New("the vanilla proof just made does not verify")
	}
	return err
}

func (s *sealing) unseal(ctx context.Context) error {
	var scratch porep.Files
	if s.in.Memory > 0 {
		dir := filepath.Join(s.dir, DirScratch)
		if err := os.Mkdir(dir, 0o755); err != nil { // as sector directories are
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		scratch = s.deps.Cache(dir)
	}
	size := abi.PaddedPieceSize(s.in.Way.Size)
	same := &comparing{want: bufio.NewReaderSize(io.NewSectionReader(s.data, 0, int64(size)), 1<<20)}
	if err := porep.Unseal(ctx, porep.UnsealTask{
		Sector:  s.sector,
		Ticket:  s.req.Ticket,
		CommD:   s.req.UnsealedCID(),
		Sealed:  s.sealed,
		Out:     same,
		Size:    size,
		Scratch: scratch,
	}, porep.LabelOptions{Memory: s.in.Memory}, s.deps.step); err != nil {
		return err
	}
	if same.n != int64(size) {
		return fmt.Errorf("unsealing gave %d bytes of %d", same.n, size)
	}
	return nil
}

func (s *sealing) report(ctx context.Context) (r SealReport, err error) {
	phases := []struct {
		name string
		f    func(context.Context) error
	}{{PhaseC1, s.commit1}, {PhaseVerify, s.verify}, {PhaseUnseal, s.unseal}}
	for _, p := range phases {
		if p.name == PhaseUnseal && s.in.NoUnseal {
			continue
		}
		if err := s.rec.Do(ctx, p.name, p.f); err != nil {
			return r, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, &ticking{r: io.NewSectionReader(s.sealed, 0, int64(s.in.Way.Size)), ctx: ctx}); err != nil {
		return r, err
	}
	r = s.describe()
	r.ReplicaSHA256 = hex.EncodeToString(sum.Sum(nil))
	if r.Challenges, err = s.sector.Challenges(s.req); err != nil {
		return r, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, FileProof), s.blob, 0o644); err != nil { // proofs are public
		return r, err
	}
	return r, s.writeStatement()
}

func (s *sealing) describe() SealReport {
	way, c, proof := s.in.Way, s.req.Commitments, sha256.Sum256(s.blob)
	r := SealReport{
		SectorSize:   uint64(way.Size),
		PorepID:      hex32(way.PorepID),
		ProverID:     hex32(way.ProverID),
		APIVersion:   "1.1.0",
		Features:     []string{},
		SectorNumber: uint64(s.in.Number),
		Ticket:       hex32(s.in.Ticket),
		Seed:         hex32(s.in.Seed),
		PieceCID:     s.piece.CID.String(),
		CommD:        hex32(c.CommD),
		CommR:        hex32(c.CommR),
		CommC:        hex32(c.CommC),
		CommRLast:    hex32(c.CommRLast),
		ReplicaID:    hex32(s.pc1.ReplicaID),
		ProofBytes:   len(s.blob),
		ProofSHA256:  hex32(proof),
		Verified:     true,
		Unsealed:     !s.in.NoUnseal,
		Phases:       s.rec.Phases,
		Seconds:      s.rec.Seconds(),
	}
	switch {
	case way.Legacy:
		r.APIVersion = "1.0.0"
	case way.Synthetic:
		r.Features = append(r.Features, FeatureSynthetic)
	case way.NonInteractive:
		r.Features = append(r.Features, FeatureNonInteractive)
	}
	return r
}

func hex32(b [32]byte) string { return hex.EncodeToString(b[:]) }

// ticking counts what goes through and stops when ctx ends.
type ticking struct {
	r    io.Reader
	ctx  context.Context // lives as long as the call that it belongs to
	n    int64
	done func(n int64)
}

// Read implements io.Reader.
func (t *ticking) Read(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := t.r.Read(p)
	t.n += int64(n)
	if t.done != nil {
		t.done(t.n)
	}
	return n, err
}

// comparing is a writer that accepts only what want reads.
type comparing struct {
	want io.Reader
	buf  []byte
	n    int64
}

// Write implements io.Writer.
func (c *comparing) Write(p []byte) (int, error) {
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	if _, err := io.ReadFull(c.want, c.buf[:len(p)]); err != nil {
		return 0, fmt.Errorf("reading what to compare with: %w", err)
	}
	if !bytes.Equal(c.buf[:len(p)], p) {
		return 0, fmt.Errorf("unsealed bytes from %d on are not those that were sealed", c.n)
	}
	c.n += int64(len(p))
	return len(p), nil
}
