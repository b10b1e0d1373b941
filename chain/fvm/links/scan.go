package links

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// Codecs and hashes that the VM knows (multicodec table).
const (
	DagCBOR         = 0x71
	CBOR            = 0x51
	Raw             = 0x55
	Blake2b256      = 0xb220
	CommUnsealed    = 0xf101
	CommSealed      = 0xf102
	identityHash    = 0x00
	maxDigest       = 64
	maxIdentityNest = 16
)

// ErrMalformed means that the bytes are not one well-formed DAG-CBOR value.
var ErrMalformed = errors.New("malformed DAG-CBOR")

// ErrUnsupported means a link of a codec or hash that state may not use.
var ErrUnsupported = errors.New("unsupported link")

// Stats counts what the gas schedule charges for: CBOR fields at all levels
// (a tag is one, the value of a link is not) and link tags, ignored ones
// included. They are valid up to the point of failure too.
type Stats struct{ Fields, Links int }

// Scan returns the links of a DAG-CBOR block in order. Commitments (sealed and
// unsealed sector CIDs) are not links to blocks and are left out; links with
// identity hash are followed in place.
func Scan(data []byte) ([]cid.Cid, Stats, error) {
	s := scanner{}
	if err := s.block(data, 0); err != nil {
		return nil, s.stats, err
	}
	return s.out, s.stats, nil
}

type scanner struct {
	out   []cid.Cid
	stats Stats
}

func (s *scanner) block(data []byte, nest int) error {
	rest := data
	for remaining := uint64(1); remaining > 0; {
		remaining--
		h, r, err := readHead(rest)
		if err != nil {
			return err
		}
		rest = r
		s.stats.Fields++
		switch h.major {
		case 2, 3:
			if h.value > uint64(len(rest)) {
				return fmt.Errorf("string of %d bytes exceeds the block: %w", h.value, ErrMalformed)
			}
			rest = rest[h.value:]
		case 4, 5:
			// Every element takes at least one byte, so no honest count
			// exceeds what is left; this also excludes overflow.
			if h.value > uint64(len(rest)) {
				return fmt.Errorf("%d elements exceed the block: %w", h.value, ErrMalformed)
			}
			if h.major == 5 {
				h.value *= 2
			}
			remaining += h.value
		case 6:
			if h.value != 42 {
				remaining++
				continue
			}
			if rest, err = s.link(rest, nest); err != nil {
				return err
			}
		}
	}
	if len(rest) != 0 {
		return fmt.Errorf("%d trailing bytes: %w", len(rest), ErrMalformed)
	}
	return nil
}

func (s *scanner) link(data []byte, nest int) ([]byte, error) {
	s.stats.Links++
	h, rest, err := readHead(data)
	if err != nil {
		return nil, err
	}
	n := h.value
	if h.major != 2 || n > 101 || n > uint64(len(rest)) || n < 2 || rest[0] != 0 {
		return nil, fmt.Errorf("bad link: %w", ErrMalformed)
	}
	c, used, err := Parse(rest[1:n])
	if err != nil || used != int(n)-1 {
		return nil, fmt.Errorf("bad CID in link: %w", ErrMalformed)
	}
	return rest[n:], s.add(c, nest)
}

func (s *scanner) add(c cid.Cid, nest int) error {
	p := c.Prefix()
	switch p.Codec {
	case CommUnsealed, CommSealed:
		return nil
	case DagCBOR, CBOR, Raw:
	default:
		return fmt.Errorf("codec %#x in link: %w", p.Codec, ErrUnsupported)
	}
	if p.MhType == identityHash {
		if p.Codec != DagCBOR {
			return nil
		}
		if nest >= maxIdentityNest {
			return fmt.Errorf("identity links nest too deep: %w", ErrMalformed)
		}
		d, err := multihash.Decode(c.Hash())
		if err != nil {
			return fmt.Errorf("identity link: %w", ErrMalformed)
		}
		return s.block(d.Digest, nest+1)
	}
	if p.MhType != Blake2b256 || p.MhLength != 32 {
		return fmt.Errorf("hash %#x of %d bytes in link: %w", p.MhType, p.MhLength, ErrUnsupported)
	}
	s.out = append(s.out, c)
	return nil
}

// head is the beginning of a CBOR data item (RFC 8949 §3): its major type and its
// argument, which is a length, a count, a tag or a value.
type head struct {
	major byte
	value uint64
}

// readHead reads the head at the start of b and gives what follows it.
func readHead(b []byte) (head, []byte, error) {
	if len(b) == 0 {
		return head{}, nil, fmt.Errorf("unexpected end: %w", ErrMalformed)
	}
	h, low := head{major: b[0] >> 5}, b[0]&31
	b = b[1:]
	if low < 24 {
		h.value = uint64(low)
		return h, b, nil
	}
	if low > 27 {
		return head{}, nil, fmt.Errorf("indefinite or reserved length: %w", ErrMalformed)
	}
	n := 1 << (low - 24)
	if len(b) < n {
		return head{}, nil, fmt.Errorf("unexpected end: %w", ErrMalformed)
	}
	switch n {
	case 1:
		h.value = uint64(b[0])
	case 2:
		h.value = uint64(binary.BigEndian.Uint16(b))
	case 4:
		h.value = uint64(binary.BigEndian.Uint32(b))
	case 8:
		h.value = binary.BigEndian.Uint64(b)
	}
	return h, b[n:], nil
}

// Parse reads one binary CID from the start of b, which may be longer, and
// returns how many bytes it took. Digests longer than 64 bytes are refused.
func Parse(b []byte) (cid.Cid, int, error) {
	if len(b) > 128 {
		b = b[:128]
	}
	n, c, err := cid.CidFromBytes(b)
	if err != nil {
		return cid.Undef, 0, fmt.Errorf("parse CID: %w", err)
	}
	if l := c.Prefix().MhLength; l > maxDigest || l < 0 {
		return cid.Undef, 0, fmt.Errorf("parse CID: digest of %d bytes", l)
	}
	return c, n, nil
}
