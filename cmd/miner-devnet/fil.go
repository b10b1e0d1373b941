package main

import (
	"fmt"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
)

// filDigits is the number of decimals of one FIL in attoFIL.
const filDigits = 18

// filText prints attoFIL as FIL.
func filText(a abi.TokenAmount) string {
	s := a.String()
	if len(s) <= filDigits {
		s = strings.Repeat("0", filDigits-len(s)+1) + s
	}
	whole, frac := s[:len(s)-filDigits], strings.TrimRight(s[len(s)-filDigits:], "0")
	if frac == "" {
		return whole + " FIL"
	}
	return whole + "." + frac + " FIL"
}

// parseFIL reads an amount in FIL, with or without the unit.
func parseFIL(s string) (abi.TokenAmount, error) {
	t := strings.TrimSpace(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(s)), "FIL"))
	whole, frac, _ := strings.Cut(t, ".")
	if whole == "" && frac == "" || len(frac) > filDigits || len(whole) > 12 || strings.Trim(whole+frac, "0123456789") != "" {
		return abi.TokenAmount{}, fmt.Errorf("amount %q: want FIL such as 1.5", s)
	}
	return big.FromString(whole + frac + strings.Repeat("0", filDigits-len(frac)))
}
