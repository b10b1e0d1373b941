package paramcache

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"quarry/internal/durable"
	"quarry/proofs/snarkpack"
)

// SRSName is the string of aggregation, without extension (rust-fil-proofs
// srs-inner-product.json).
const SRSName = "v28-fil-inner-product-v1"

const extSRS = ".srs"

// SRS opens the string that aggregates of seal proofs are made and checked with.
func (c *Cache) SRS(ctx context.Context) (*snarkpack.SRSFile, error) {
	return c.srs.get(ctx, SRSName+extSRS, func() (*snarkpack.SRSFile, error) { return c.openSRS(ctx) })
}

func (c *Cache) openSRS(ctx context.Context) (srs *snarkpack.SRSFile, err error) {
	src, _, err := c.checked(ctx, SRSName, extSRS)
	if err != nil {
		return nil, err
	}
	if srs, err = snarkpack.OpenSRS(src, src.size); err != nil {
		err = &DamagedError{Path: src.name, Reason: err.Error()}
	} else {
		err = c.keep(src)
	}
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return srs, nil
}

// GenerateSRS makes a string for aggregates of up to maxProofs proofs, a power of
// two, for embedded devnets only. It takes about a second for a thousand proofs
// and is not resumed; its secrets are in no file.
func (c *Cache) GenerateSRS(ctx context.Context, maxProofs int) (err error) {
	dir, unlock, err := c.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	path := filepath.Join(dir, SRSName+extSRS)
	if c.installed(SRSName + extSRS) {
		return ErrPresent
	}
	if !absent(path) {
		return leftover(path)
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
	if err := c.made(SRSName+extSRS, digestOf(b.Bytes()), int64(b.Len())); err != nil {
		return err
	}
	return durable.WriteFile(path, b.Bytes(), 0o644)
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
		return fmt.Errorf("%s in %s: %w", SRSName+extSRS, c.dir, err)
	}
	ok, err := srs.Check(ctx)
	if err == nil && !ok {
		err = fmt.Errorf("%s in %s: its points are not powers of two secrets; remove it and fetch or generate it again", SRSName+
			extSRS, c.dir)
	}
	return err
}
