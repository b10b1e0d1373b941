package wire

import (
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// Limits of what a decoder accepts, so that a hostile peer cannot make it
// allocate. They are below cbor-gen's own limits.
const (
	maxKeys   = 32
	maxKeyLen = 64
	maxText   = 8192
	maxParams = 64 << 10
)

// field is one entry of a map message.
type field struct {
	key      string
	optional bool // may be missing when read
	w        func(cw *cbg.CborWriter) error
	r        func(cr *cbg.CborReader) error
}

func writeMap(w io.Writer, fields []field) error {
	cw := cbg.NewCborWriter(w)
	if err := cw.WriteMajorTypeHeader(cbg.MajMap, uint64(len(fields))); err != nil {
		return err
	}
	for _, f := range fields {
		if err := writeText(cw, f.key); err != nil {
			return err
		}
		if err := f.w(cw); err != nil {
			return fmt.Errorf("%s: %w", f.key, err)
		}
	}
	return nil
}

func readMap(r io.Reader, what string, fields []field) error {
	cr := cbg.NewCborReader(r)
	maj, n, err := cr.ReadHeader()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if maj != cbg.MajMap || n > maxKeys {
		return fmt.Errorf("%s: expected a map of at most %d keys", what, maxKeys)
	}
	return readEntries(cr, what, n, fields)
}

func readEntries(cr *cbg.CborReader, what string, n uint64, fields []field) error {
	byKey := make(map[string]field, len(fields))
	for _, f := range fields {
		byKey[f.key] = f
	}
	seen := make(map[string]bool, n)
	for range n {
		key, err := cbg.ReadStringWithMax(cr, maxKeyLen)
		if err != nil {
			return fmt.Errorf("%s: key: %w", what, noEOF(err))
		}
		if seen[key] {
			return fmt.Errorf("%s: key %q given twice", what, key)
		}
		seen[key] = true
		read := skip
		if f, ok := byKey[key]; ok {
			read = f.r
		}
		if err := read(cr); err != nil {
			return fmt.Errorf("%s.%s: %w", what, key, noEOF(err))
		}
	}
	for _, f := range fields {
		if !f.optional && !seen[f.key] {
			return fmt.Errorf("%s: key %q is missing", what, f.key)
		}
	}
	return nil
}

// noEOF keeps a message cut in the middle from looking like a clean end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func skip(cr *cbg.CborReader) error {
	var d cbg.Deferred
	return d.UnmarshalCBOR(io.LimitReader(cr, maxParams))
}

func writeText(cw *cbg.CborWriter, s string) error {
	if err := cw.WriteMajorTypeHeader(cbg.MajTextString, uint64(len(s))); err != nil {
		return err
	}
	_, err := cw.WriteString(s)
	return err
}

func text(key string, p *string) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error { return writeText(cw, *p) },
		r: func(cr *cbg.CborReader) (err error) { *p, err = cbg.ReadStringWithMax(cr, maxText); return },
	}
}

func boolean(key string, p *bool) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error { return cbg.WriteBool(cw, *p) },
		r: func(cr *cbg.CborReader) error { return (*boolValue)(p).read(cr) },
	}
}

type boolValue bool

func (b *boolValue) read(cr *cbg.CborReader) error {
	maj, v, err := cr.ReadHeader()
	if err != nil {
		return err
	}
	if maj != cbg.MajOther || (v != 20 && v != 21) {
		return errors.New("expected a bool")
	}
	*b = v == 21
	return nil
}

func optional(f field) field { f.optional = true; return f }

func unsigned[T ~uint64](key string, p *T) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error { return cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(*p)) },
		r: func(cr *cbg.CborReader) error {
			maj, v, err := cr.ReadHeader()
			if err == nil && maj != cbg.MajUnsignedInt {
				err = errors.New("expected an unsigned integer")
			}
			*p = T(v)
			return err
		},
	}
}

func epoch(key string, p *abi.ChainEpoch) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error { return cbg.CborInt(*p).MarshalCBOR(cw) },
		r: func(cr *cbg.CborReader) error { return (*cbg.CborInt)(p).UnmarshalCBOR(cr) },
	}
}

func bytesField(key string, p *[]byte) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error { return cbg.WriteByteArray(cw, *p) },
		r: func(cr *cbg.CborReader) (err error) { *p, err = cbg.ReadByteArray(cr, maxParams); return },
	}
}

func uuidField(key string, p *uuid.UUID) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error { return cbg.WriteByteArray(cw, p[:]) },
		r: func(cr *cbg.CborReader) error {
			b, err := cbg.ReadByteArray(cr, 16)
			if err == nil && len(b) != 16 {
				err = fmt.Errorf("expected 16 bytes, got %d", len(b))
			}
			copy(p[:], b)
			return err
		},
	}
}

func cidField(key string, p *cid.Cid) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error { return cbg.WriteCid(cw, *p) },
		r: func(cr *cbg.CborReader) (err error) { *p, err = cbg.ReadCid(cr); return },
	}
}

func nullableCid(key string, p **cid.Cid) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error {
			if *p == nil {
				_, err := cw.Write(cbg.CborNull)
				return err
			}
			return cbg.WriteCid(cw, **p)
		},
		r: func(cr *cbg.CborReader) error {
			null, err := readNull(cr)
			if err != nil || null {
				return err
			}
			c, err := cbg.ReadCid(cr)
			*p = &c
			return err
		},
	}
}

// readNull consumes a null; anything else is left for the next reader.
func readNull(cr *cbg.CborReader) (bool, error) {
	b, err := cr.ReadByte()
	if err != nil {
		return false, err
	}
	if b == cbg.CborNull[0] {
		return true, nil
	}
	return false, cr.UnreadByte()
}

func addr(key string, p *address.Address) field {
	return value(key, p)
}

// cborValue is a pointer to T that knows its CBOR form.
type cborValue[T any] interface {
	*T
	cbg.CBORMarshaler
	cbg.CBORUnmarshaler
}

func value[T any, P cborValue[T]](key string, p P) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error { return p.MarshalCBOR(cw) },
		r: func(cr *cbg.CborReader) error { return p.UnmarshalCBOR(cr) },
	}
}

func nullable[T any, P cborValue[T]](key string, p *P) field {
	return field{key: key,
		w: func(cw *cbg.CborWriter) error {
			if *p == nil {
				_, err := cw.Write(cbg.CborNull)
				return err
			}
			return (*p).MarshalCBOR(cw)
		},
		r: func(cr *cbg.CborReader) error {
			null, err := readNull(cr)
			if err != nil || null {
				return err
			}
			var v T
			*p = &v
			return (*p).UnmarshalCBOR(cr)
		},
	}
}

func signature(key string, p *crypto.Signature) field { return value(key, p) }
