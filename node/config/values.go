package config

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	stbig "github.com/filecoin-project/go-state-types/big"
)

// epochSeconds is the chain time of an epoch on every Filecoin network
// (go-state-types builtin.EpochDurationSeconds). A devnet that runs its epochs
// faster keeps counting chain time this way.
const epochSeconds = 30

// Epochs is a span of chain time. The file writes it as a duration ("1h0m0s", 30
// seconds per epoch) or as a number of epochs (120 or "120 epochs").
type Epochs abi.ChainEpoch

// Epoch is the span as the chain counts it.
func (e Epochs) Epoch() abi.ChainEpoch { return abi.ChainEpoch(e) }

// String is the form the file uses.
func (e Epochs) String() string {
	if d := time.Duration(e) * epochSeconds * time.Second; int64(e) < math.MaxInt64/int64(epochSeconds*time.Second) &&
		d%time.Hour == 0 && d > 0 {
		return d.String()
	}
	return strconv.FormatInt(int64(e), 10) + " epochs"
}

// MarshalText implements encoding.TextMarshaler.
func (e Epochs) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Durations are rounded up to
// whole epochs.
func (e *Epochs) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	number := strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(s, "epochs"), "epoch"))
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n < 0 {
			return fmt.Errorf("%q is negative", s)
		}
		*e = Epochs(n)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf(`%q is neither a duration such as "1h30m" nor a number of epochs such as "120 epochs"`, clip(s))
	}
	const unit = epochSeconds * time.Second
	n := int64(d / unit)
	if d%unit != 0 {
		n++
	}
	*e = Epochs(n)
	return nil
}

// FIL is an amount of money. The file writes it as "0.05 FIL" or "1 attoFIL".
type FIL struct{ atto *big.Int }

// Amount is the value in attoFIL, never nil.
func (f FIL) Amount() abi.TokenAmount {
	if f.atto == nil {
		return stbig.Zero()
	}
	return stbig.Int{Int: new(big.Int).Set(f.atto)}
}

var attoPerFIL = new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil)

// String is the form the file uses, exact.
func (f FIL) String() string {
	r := new(big.Rat).SetFrac(f.Amount().Int, attoPerFIL)
	s := r.FloatString(18)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + " FIL"
}

// MarshalText implements encoding.TextMarshaler.
func (f FIL) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with the units of lotus
// chain/types/fil.go: none or fil, attofil, afil, in any case.
func (f *FIL) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	cut := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.ToLower(strings.TrimSpace(s[len(cut):]))
	if len(cut) == 0 || len(cut) > 50 || strings.Trim(cut, "0123456789.") != "" {
		return fmt.Errorf(`%q is not an amount such as "0.05 FIL"`, clip(s))
	}
	r, ok := new(big.Rat).SetString(cut)
	if !ok {
		return fmt.Errorf(`%q is not an amount such as "0.05 FIL"`, clip(s))
	}
	switch unit {
	case "", "fil":
		r.Mul(r, new(big.Rat).SetInt(attoPerFIL))
	case "attofil", "afil":
	default:
		return fmt.Errorf("unknown unit %q of money (want FIL or attoFIL)", unit)
	}
	if !r.IsInt() {
		return fmt.Errorf("%q is not a whole number of attoFIL", s)
	}
	f.atto = new(big.Int).Set(r.Num())
	return nil
}

func mustFIL(s string) FIL {
	var f FIL
	if err := f.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return f
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
