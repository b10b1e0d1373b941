package paramcache

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	fslock "github.com/ipfs/go-fs-lock"

	"quarry/internal/durable"
	"quarry/proofs/snarkpack"
)

// SRSName is the string of aggregation, without extension (rust-fil-proofs
// srs-inner-product.json).
const SRSName = "v28-fil-inner-product-v1"

const extSRS = ".srs"

// SRS maps the string that aggregates of seal proofs are made and checked with.
func (c *Cache) SRS(ctx context.Context) (*snarkpack.SRSFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.srs != nil {
		return c.srs, nil
	}
	f, devnet, err := c.find(SRSName, extSRS)
	if err != nil {
		return nil, err
	}
	defer f.Close() // a mapping outlives its descriptor
	if err := c.trust(ctx, f, SRSName+extSRS, devnet); err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	mem, unmap, err := mapFile(f, st.Size())
	if err != nil {
		return nil, err
	}
	srs, err := snarkpack.OpenSRS(bytes.NewReader(mem), st.Size())
	if err != nil {
		return nil, errors.Join(&DamagedError{Path: f.Name(), Reason: err.Error()}, unmap())
	}
	c.srs, c.unmapSRS = srs, unmap
	return srs, nil
}

// GenerateSRS makes a string for aggregates of up to maxProofs proofs, a power of
// two, for embedded devnets only. It takes about a second for a thousand proofs
// and is not resumed; its secrets are in no file.
func (c *Cache) GenerateSRS(ctx context.Context, maxProofs int) (err error) {
	dir := filepath.Join(c.dir, dirDevnet)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("generate the SRS: %w", err)
	}
	lock, err := fslock.Lock(dir, fileLock)
	if err != nil {
		return fmt.Errorf("another process generates parameters in %s; wait for it: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if c.installed(SRSName + extSRS) {
		return ErrPresent
	}
	alpha, beta, err := secrets()
	if err != nil {
		return err
	}
	srs, err := snarkpack.NewSRS(ctx, alpha, beta, maxProofs)
	if err != nil {
		return fmt.Errorf("generate the SRS: %w", err)
	}
	var b bytes.Buffer
	if _, err := srs.WriteTo(&b); err != nil {
		return fmt.Errorf("generate the SRS: %w", err)
	}
	path := filepath.Join(dir, SRSName+extSRS)
	if err := durable.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return err
	}
	return c.recordFile(SRSName+extSRS, path, digestOf(b.Bytes()))
}

func secrets() (alpha, beta fr.Element, err error) {
	for _, x := range []*fr.Element{&alpha, &beta} {
		for x.IsZero() || x.IsOne() {
			var raw [48]byte // reduction of 384 bits leaves no bias
			if _, err := rand.Read(raw[:]); err != nil {
				return alpha, beta, fmt.Errorf("draw a secret: %w", err)
			}
			x.SetBytes(raw[:])
		}
	}
	return alpha, beta, nil
}

// CheckSRS reads the string whole and tests that it is one.
func (c *Cache) CheckSRS(ctx context.Context, progress Progress) error {
	if err := c.recheck(ctx, SRSName, extSRS, progress); err != nil {
		return err
	}
	file, err := c.SRS(ctx)
	if err != nil {
		return err
	}
	srs, err := file.Read(ctx, file.MaxProofs(), 0)
	if err != nil {
		return err
	}
	ok, err := srs.Check(ctx)
	if err == nil && !ok {
		err = &DamagedError{Path: filepath.Join(c.dir, SRSName+extSRS), Reason: "its points are not powers of two secrets"}
	}
	return err
}
