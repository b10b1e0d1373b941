package command

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"0":                       0,
		"4096":                    4096,
		"2KiB":                    2048,
		"2kib":                    2048,
		" 2 KiB ":                 2048,
		"8MiB":                    8 << 20,
		"1GiB":                    1 << 30,
		"1.5TiB":                  3 << 39,
		"10TiB":                   10 << 40,
		"2PiB":                    2 << 50,
		"15EiB":                   15 << 60,
		"2KB":                     2000,
		"1MB":                     1e6,
		"1GB":                     1e9,
		"1.5TB":                   1.5e12,
		"1PB":                     1e15,
		"1EB":                     1e18,
		"7B":                      7,
		"7 b":                     7,
		"18446744073709551615":    math.MaxUint64,
		"0.5KiB":                  512,
		"00000000000000000000012": 12,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                                 "not a size",
		"KiB":                              "not a size",
		"-5GiB":                            "negative",
		"-":                                "negative",
		"+5":                               "not a size",
		"1e9":                              "not a size",
		"1,5GiB":                           "not a size",
		"1.2.3GiB":                         "not a size",
		".5KiB":                            "not a size",
		"5.KiB":                            "not a size",
		"much":                             "not a size",
		"5 XiB":                            "not a size",
		"10G":                              "say which: 10GiB (powers of 1024) or 10GB (powers of 1000)",
		"10k":                              "say which: 10KiB (powers of 1024) or 10KB",
		"0.3KiB":                           "whole bytes",
		"1.5":                              "whole bytes",
		"16EiB":                            "more than can be counted",
		"18446744073709551616":             "more than can be counted",
		strings.Repeat("1", maxSize+1):     "not a size",
		strings.Repeat("0", maxSize) + "1": "not a size",
	} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), want) || got != 0 {
			t.Errorf("%q: %d, %v, want %s", text, got, err, want)
		}
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 bytes", 1: "1 bytes", 1023: "1023 bytes", 1024: "1KiB", 1536: "1536 bytes",
		3 << 20: "3MiB", 1 << 60: "1EiB", 5 << 30: "5GiB"} {
		if got := SizeText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"1.5TiB", "2KB", "-1", "10G", "0.1B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if again, err := ParseSize(strings.TrimSuffix(SizeText(n), " bytes")); err != nil || again != n {
			t.Errorf("%q is %d, its text %q is %d (%v)", s, n, SizeText(n), again, err)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "0d": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute,
		"30d": 720 * time.Hour, "106751d": 106751 * day} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// Nothing is destroyed before somebody said yes, and where nobody is there to ask
// --yes is named.
func TestConfirm(t *testing.T) {
	for answer, want := range map[string]string{
		"yes\n": "", "yes": "", " yes \n": "", "y\n": "nothing was done", "no\n": "nothing was done", "\n": "nothing was done",
		"": "nobody answered; add --yes", strings.Repeat("yes", 50) + "\n": "nothing was done",
	} {
		var out bytes.Buffer
		err := ask(strings.NewReader(answer), &out, "would remove sector 7")
		var usage *UsageError
		if (want == "") != (err == nil) || err != nil && (!errors.As(err, &usage) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", answer, err)
		}
		if out.String() != "This would remove sector 7.\nType yes to go on: " {
			t.Errorf("asked %q", out.String())
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	removed := 0
	app := &cli.App{Name: "prog", Reader: r, Commands: []*cli.Command{{Name: "remove", ArgsUsage: "N", Flags: []cli.Flag{YesFlag()},
		Action: func(c *cli.Context) error {
			if err := Confirm(c, "would remove sector %s", c.Args().First()); err != nil {
				return err
			}
			removed++
			return nil
		}}}}
	if err := Run(t.Context(), app, strings.Fields("prog remove 7")); err == nil ||
		err.Error() != "this would remove sector 7; add --yes" || removed != 0 {
		t.Errorf("%v, removed %d", err, removed)
	}
	for i, with := range []string{"--yes", "--really-do-it"} {
		if err := Run(t.Context(), app, append(strings.Fields("prog remove 7"), with)); err != nil || removed != i+1 {
			t.Errorf("%v, removed %d", err, removed)
		}
	}
}
