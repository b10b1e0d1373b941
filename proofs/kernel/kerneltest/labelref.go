package kerneltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"quarry/proofs/kernel"
)

// drawnParents are parents drawn at random, among them the last node and 0.
type drawnParents struct {
	of    []uint32
	fault error // of every read, if not nil
}

func drawParents(nodes uint64, seed uint64) *drawnParents {
	r, of := random(seed), make([]uint32, nodes*kernel.Degree)
	for n := range nodes {
		p := of[n*kernel.Degree:][:kernel.Degree]
		for i := range p {
			switch {
			case i >= kernel.BaseDegree:
				p[i] = uint32(r.Uint64N(nodes))
			case n > 0:
				p[i] = uint32(r.Uint64N(n))
			}
		}
		if n > 0 {
			p[n%kernel.BaseDegree] = uint32(n - 1)
		}
	}
	return &drawnParents{of: of}
}

func (p *drawnParents) ReadParents(ctx context.Context, start uint64, dst []uint32) error {
	if p.fault != nil {
		return p.fault
	}
	from := int(start) * kernel.Degree
	if len(dst)%kernel.Degree != 0 || from+len(dst) > len(p.of) {
		return fmt.Errorf("parents of %d entries from node %d were asked for, of %d nodes", len(dst), start, len(p.of)/kernel.Degree)
	}
	copy(dst, p.of[from:])
	return ctx.Err()
}

// nextLayer is the reference: a layer of labels over the one below.
func (p *drawnParents) nextLayer(id [32]byte, layer int, below []byte) []byte {
	nodes := len(p.of) / kernel.Degree
	out := make([]byte, 0, nodes*kernel.NodeSize)
	for n := range nodes {
		msg := binary.BigEndian.AppendUint32(bytes.Clone(id[:]), uint32(layer))
		msg = append(binary.BigEndian.AppendUint64(msg, uint64(n)), make([]byte, 20)...)
		parents := p.of[n*kernel.Degree:][:kernel.Degree]
		if layer == 1 {
			parents = parents[:kernel.BaseDegree]
		}
		for i := range 37 * min(n, 1) {
			k, from := i%len(parents), out
			if k >= kernel.BaseDegree {
				from = below
			}
			at := int(parents[k]) * kernel.NodeSize
			msg = append(msg, from[at:at+kernel.NodeSize]...)
		}
		sum := sha256.Sum256(msg)
		sum[31] &= 0x3f
		out = append(out, sum[:]...)
	}
	return out
}

// layers are all layers of a sector.
func (p *drawnParents) layers(id [32]byte, n int) [][]byte {
	var out [][]byte
	var below []byte
	for layer := 1; layer <= n; layer++ {
		below = p.nextLayer(id, layer, below)
		out = append(out, below)
	}
	return out
}

// store keeps labels and finds out whether it is used as it may be.
type store struct {
	mu     sync.Mutex
	size   int64
	given  int // layers of each sector that were there before
	layers [][][]byte
	whole  []int
	used   bool
	bad    error

	onWrite, onFinish, onRead func() error // if not nil
}

func newStore(nodes uint64, sectors, layers int) *store {
	s := &store{size: int64(nodes) * kernel.NodeSize, whole: make([]int, sectors)}
	for range sectors {
		s.layers = append(s.layers, make([][]byte, layers+1))
	}
	return s
}

func (s *store) fail(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if s.bad == nil {
		s.bad = err
	}
	return err
}

func call(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func (s *store) WriteLabels(sector, layer int, off int64, labels []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = true
	if sector < 0 || sector >= len(s.whole) || layer != s.whole[sector]+1 || layer >= len(s.layers[sector]) {
		return s.fail("labels of layer %d of sector %d were written when that was not next", layer, sector)
	}
	have := int64(len(s.layers[sector][layer]))
	if off != have || len(labels) == 0 || len(labels)%kernel.NodeSize != 0 || have+int64(len(labels)) > s.size {
		return s.fail("%d bytes were written at %d of layer %d, which has %d of %d", len(labels), off, layer, have, s.size)
	}
	s.layers[sector][layer] = append(s.layers[sector][layer], labels...)
	return call(s.onWrite)
}

func (s *store) FinishLayer(sector, layer int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sector < 0 || sector >= len(s.whole) || layer != s.whole[sector]+1 || int64(len(s.layers[sector][layer])) != s.size {
		return s.fail("layer %d of sector %d was finished when it was not whole", layer, sector)
	}
	s.whole[sector] = layer
	return call(s.onFinish)
}

func (s *store) ReadLabels(sector, layer int, off int64, labels []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = true
	if err := call(s.onRead); err != nil {
		return err
	}
	now := s.whole[sector] + 1
	if layer != now && layer != now-1 || layer < 1 {
		return s.fail("layer %d of sector %d was read while layer %d was made", layer, sector, now)
	}
	from := s.layers[sector][layer]
	if off < 0 || off+int64(len(labels)) > int64(len(from)) {
		return s.fail("%d labels at %d of layer %d were read, of which %d bytes were written", len(labels), off, layer, len(from))
	}
	copy(labels, from[off:])
	return nil
}

// check compares all layers of all sectors that the backend was to make.
func (s *store) check(p *drawnParents, ids [][32]byte, layers int) error {
	if s.bad != nil {
		return s.bad
	}
	for i, id := range ids {
		for k, want := range p.layers(id, layers) {
			if layer := k + 1; layer > s.given && !bytes.Equal(s.layers[i][layer], want) {
				return fmt.Errorf("layer %d of sector %d differs from node %d on", layer, i, differ(s.layers[i][layer], want))
			}
		}
		if s.whole[i] != layers {
			return fmt.Errorf("sector %d has %d whole layers of %d", i, s.whole[i], layers)
		}
	}
	return nil
}

// differ is the first node that differs.
func differ(a, b []byte) int {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return i / kernel.NodeSize
}

func replicas(n int) [][32]byte {
	out := make([][32]byte, n)
	r := random(uint64(n))
	for i := range out {
		fill(r, out[i][:])
	}
	return slices.Clip(out)
}

var errBroken = errors.New("the store or the parents failed")
