package command

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/urfave/cli/v2"
)

// SizeFlag is a flag whose value is a size, see [ParseSize]. Its value in bytes is
// what [Bytes] gives; an empty value, as default, stands for none.
type SizeFlag struct {
	cli.StringFlag
	// Least is the smallest size in bytes that makes sense; zero is refused by a
	// Least of 1.
	Least uint64
	// Power requires a power of two, as padded pieces and sectors have.
	Power bool
}

func (f *SizeFlag) parse(s string) (uint64, error) {
	n, err := ParseSize(s)
	switch {
	case err != nil:
		return 0, err
	case n < f.Least:
		return 0, fmt.Errorf("it is less than %s", SizeText(f.Least))
	case f.Power && (n == 0 || n&(n-1) != 0):
		return 0, errors.New("it is no power of two")
	}
	return n, nil
}

// Bytes is the value of a SizeFlag in bytes, 0 where none was given. Errors name
// the flag and the value.
func Bytes(c *cli.Context, name string) (uint64, error) {
	s := c.String(name)
	if s == "" {
		return 0, nil
	}
	f := &SizeFlag{}
	for _, x := range c.Command.Flags {
		if own, ok := x.(*SizeFlag); ok && own.Name == name {
			f = own
		}
	}
	n, err := f.parse(s)
	if err != nil {
		return 0, fmt.Errorf("--%s %q: %w", name, s, err)
	}
	return n, nil
}

// units of sizes: those with an i are powers of 1024, those without of 1000.
var units = []struct {
	name  string
	bytes uint64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"PiB", 1 << 50}, {"EiB", 1 << 60},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"PB", 1e15}, {"EB", 1e18},
	{"B", 1},
}

// maxSize bounds the text of a size in bytes.
const maxSize = 40

var maxUint64 = new(big.Int).SetUint64(1<<64 - 1)

// ParseSize reads a size in bytes: a plain number is bytes, a unit multiplies.
// KiB, MiB, GiB, TiB, PiB and EiB are powers of 1024, KB, MB, GB, TB, PB and EB
// powers of 1000. A fraction must come to whole bytes ("1.5TiB"). K, M, G and T
// alone are refused: they mean either.
func ParseSize(s string) (uint64, error) {
	const want = `it is not a size such as "2KiB", "1.5TiB" or "4096" bytes`
	text := strings.TrimSpace(s)
	cut := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if cut < 0 {
		cut = len(text)
	}
	number, unit := text[:cut], strings.TrimSpace(text[cut:])
	if number == "" || len(text) > maxSize || strings.Trim(number, ".") != number || strings.Count(number, ".") > 1 {
		if strings.HasPrefix(text, "-") {
			return 0, errors.New("it is negative")
		}
		return 0, errors.New(want)
	}
	scale := uint64(0)
	for _, u := range units {
		if strings.EqualFold(u.name, unit) {
			scale = u.bytes
		}
	}
	switch {
	case unit == "":
		scale = 1
	case scale == 0 && len(unit) == 1 && strings.Contains("KMGTPE", strings.ToUpper(unit)):
		u := strings.ToUpper(unit)
		return 0, fmt.Errorf("say which: %s%siB (powers of 1024) or %s%sB (powers of 1000)", number, u, number, u)
	case scale == 0:
		return 0, errors.New(want)
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errors.New(want)
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).SetUint64(scale)))
	switch {
	case !r.IsInt():
		return 0, errors.New("it does not come to whole bytes")
	case r.Num().Cmp(maxUint64) > 0:
		return 0, errors.New("it is more than can be counted")
	}
	return r.Num().Uint64(), nil
}

// SizeText writes a size with the largest power of 1024 that it is a multiple of.
func SizeText(n uint64) string {
	for _, u := range []int{5, 4, 3, 2, 1, 0} {
		if n > 0 && n%units[u].bytes == 0 {
			return fmt.Sprintf("%d%s", n/units[u].bytes, units[u].name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
